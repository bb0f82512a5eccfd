"""Shared by the sample's categories: image size, random streams, smooth noise, outlines and the camera."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = [
    "SIDE",
    "VERSION",
    "Floats",
    "blob",
    "camera",
    "defect_pair",
    "polyline",
    "quantise",
    "smooth_noise",
    "stream",
]

Floats = npt.NDArray[np.float64]

VERSION = 1
"""Raised whenever a pixel of the sample changes; part of the folder's name."""

SIDE = 160
"""Side of the square sample images, pixels."""

_VISIBLE = 3.0 / 255.0
"""Smallest change of a channel that counts as part of a defect: below, sensor noise hides it."""


def stream(*parts: int) -> np.random.Generator:
    """A random stream that depends on `parts` and the sample's version only."""
    return np.random.default_rng(np.random.SeedSequence([VERSION, *parts]))


def smooth_noise(rng: np.random.Generator, side: int, sigma: float | tuple[float, float]) -> Floats:
    """Gaussian noise `(side, side)` smoothed to `sigma` pixels, with zero mean and unit standard deviation."""
    noise = ndimage.gaussian_filter(rng.standard_normal((side, side)), sigma, mode="wrap")
    return np.asarray((noise - noise.mean()) / noise.std())


def blob(rng: np.random.Generator, side: int, centre: tuple[float, float], radius: float, rough: float) -> Floats:
    """Signed distance-like field `(side, side)`: positive inside an irregular disc, in pixels.

    Args:
        rng: The stream of the outline.
        side: Side of the field, pixels.
        centre: Row and column of the middle, pixels.
        radius: Mean radius, pixels.
        rough: Relative amplitude of the outline's harmonics.
    """
    y, x = np.mgrid[:side, :side].astype(np.float64)
    angle = np.arctan2(y - centre[0], x - centre[1])
    distance = np.hypot(y - centre[0], x - centre[1])
    outline = np.ones_like(angle)
    for harmonic in (2, 3, 5):
        amplitude = rough * rng.uniform(0.3, 1.0) / np.sqrt(harmonic)
        outline += amplitude * np.cos(harmonic * angle + rng.uniform(0.0, 2.0 * np.pi))
    return np.asarray(radius * outline - distance)


def polyline(rng: np.random.Generator, side: int, centre: tuple[float, float], length: float, bend: float) -> Floats:
    """Distance `(side, side)` in pixels to a bent line of `length` pixels through `centre`; `bend` in radians."""
    steps = max(int(length), 2)
    heading = rng.uniform(0.0, 2.0 * np.pi) + np.linspace(-0.5, 0.5, steps) * bend * rng.choice([-1.0, 1.0])
    heading = heading + 0.08 * np.cumsum(rng.standard_normal(steps))
    path = np.stack([np.cumsum(np.sin(heading)), np.cumsum(np.cos(heading))], axis=1) * (length / steps)
    path += np.asarray(centre) - path.mean(axis=0)
    y, x = np.mgrid[:side, :side].astype(np.float64)
    distance = np.full((side, side), np.inf)
    for row, column in path:
        np.minimum(distance, (y - row) ** 2 + (x - column) ** 2, out=distance)
    return np.asarray(np.sqrt(distance))


def camera(radiance: Floats, optics: np.random.Generator, *, blur: tuple[float, float], noise: float) -> Floats:
    """What the sensor reads, `(H, W, 3)`, not yet quantised.

    Args:
        radiance: `(H, W, 3)`, 1 is the sensor's white.
        optics: The stream of focus and sensor noise; equal streams give equal focus and noise.
        blur: Smallest and largest standard deviation of the focus, pixels.
        noise: Standard deviation of the sensor's noise, as a fraction of white.
    """
    sigma = optics.uniform(*blur)
    focused = ndimage.gaussian_filter(radiance, (sigma, sigma, 0.0), mode="nearest")
    grain = noise * optics.standard_normal(radiance.shape[:2])
    colour = 0.4 * noise * optics.standard_normal(radiance.shape)
    return np.asarray(focused + grain[..., None] + colour)


def defect_pair(
    good: Floats, bad: Floats
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Quantise a good and a defective reading of the same scene, so that their mask is exact.

    The defect is where the two visibly differ; elsewhere the defective image gets the good one's pixels, and inside,
    a pixel that happens to be equal is moved by one grey level. So mask and difference are the same set.

    Args:
        good: `(H, W, 3)`, the reading without the defect.
        bad: `(H, W, 3)`, the reading with it.

    Returns:
        The good image and the defective image, `(H, W, 3)` uint8, and the mask `(H, W)`.
    """
    region = np.abs(np.clip(bad, 0.0, 1.0) - np.clip(good, 0.0, 1.0)).max(axis=2) > _VISIBLE
    region = ndimage.binary_closing(region, iterations=2) | region
    region = ~_without_small_parts(~region, 60)
    region = _without_small_parts(region, 6)
    clean, image = quantise(good), quantise(bad)
    image[~region] = clean[~region]
    equal = region & (image == clean).all(axis=2)
    image[equal] = np.where(clean[equal] < 128, clean[equal] + 1, clean[equal] - 1)
    return clean, image, region


def _without_small_parts(region: npt.NDArray[np.bool_], least: int) -> npt.NDArray[np.bool_]:
    """`region` without its connected parts of fewer than `least` pixels."""
    parts, count = ndimage.label(region)
    sizes = ndimage.sum_labels(region, parts, index=np.arange(1, count + 1))
    return np.asarray(np.isin(parts, 1 + np.flatnonzero(sizes >= least)))


def quantise(reading: Floats) -> npt.NDArray[np.uint8]:
    """A reading as an 8-bit image; values outside [0, 1] saturate."""
    return np.asarray(np.rint(np.clip(reading, 0.0, 1.0) * 255.0), dtype=np.uint8)
