"""Training batches for the generator: random crops at native resolution, lightly augmented, a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fewgood.errors import DataError

__all__ = ["check_images", "crop_batch", "reflect_to"]

_ZOOM = (0.8, 1.25)
_CONTRAST = 0.15
_BRIGHTNESS = 0.08


def check_images(images: Sequence[np.ndarray]) -> None:
    """Hold that `images` are what stages exchange: at least one uint8 array (H, W, 3).

    Raises:
        DataError: Naming the first that is not.
    """
    if len(images) == 0:
        raise DataError("the generator got 0 images, 1 or more are needed; give it a support set")
    for position, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape) < 1:
            raise DataError(
                f"image {position} is {image.dtype} {image.shape}, the generator takes uint8 (H, W, 3); "
                "read images with fewgood.data.read_image"
            )


def reflect_to(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """`image` (H, W, 3), extended by reflection at the bottom and the right to at least (height, width)."""
    missing = (max(0, height - image.shape[0]), max(0, width - image.shape[1]))
    if missing == (0, 0):
        return image
    return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="reflect")


def crop_batch(images: Sequence[np.ndarray], *, count: int, side: int, seed: int, step: int) -> Tensor:
    """`count` square crops for one training step.

    Ours: a crop is taken at native resolution with a zoom between 0.8 and 1.25, turned into one of the eight symmetries
    of the square, and changed a little in contrast (15 %) and brightness (8 %). The cost does not depend on the images'
    size. The whole batch is a function of the arguments, so that a worker can take its part of it.

    Args:
        images: uint8 (H, W, 3) each, of any sizes; smaller ones than a crop are extended by reflection.
        count: Crops, B.
        side: Their side in pixels, S.
        seed: Of the training.
        step: Of the training, from 0.

    Returns:
        (B, 3, S, S) float32 in [-1, 1].
    """
    stream = np.random.default_rng(np.random.SeedSequence([seed, 1, step]))
    return torch.cat([_one_crop(images, side, stream) for _ in range(count)])


def _one_crop(images: Sequence[np.ndarray], side: int, stream: np.random.Generator) -> Tensor:
    image = images[int(stream.integers(len(images)))]
    window = round(side * float(stream.uniform(*_ZOOM)))
    image = reflect_to(image, window, window)
    top = int(stream.integers(image.shape[0] - window + 1))
    left = int(stream.integers(image.shape[1] - window + 1))
    crop = np.rot90(image[top : top + window, left : left + window], int(stream.integers(4)))
    if stream.integers(2):
        crop = crop[:, ::-1]
    pixels = torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)[None].float() / 127.5 - 1.0
    pixels = functional.interpolate(pixels, (side, side), mode="bilinear", align_corners=False, antialias=True)
    contrast = 1.0 + _CONTRAST * float(stream.uniform(-1, 1))
    brightness = 2.0 * _BRIGHTNESS * float(stream.uniform(-1, 1))
    mean = pixels.mean()
    return ((pixels - mean) * contrast + mean + brightness).clamp(-1.0, 1.0)
