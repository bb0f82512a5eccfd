"""Coverage: of the images that the text keeps, those that bring what neither the support set nor the chosen ones have yet."""

from __future__ import annotations

import numpy as np

from fewgood.errors import FewgoodError

__all__ = ["select_covering"]

_STRIDE = 3
"""Every third patch of an image stands for all: neighbours overlap, and the work falls to a ninth."""


def select_covering(candidates: np.ndarray, held: np.ndarray, count: int) -> list[int]:
    """Pick images one by one, each time the one whose patches lie farthest, on average, from all that is held.

    This is k-center greedy (Sener and Savarese 2018, arXiv 1708.00489) over images instead of patches: a detector with a
    memory of good patches can only gain from patches that it has not. Text alone ranks typical images first.

    Args:
        candidates: (N, L, D) patch features of N images.
        held: (K, L, D), of the support images; at least one.
        count: Images to pick, 0 to N.

    Returns:
        `count` different indices, in the order in which they were picked; of equal candidates the first.

    Raises:
        ValueError: If the shapes do not fit, or `count` is not from 0 to N.
        FewgoodError: If a feature is no number.
    """
    import torch

    if candidates.ndim != 3 or held.ndim != 3 or len(held) == 0 or candidates.shape[2] != held.shape[2]:
        raise ValueError(f"candidates is {candidates.shape} and held {held.shape}, not (N, L, D) and (K, L, D)")
    if not 0 <= count <= len(candidates):
        raise ValueError(f"{count} of {len(candidates)} images cannot be picked")
    if not (np.isfinite(candidates).all() and np.isfinite(held).all()):
        raise FewgoodError("the patch features of an image are no numbers; check the backbone's weights")
    # In double precision, so that the number of threads does not show in the picks.
    patches = torch.from_numpy(np.ascontiguousarray(candidates[:, ::_STRIDE], dtype=np.float64))
    known = torch.from_numpy(np.ascontiguousarray(held[:, ::_STRIDE], dtype=np.float64)).flatten(0, 1)
    picks: list[int] = []
    if count == 0:
        return picks
    nearest = torch.stack([torch.cdist(image, known).amin(dim=1) for image in patches])
    while len(picks) < count:
        gain = nearest.mean(dim=1)
        gain[picks] = -1.0
        picks.append(int(gain.argmax()))
        for place, image in enumerate(patches):
            nearer = torch.cdist(image, patches[picks[-1]]).amin(dim=1)
            nearest[place] = torch.minimum(nearest[place], nearer)
    return picks
