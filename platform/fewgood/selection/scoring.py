"""The text-guided knowledge integrator: which generated images are fed back, and when to stop another round.

Paper (arXiv 2403.06247, section 3.3): a generated image is scored by the similarity between the expectation of its image
features and the best prompt's feature; the best are kept and fed back. Ours: the expectation is the mean embedding over
latent draws of the same image, and rounds end when one no longer helps the few-shot proxy score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fewgood.errors import FewgoodError, SpecError

__all__ = ["score_candidates", "select_random", "select_top", "should_stop_rounds"]


def score_candidates(draw_embeddings: np.ndarray, prompt_embedding: np.ndarray) -> np.ndarray:
    """The cosine between each image's expected embedding and the prompt's.

    Args:
        draw_embeddings: (N, S, D): S latent draws of each of N images, of unit norm.
        prompt_embedding: (D,), the best prompt's.

    Returns:
        (N,) float64 in [-1, 1].

    Raises:
        ValueError: If the shapes do not fit, or S is 0.
        FewgoodError: If an embedding is no number, or an expectation or the prompt has no direction.
    """
    draws = np.asarray(draw_embeddings, dtype=np.float64)
    prompt = np.asarray(prompt_embedding, dtype=np.float64)
    if draws.ndim != 3 or draws.shape[1] == 0 or prompt.shape != draws.shape[2:]:
        raise ValueError(
            f"draw_embeddings is {draws.shape} and prompt_embedding {prompt.shape}, not (N, S, D) and (D,)"
        )
    if not np.isfinite(prompt).all():
        raise FewgoodError("the prompt's embedding is no number; check the embedding model's weights")
    broken = np.flatnonzero(~np.isfinite(draws).all(axis=(1, 2)))
    if len(broken) > 0:
        raise FewgoodError(
            f"the embedding of candidate {broken[0]} is no number ({len(broken)} of {len(draws)} candidates); "
            "check the embedding model's weights"
        )
    expected = draws.mean(axis=1)
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(prompt)
    if (lengths == 0).any():
        raise FewgoodError("an embedding of length 0 has no cosine; check the embedding model's weights and the prompt")
    scores: np.ndarray = np.clip(expected @ prompt / lengths, -1.0, 1.0)
    return scores


def select_top(scores: np.ndarray | Sequence[float], count: int) -> list[int]:
    """The indices of the `count` highest of (N,) `scores`, best first; equal scores in the order of their index.

    Raises:
        SpecError: If `count` is not from 0 to N.
        FewgoodError: If a score is NaN.
    """
    values = np.asarray(scores, dtype=np.float64)
    _require_count(count, len(values))
    if np.isnan(values).any():
        raise FewgoodError(
            f"the score of candidate {int(np.flatnonzero(np.isnan(values))[0])} is no number; "
            "check the embedding model's weights"
        )
    return [int(index) for index in np.argsort(-values, kind="stable")[:count]]


def select_random(n: int, count: int, seed: int) -> list[int]:
    """`count` different indices below `n`, in random order: the control for `select_top`.

    Raises:
        SpecError: If `count` is not from 0 to `n`.
    """
    _require_count(count, n)
    stream = np.random.default_rng(np.random.SeedSequence([seed, 6]))
    return [int(index) for index in stream.permutation(n)[:count]]


def should_stop_rounds(proxy_scores: Sequence[float]) -> bool:
    """Whether the last round no longer helped: its few-shot proxy score is not above the best before it.

    Args:
        proxy_scores: One score per finished round, in order, higher is better; the first may be the score before any
            round. With fewer than two there is nothing to compare, so the answer is False.

    Raises:
        FewgoodError: If a score is NaN.
    """
    values = [float(score) for score in proxy_scores]
    if any(np.isnan(values)):
        raise FewgoodError("a round's proxy score is no number; check the baseline and the support set")
    return len(values) >= 2 and values[-1] <= max(values[:-1])


def _require_count(count: int, available: int) -> None:
    if not 0 <= count <= available:
        raise SpecError(
            f"{count} of {available} candidates cannot be kept, allowed is 0 to {available}; "
            "raise sampling.oversample or lower selection.count"
        )
