"""Seeded k-center greedy selection of a memory bank, with anomalib's `KCenterGreedy` and a fixed number of picks."""

from __future__ import annotations

import torch

from fewgood.baselines.anomalib_parts import KCenterGreedy

__all__ = ["k_center_greedy"]


@torch.no_grad()  # a worker thread starts with gradients on: the distances would then keep every step's graph
def k_center_greedy(embedding: torch.Tensor, count: int) -> torch.Tensor:
    """Pick patches so that the farthest patch is as close as possible to a picked one.

    Ours: the steps of `KCenterGreedy.select_coreset_idxs`, driven one by one, because that method takes a ratio only
    and writes a progress bar to the terminal. Random draws come from the global generators (NumPy and torch) in the
    same order, so the same seed gives the same picks.

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
    sampler.features = sampler.model.transform(embedding)
    sampler.reset_distances()
    index = torch.randint(high=len(embedding), size=(1,), device=embedding.device).squeeze()
    picks = [index]
    for _ in range(count - 1):
        sampler.update_distances(index)
        index = sampler.get_new_idx()
        sampler.min_distances.scatter_(0, index.reshape(1, 1), 0.0)
        picks.append(index)
    return torch.stack(picks)
