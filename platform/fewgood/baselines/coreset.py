"""Seeded k-center greedy selection of a memory bank, with anomalib's `KCenterGreedy` and a fixed number of picks."""

from __future__ import annotations

import torch

from fewgood.baselines.anomalib_parts import KCenterGreedy

__all__ = ["k_center_greedy"]


@torch.no_grad()
def k_center_greedy(embedding: torch.Tensor, count: int) -> torch.Tensor:
    """Pick patches so that the farthest patch is as close as possible to a picked one.

    Ours: the steps of `KCenterGreedy.select_coreset_idxs` on its own projection, because that method takes a ratio only,
    allocates the size of all features in every step and writes a progress bar to the terminal. Random draws come from the
    global generators (NumPy and torch) in the same order, so the same seed gives the same picks.

    Args:
        embedding: (P, D) patch features.
        count: Patches to pick, 1 to P.

    Returns:
        (count,) int64 indices into `embedding`, in the order in which they were picked.

    References:
        Sener and Savarese 2018, arXiv 1708.00489; used by Roth et al. 2022, arXiv 2106.08265, section 3.2.
    """
    sampler = KCenterGreedy(embedding=embedding, sampling_ratio=1.0)
    sampler.model.fit(embedding)
    features = sampler.model.transform(embedding)
    # Every step works in these buffers. A fresh (P, D') difference per step is slow, and in a thread of glibc before 2.38
    # each aligned block that is freed is a little too small for the next: memory grew by 0.2 GB a second in Ray workers.
    gap, distances = (
        torch.empty_like(features),
        torch.empty(len(features), dtype=features.dtype, device=features.device),
    )
    nearest = torch.full_like(distances, torch.inf)
    picks = torch.empty(count, dtype=torch.int64, device=embedding.device)
    picks[0] = torch.randint(high=len(embedding), size=(1,), device=embedding.device)
    for step in range(1, count):
        torch.sub(features, features[picks[step - 1]], out=gap)
        torch.linalg.vector_norm(gap, ord=2, dim=1, out=distances)
        torch.minimum(nearest, distances, out=nearest)
        picks[step] = nearest.argmax()
        nearest[picks[step]] = 0.0
    return picks
