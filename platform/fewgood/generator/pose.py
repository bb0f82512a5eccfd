"""The pose that a product may have: whether its images may be turned by any angle, learned from the support images.

Ours (method.md, section 2, knows no pose): a mild view turns by ten degrees, which is all that is safe for a part that
always lies alike. Parts that fall on a belt as they like need every angle, and the support images say so in two ways: a
part that looks alike however it is turned (a ring, a nut, a nozzle), or two images that agree only after one is turned.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from PIL import Image
from scipy import ndimage

__all__ = ["any_pose"]

_SIDE = 96
"""Images are compared at this size, pixels."""
_FINE, _COARSE = 1.0, _SIDE / 8
"""Standard deviations of the blurs between which an image is compared: no noise, and no light from one side."""
_BLANK = 1e-3
"""Length of an image's middle frequencies, in gray levels, below which nothing is to be seen on it."""
_SHIFT = 12
"""Largest shift between compared images, pixels: a part need not lie in the middle."""
_ANGLES = tuple(range(0, 360, 15))
"""Degrees; the first is no turn."""
_ALIKE = 0.6
"""Correlation from which two images show the same. Rings drawn by code have .85 and more, textures .45 and less."""
_BETTER = 0.2
"""What a turn must add to the correlation of two images before it counts as their difference."""
_OBLONG = 1.25
"""Ratio of the sides up to which an image counts as square."""
_WIDE = 0.15
"""Root mean square distance of what is seen from its middle, as a part of the side. A washer has .29."""
_IMAGES = 6
"""At most so many images are compared with each other."""


def any_pose(images: Sequence[np.ndarray]) -> bool:
    """Whether the support images say that the product may be turned by any angle.

    Args:
        images: uint8 (H, W, 3) each; at least one.

    Returns:
        True if an image is alike under every turn, or two images agree after a turn and clearly less without one. Oblong
        images are not looked at: what is turned on them leaves the image.
    """
    square = [image for image in images[:_IMAGES] if max(image.shape[:2]) <= _OBLONG * min(image.shape[:2])]
    turns = [_turns(image) for image in square]
    if any(_alike(turned, turned[0]).min() >= _ALIKE and _wide(turned[0]) for turned in turns):
        return True
    return any(_turned_apart(_alike(one, other[0])) for one, other in combinations(turns, 2))


def _wide(transform: np.ndarray) -> bool:
    """Whether what is seen fills the image: a single hole or dot is alike under every turn and says nothing of the rest."""
    power = np.fft.irfft2(transform, s=(_SIDE, _SIDE)) ** 2
    total = float(power.sum())
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    row, column = (float((power * places).sum()) / max(total, 1e-12) for places in (rows, columns))
    spread = float((power * ((rows - row) ** 2 + (columns - column) ** 2)).sum()) / max(total, 1e-12)
    return spread >= (_WIDE * _SIDE) ** 2


def _turned_apart(alike: np.ndarray) -> bool:
    return bool(alike.max() >= max(_ALIKE, alike[0] + _BETTER))


def _turns(image: np.ndarray) -> np.ndarray:
    """(24, 96, 49) complex: the transforms of the image's middle frequencies at every angle, each of length 1.

    Only what stays in the image however it is turned is looked at, the inside of a circle; a blank image has length 0.
    """
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    middle = Image.fromarray(image[top : top + side, left : left + side]).convert("L")
    small = middle.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float64)
    part = ndimage.gaussian_filter(values, _FINE) - ndimage.gaussian_filter(values, _COARSE)
    rows, columns = np.mgrid[:_SIDE, :_SIDE] - (_SIDE - 1) / 2
    circle = rows**2 + columns**2 < (_SIDE / 2 - 2) ** 2
    turned = [ndimage.rotate(part, angle, reshape=False, order=1, mode="reflect") for angle in _ANGLES]
    inside = np.stack([np.where(circle, one - one[circle].mean(), 0.0) for one in turned])
    lengths = np.linalg.norm(inside, axis=(1, 2), keepdims=True)
    return np.asarray(np.fft.rfft2(np.where(lengths > _BLANK, inside / np.maximum(lengths, _BLANK), 0.0)))


def _alike(turned: np.ndarray, other: np.ndarray) -> np.ndarray:
    """For every angle the highest correlation over small shifts, (24,) in [-1, 1]."""
    products = np.fft.irfft2(turned * other.conj(), s=(_SIDE, _SIDE))
    near = np.r_[0 : _SHIFT + 1, -_SHIFT:0]
    return np.asarray(products[:, near[:, None], near[None, :]].max(axis=(1, 2)))
