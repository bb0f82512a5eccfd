"""Images as the networks want them: square, float, normalised, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torchvision.transforms.v2 import functional as transforms

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "batches", "to_batch"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def to_batch(images: Sequence[np.ndarray], size: int, *, normalize: bool) -> torch.Tensor:
    """Resize images to a square and stack them, as anomalib's default pre-processor does.

    Args:
        images: uint8 (H, W, 3) RGB, of any sizes.
        size: Side of the square, pixels; bilinear with antialias, aspect ratio not kept.
        normalize: Subtract ImageNet's mean and divide by its deviation; otherwise values stay in [0, 1].

    Returns:
        (B, 3, size, size) float32 on the CPU.
    """
    squares = []
    for image in images:
        chw = torch.tensor(image).permute(2, 0, 1).contiguous().float() / 255
        squares.append(transforms.resize(chw, [size, size], antialias=True))
    batch = torch.stack(squares)
    return transforms.normalize(batch, list(IMAGENET_MEAN), list(IMAGENET_STD)) if normalize else batch


def batches(
    images: Sequence[np.ndarray], size: int, batch_size: int, *, normalize: bool, device: torch.device
) -> Iterator[tuple[slice, torch.Tensor]]:
    """The images in order, `batch_size` at a time: (their place, (B, 3, size, size) on `device`)."""
    for start in range(0, len(images), batch_size):
        place = slice(start, min(start + batch_size, len(images)))
        yield place, to_batch(images[place], size, normalize=normalize).to(device)
