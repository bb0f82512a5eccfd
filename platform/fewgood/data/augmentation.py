"""Plain augmentation, the control that generation has to beat: mild affine and photometric views that stay good images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["MILD", "Ranges", "augment", "augmented_set", "relit"]

_BLUR = 0.6
"""Largest standard deviation of the blur, pixels."""
_NOISE = 2.0
"""Largest standard deviation of the noise, grey levels."""

Image = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """How far a view may stray from its image; the defaults are those of the control."""

    turn: float = 10.0
    """Largest rotation either way, degrees."""
    shift: float = 0.05
    """Largest translation, as a fraction of the side."""
    zoom: float = 0.08
    """Largest change of scale, as a fraction."""
    light: float = 0.12
    """Largest change of brightness, contrast and gamma, as a fraction."""


MILD = Ranges()
"""The control's ranges."""


def augment(image: Image, seed: int, index: int, kind: str = "unknown", *, ranges: Ranges = MILD) -> Image:
    """One label-preserving view of a good image: the field's control, "affine + photometric".

    Ours (arXiv 2403.06247 compares with no augmentation): rotation up to 10 degrees, translation up to 5 %, scale 0.92 to
    1.08, borders reflected; brightness, contrast and gamma within 12 %; now and then slight blur or noise. Textures are
    also flipped; objects and parts of unknown kind never are, since a mirrored part can be a wrong part.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        seed: Seed of the set, 0 or more.
        index: Number of the view in its set, 0 or more.
        kind: "object", "texture" or "unknown".
        ranges: How far it may stray; the control's by default.

    Returns:
        `(H, W, 3)` uint8 RGB, a pure function of the arguments.
    """
    rng = np.random.default_rng(np.random.SeedSequence([0xA06, seed, index]))
    turn, zoom = np.deg2rad(rng.uniform(-ranges.turn, ranges.turn)), rng.uniform(1.0 - ranges.zoom, 1.0 + ranges.zoom)
    shift = rng.uniform(-ranges.shift, ranges.shift, size=2) * image.shape[:2]
    brightness, contrast, gamma = rng.uniform(1.0 - ranges.light, 1.0 + ranges.light, size=3)
    blur = rng.uniform(0.2, _BLUR) if rng.random() < 0.3 else 0.0
    noise = rng.uniform(0.5, _NOISE) if rng.random() < 0.3 else 0.0
    flip_x, flip_y = rng.random(2) < 0.5
    if kind == "texture":
        image = image[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    view = _affine(image, float(turn), float(zoom), shift)
    if blur:
        view = ndimage.gaussian_filter(view, (blur, blur, 0.0), mode="mirror")
    view = relit(view / 255.0, brightness=brightness, contrast=contrast, gamma=gamma)
    if noise:
        view = view + rng.normal(0.0, noise / 255.0, size=view.shape)
    return np.asarray(np.rint(np.clip(view, 0.0, 1.0) * 255.0), dtype=np.uint8)


def relit(view: Values, *, brightness: float, contrast: float, gamma: float) -> Values:
    """An image under other light: gamma, then contrast about the mean, then brightness, each 1 for no change.

    Args:
        view: `(H, W, 3)` float, clipped to [0, 1] first.
        brightness: Factor on all values, above 0.
        contrast: Factor on the distance from the mean, above 0.
        gamma: Exponent, above 0; it pivots on mid-grey, so that it bends the curve without shifting the brightness.

    Returns:
        `(H, W, 3)` float, not clipped.
    """
    bent = np.clip(view, 0.0, 1.0) ** gamma * 0.5 ** (1.0 - gamma)
    mean = bent.mean()
    return np.asarray(((bent - mean) * contrast + mean) * brightness)


def augmented_set(images: Sequence[Image], count: int, seed: int, kind: str = "unknown") -> list[Image]:
    """`count` views of k images in turn: view i is `augment(images[i % k], seed, i, kind)`.

    Raises:
        ValueError: When there are no images.
    """
    if not images:
        raise ValueError("images is empty, at least one image is needed to augment")
    return [augment(images[index % len(images)], seed, index, kind) for index in range(count)]


def _affine(image: Image, turn: float, zoom: float, shift: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rotate and scale about the middle, then shift; cubic interpolation keeps the texture sharp."""
    matrix = np.asarray([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / zoom
    middle = (np.asarray(image.shape[:2]) - 1.0) / 2.0
    offset = middle - matrix @ (middle + shift)
    channels = [
        ndimage.affine_transform(image[..., channel].astype(np.float64), matrix, offset, order=3, mode="mirror")
        for channel in range(3)
    ]
    return np.stack(channels, axis=2)
