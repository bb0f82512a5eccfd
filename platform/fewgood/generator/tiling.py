"""Running a convolutional network over a large image in overlapping tiles, so that its memory is bounded."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["tiled"]


def tiled(
    function: Callable[[Tensor], Tensor], value: Tensor, *, tile: int, overlap: int, up: int, down: int
) -> Tensor:
    """`function(value)`, computed in tiles that are blended linearly where they overlap.

    Args:
        function: Maps (B, C, h, w) to (B, D, h * up / down, w * up / down).
        value: (B, C, H, W); one that fits into a tile is passed on whole.
        tile: Side of a tile; a multiple of `down`.
        overlap: By how much neighbouring tiles overlap at least; a multiple of `down`, less than `tile`.
        up: Growth of a side by `function`.
        down: Shrinkage of a side by `function`; H and W are multiples of it.
    """
    height, width = value.shape[2:]
    if height <= tile and width <= tile:
        return function(value)
    total: Tensor | None = None
    weights = value.new_zeros((1, 1, height * up // down, width * up // down))
    for top in _starts(height, tile, overlap):
        for left in _starts(width, tile, overlap):
            part = function(value[:, :, top : top + tile, left : left + tile]).float()
            if total is None:
                total = part.new_zeros((*part.shape[:2], *weights.shape[2:]))
            ramps = [_ramp(side, overlap * up // down, value.device) for side in part.shape[2:]]
            weight = ramps[0][:, None] * ramps[1][None, :]
            rows = slice(top * up // down, top * up // down + part.shape[2])
            columns = slice(left * up // down, left * up // down + part.shape[3])
            total[:, :, rows, columns] += part * weight
            weights[:, :, rows, columns] += weight
    assert total is not None
    return total / weights


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    if length <= tile:
        return [0]
    return [*range(0, length - tile, tile - overlap), length - tile]


def _ramp(length: int, overlap: int, device: torch.device) -> Tensor:
    position = torch.arange(length, device=device, dtype=torch.float32)
    edge = torch.minimum(position, position.flip(0)) + 1.0
    return edge.clamp(max=max(1.0, float(overlap)))
