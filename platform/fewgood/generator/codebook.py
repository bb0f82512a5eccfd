"""Keeping a small codebook alive: entries start at, and dead ones return to, latents that the encoder really produces.

Ours: VQGAN's uniform start leaves most entries unused when training has a few images and some hundred steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cluster", "flatten_latents", "revive"]

_ROUNDS = 10


def flatten_latents(latents: Tensor) -> Tensor:
    """(B, C, h, w) latents as (B * h * w, C) float32 vectors."""
    return latents.detach().float().permute(0, 2, 3, 1).reshape(-1, latents.shape[1])


def cluster(vectors: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """`size` centres of (N, C) vectors by Lloyd's k-means, (size, C); with fewer vectors, jittered repeats of them."""
    centres = _draw(vectors, size, generator)
    for _ in range(_ROUNDS):
        nearest = torch.cdist(vectors, centres).argmin(dim=1)
        member = torch.nn.functional.one_hot(nearest, size).to(vectors.dtype)
        counts = member.sum(dim=0)[:, None]
        centres = torch.where(counts > 0, member.t() @ vectors / counts.clamp(min=1.0), centres)
    return centres


def revive(codebook: Tensor, used: Tensor, vectors: Tensor, generator: torch.Generator) -> Tensor:
    """Move each unused entry of `codebook` (K, C) onto a latent, in place.

    Args:
        codebook: Entries, changed in place.
        used: (K,) bool, false for the entries to move.
        vectors: (N, C) latents to draw from.
        generator: Of the draw.

    Returns:
        The indices of the moved entries, (M,) int64.
    """
    dead = (~used).nonzero().flatten()
    if len(dead) > 0:
        codebook[dead] = _draw(vectors, len(dead), generator).to(codebook)
    return dead


def _draw(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    order = torch.randperm(len(vectors), generator=generator)
    if count > len(vectors):
        order = torch.cat([order, torch.randint(len(vectors), (count - len(vectors),), generator=generator)])
    drawn = vectors[order[:count].to(vectors.device)]
    jitter = torch.randn(drawn.shape, generator=generator).to(drawn) * 1e-3 * vectors.std().clamp(min=1e-6)
    return drawn + jitter
