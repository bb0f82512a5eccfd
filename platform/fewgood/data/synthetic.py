"""Synthetic defects on good images, for a validation proxy that reads support images only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["synthetic_defect"]

_LEAST = 0.002
"""Smallest defect, as a fraction of the image."""
_ATTEMPTS = 16
_STRENGTH = (0.1, 0.5)
"""How much of the pasted content shows, as a fraction: at full strength every detector finds every defect."""

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


def synthetic_defect(image: Image, seed: int, index: int) -> tuple[Image, Mask]:
    """Paste one defect onto a good image, in turn by three recipes.

    Ours, after published ones: a jittered patch of the image itself at another place (CutPaste, arXiv 2104.04015), the same
    as a thin scar, and smooth noise that blends in another texture (the Perlin blend of DRAEM, arXiv 2108.07610).

    Args:
        image: `(H, W, 3)` uint8 RGB, 8 pixels or more on a side.
        seed: Seed of the set, 0 or more.
        index: Number of the defect in its set, 0 or more; `index % 3` chooses the recipe.

    Returns:
        The defective image `(H, W, 3)` uint8, and the mask `(H, W)`: True exactly where the two images differ.

    Raises:
        ValueError: When the image is smaller than 8 pixels on a side.
    """
    height, width = image.shape[:2]
    if min(height, width) < 8:
        raise ValueError(f"image is {width}x{height} pixels, at least 8x8 are needed for a synthetic defect")
    changed, mask = image, np.zeros((height, width), dtype=np.bool_)
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng(np.random.SeedSequence([0x5DEF, seed, index, attempt]))
        region, other = (_patch, _scar, _blend)[index % 3](image, rng)
        weight = rng.uniform(*_STRENGTH)
        mixed = np.rint(np.clip(image + weight * (other - image), 0.0, 255.0)).astype(np.uint8)
        changed = np.where(region[..., None], mixed, image)
        mask = (changed != image).any(axis=2)
        if mask.mean() >= _LEAST:
            return changed, mask
    # A featureless image defeats every recipe that copies from it: invert a small square, which always differs.
    top, left, side = height // 3, width // 3, max(2, min(height, width) // 8)
    changed = image.copy()
    changed[top : top + side, left : left + side] = 255 - changed[top : top + side, left : left + side]
    return changed, (changed != image).any(axis=2)


def _patch(image: Image, rng: np.random.Generator) -> tuple[Mask, npt.NDArray[np.float64]]:
    """A rectangle of 0.3 to 3 % of the image, turned by a quarter or mirrored, brightened or darkened."""
    area, ratio = rng.uniform(0.003, 0.03), np.exp(rng.uniform(-0.9, 0.9))
    size = np.sqrt(area * image.shape[0] * image.shape[1])
    return _copied(image, rng, size * np.sqrt(ratio), size / np.sqrt(ratio), 0.0)


def _scar(image: Image, rng: np.random.Generator) -> tuple[Mask, npt.NDArray[np.float64]]:
    """A thin slanted strip."""
    side = min(image.shape[:2])
    return _copied(image, rng, side * rng.uniform(0.02, 0.06), side * rng.uniform(0.12, 0.35), rng.uniform(0.0, np.pi))


def _copied(
    image: Image, rng: np.random.Generator, high: float, wide: float, turn: float
) -> tuple[Mask, npt.NDArray[np.float64]]:
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y -= rng.uniform(0.2, 0.8) * height
    x -= rng.uniform(0.2, 0.8) * width
    along, across = np.cos(turn) * x + np.sin(turn) * y, -np.sin(turn) * x + np.cos(turn) * y
    region = (np.abs(along) <= max(wide, 2.0) / 2.0) & (np.abs(across) <= max(high, 2.0) / 2.0)
    moved = np.roll(image, (int(rng.integers(height // 4, 3 * height // 4)), int(rng.integers(width))), axis=(0, 1))
    if rng.random() < 0.5:
        moved = moved[::-1]
    light = rng.choice([-1.0, 1.0]) * rng.uniform(0.1, 0.3)
    return region, np.asarray(moved * (1.0 + light) + 6.0 * rng.standard_normal(3))


def _blend(image: Image, rng: np.random.Generator) -> tuple[Mask, npt.NDArray[np.float64]]:
    """The highest 0.5 to 3 percent of smooth noise, filled with the image's pixels in shuffled blocks of another colour."""
    height, width = image.shape[:2]
    field = np.zeros((height, width))
    for octave in (8.0, 16.0):
        smooth = ndimage.gaussian_filter(rng.standard_normal((height, width)), min(height, width) / octave, mode="wrap")
        field += smooth / (smooth.std() * octave)
    region = field > np.quantile(field, 1.0 - rng.uniform(0.005, 0.03))
    turned = np.roll(image[:, ::-1], (int(rng.integers(height)), int(rng.integers(width))), axis=(0, 1))
    colour = turned[..., rng.permutation(3)] * rng.uniform(0.6, 1.4, size=3)
    return np.asarray(region), np.asarray(colour + rng.uniform(-25.0, 25.0))
