"""Stage 1: which candidate words lie too far from the keyword, by text alone (method.md, section 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fewgood.text.candidates import Word

__all__ = ["text_distances", "text_outliers"]

_NEAREST = 3
_SENSE_CUT = 1.0
_WORD_CUT = 2.0
_NORMAL = 1.4826
"""Median absolute deviation to standard deviation, for normal values."""


def text_distances(embeddings: np.ndarray) -> np.ndarray:
    """Cosine distance of every text to the first one, the keyword's prompt.

    Args:
        embeddings: (N, D) unit vectors.

    Returns:
        (N,) float64, 0 to 2.
    """
    cosine_N: np.ndarray = embeddings.astype(np.float64) @ embeddings[0].astype(np.float64)
    return np.asarray(np.clip(1.0 - cosine_N, 0.0, 2.0))


def text_outliers(words: Sequence[Word], distances: np.ndarray) -> list[str | None]:
    """Why each word is an outlier of the text space, or None where it is not.

    Paper: candidates far from the rest in the text space are dropped. It does not say from which centre, and with
    several senses the centre of all words belongs to the sense with the most words: "nut" would lose the hardware to
    persons and seeds. Ours: the centre is the keyword's own prompt, which favours no sense by its size, and the scale
    is robust: median m and spread s = 1.4826 MAD of all distances.

    - A sense is as far as the mean of its three nearest words.
    - A sense that is no thing (a prison guard, a crackpot, a unit of length) is dropped whole when a thing is nearer.
    - A sense of a thing is distant when it is more than s farther than the nearest sense. It may still be the right one
      (the seal called "washer"), so it keeps its nearest word and those nearer than m; the image decides in stage 2.
    - Any other word is dropped beyond m + 2 s.

    Args:
        words: the candidates; the first is the keyword, which is never dropped.
        distances: (N,) of `text_distances`.

    Returns:
        N reasons for people, or None.
    """
    if len(words) < 2 or words[0].relation == "template":
        return [None] * len(words)
    rest = distances[1:]
    median = float(np.median(rest))
    spread = _NORMAL * float(np.median(np.abs(rest - median)))
    members: dict[str | None, list[int]] = {}
    for index, word in enumerate(words[1:], start=1):
        members.setdefault(word.root, []).append(index)
    sense = {root: float(np.sort(distances[indices])[:_NEAREST].mean()) for root, indices in members.items()}
    sense_limit = min(sense.values()) + _SENSE_CUT * spread
    things = {word.root for word in words[1:] if word.thing}
    nearest_thing = min((sense[root] for root in things), default=float("inf"))
    nearest = {min(indices, key=lambda index: (distances[index], index)) for indices in members.values()}
    reasons: list[str | None] = [None]
    for index, word in enumerate(words[1:], start=1):
        distant = sense[word.root] > sense_limit
        distance = distances[index]
        if not word.thing and sense[word.root] > nearest_thing:
            reasons.append(
                f"foreign sense {word.root}: no thing, and at text distance {sense[word.root]:.2f} "
                f"a thing is nearer ({nearest_thing:.2f})"
            )
        elif distant and distance > median and index not in nearest:
            reasons.append(f"far word of the distant sense {word.root}: {distance:.2f}, the limit is {median:.2f}")
        elif distance > median + _WORD_CUT * spread and index not in nearest:
            reasons.append(f"text distance {distance:.2f}, the limit is {median + _WORD_CUT * spread:.2f}")
        else:
            reasons.append(None)
    return reasons
