"""Seeded k-center greedy selection of a memory bank: anomalib's `KCenterGreedy`, a fixed number of picks, and no waste.

After a pick, a patch's distance to its nearest pick can only change where the new pick is nearer. The distance between
two patches' projections onto a few orthonormal directions is never larger than their own distance, so most patches are
ruled out by these few numbers; the distances of the rest are computed as before, and the picks are the same ones.
"""

from __future__ import annotations

import torch

from fewgood.baselines.anomalib_parts import KCenterGreedy
from fewgood.baselines.threads import one_thread

__all__ = ["k_center_greedy"]

_DIRECTIONS = 32
"""Numbers by which a patch is ruled out: on features of 80 magnetic tiles 32 leave 3 % of the patches, 16 leave 9 %."""
_ROWS = 4096
"""Patches whose distances are computed at a time; with fewer patches than this nothing is ruled out beforehand."""
_RELATIVE, _ABSOLUTE = 1e-3, 2e-5
"""Safety margins on a squared distance, relative to it and to the largest squared norm: ten times the rounding errors."""


@torch.no_grad()
def k_center_greedy(embedding: torch.Tensor, count: int) -> torch.Tensor:
    """Pick patches so that the farthest patch is as close as possible to a picked one.

    Ours: the steps of `KCenterGreedy.select_coreset_idxs` on its own projection, because that method takes a ratio only,
    computes every distance in every step and writes a progress bar to the terminal. Random draws come from the global
    generators (NumPy and torch) in the same order, so the same seed gives the same picks.

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
    first = torch.randint(high=len(embedding), size=(1,), device=embedding.device)
    # An accelerator computes all distances faster than it is asked which ones are needed.
    worthwhile = features.device.type == "cpu" and len(features) > _ROWS and features.shape[1] > _DIRECTIONS
    if worthwhile and bool(torch.isfinite(features).all()):
        # A step is many small pieces of work: threads that wait for each other at every piece took ten times as long.
        with one_thread():
            return _screened_picks(features, first, count)
    return _plain_picks(features, first, count)


def _plain_picks(features: torch.Tensor, first: torch.Tensor, count: int) -> torch.Tensor:
    """Every step computes the distance of every patch to the last pick."""
    # Every step works in these buffers. A fresh (P, D') difference per step is slow, and in a thread of glibc before 2.38
    # each aligned block that is freed is a little too small for the next: memory grew by 0.2 GB a second in Ray workers.
    gap, distances = (
        torch.empty_like(features),
        torch.empty(len(features), dtype=features.dtype, device=features.device),
    )
    nearest = torch.full_like(distances, torch.inf)
    picks = torch.empty(count, dtype=torch.int64, device=features.device)
    picks[0] = first
    for step in range(1, count):
        torch.sub(features, features[picks[step - 1]], out=gap)
        torch.linalg.vector_norm(gap, ord=2, dim=1, out=distances)
        torch.minimum(nearest, distances, out=nearest)
        picks[step] = nearest.argmax()
        nearest[picks[step]] = 0.0
    return picks


def _screened_picks(features: torch.Tensor, first: torch.Tensor, count: int) -> torch.Tensor:
    """The same picks; a step computes only the distances that may be smaller than the nearest so far."""
    low = _projected(features)
    squares = low.square().sum(dim=1)
    slack = _ABSOLUTE * float(squares.max())
    # Buffers, for the same reason as above.
    bound, mask = torch.empty_like(squares), torch.empty(len(features), dtype=torch.bool)
    gap, distances = torch.empty((_ROWS, features.shape[1]), dtype=features.dtype), torch.empty_like(squares[:_ROWS])
    found = torch.empty((len(features), 1), dtype=torch.int64)
    nearest = torch.full_like(squares, torch.inf)
    limits = nearest.clone()
    picks = torch.empty(count, dtype=torch.int64)
    picks[0] = first
    for step in range(1, count):
        last = picks[step - 1]
        # The squared distance of the projections, less the last pick's own square, which is the same for all.
        torch.addmv(squares, low, low[last], alpha=-2, out=bound)
        torch.lt(bound, limits.sub(squares[last]), out=mask)
        torch.nonzero(mask, out=found.resize_(0))
        for rows in found.squeeze(1).split(_ROWS):
            torch.index_select(features, 0, rows, out=gap[: len(rows)])
            torch.sub(gap[: len(rows)], features[last], out=gap[: len(rows)])
            torch.linalg.vector_norm(gap[: len(rows)], ord=2, dim=1, out=distances[: len(rows)])
            nearer = torch.minimum(nearest[rows], distances[: len(rows)])
            nearest[rows] = nearer
            limits[rows] = nearer.square_().mul_(1 + _RELATIVE).add_(slack)
        picks[step] = nearest.argmax()
        nearest[picks[step]] = 0.0
    return picks


def _projected(features: torch.Tensor) -> torch.Tensor:
    """(P, 32): coordinates along the features' main directions, computed in double precision and then rounded."""
    sample = features[:: max(1, len(features) // _ROWS)].double()
    mean = sample.mean(dim=0)
    _, directions = torch.linalg.eigh((sample - mean).T @ (sample - mean))
    main = directions[:, -_DIRECTIONS:]
    return torch.cat([((part.double() - mean) @ main).to(features.dtype) for part in features.split(_ROWS)])
