"""Intervals over seeds and test images: a paired hierarchical bootstrap with a correction for few seeds.

The test images of a cell are the same for every seed and every arm, so one resample of them (defects and good images
apart) is shared by all runs of a cell: seeds and images are crossed, and two arms stay paired. Seeds are resampled
with replacement on top. A bootstrap over n values is too narrow for small n (3 seeds: 95 % intervals cover about 75 %).
Two standard corrections are made (the reasons are in Hesterberg 2015, The American Statistician 69(4), 371-386): the
seeds' deviation is stretched by sqrt(n / (n - 1)), and the whole deviation by Student's t quantile over the normal
one, at the degrees of freedom that the seeds' share of the variance leaves. Where the test images dominate, nearly
nothing changes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "Resample",
    "auroc",
    "auroc_replicates",
    "content_seed",
    "hierarchical_interval",
    "pooled_interval",
    "seed_counts",
]

Floats = NDArray[np.float64]

RESAMPLES = 2000
"""Bootstrap replicates behind every interval."""

LEVEL = 0.95
"""Coverage that an interval aims at."""

_BLOCK = 4_000_000
"""Largest number of weights held at once, so that a large test set stays below some 100 MB."""


@dataclass(frozen=True)
class Resample:
    """One cell's estimate and what its interval is made of.

    Attributes:
        values: (S,) the metric, or the difference, per seed.
        replicates: (S, B) the same under B resamples of the test images; None where images cannot be resampled.
        counts: (B, S) how often each seed was drawn.
    """

    values: Floats
    replicates: Floats | None
    counts: Floats


def content_seed(*content: object) -> int:
    """A random seed made of `content` alone, equal on every machine and for every order of the ledger's rows."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def auroc(defect: NDArray[np.bool_], scores: Floats) -> float:
    """The area under the ROC curve: the share of (defect, good) pairs in the right order, ties counting one half.

    Args:
        defect: (N,) True for a defect.
        scores: (N,) anomaly scores, higher for a defect.

    Returns:
        A value in [0, 1]; NaN when one of the two classes is empty.
    """
    good = np.sort(scores[~defect])
    bad = scores[defect]
    if not len(good) or not len(bad):
        return math.nan
    placed = np.searchsorted(good, bad, "left") + np.searchsorted(good, bad, "right")
    return float(placed.sum() / (2 * len(good) * len(bad)))


def auroc_replicates(defect: NDArray[np.bool_], scores: Floats, seed: int, resamples: int = RESAMPLES) -> Floats:
    """The AUROC under resamples of the test images, defects and good images drawn apart.

    The k-th replicate of two runs with the same `defect` and `seed` uses the same images. A count weight per image
    and a cumulative sum over the sorted good scores stand for the matrix of pairwise comparisons: O(B N) for B
    resamples instead of O(B N^2).

    Args:
        defect: (N,) True for a defect; both classes present.
        scores: (N,) anomaly scores.
        seed: What the resamples are drawn from (`content_seed` of the cell).
        resamples: B.

    Returns:
        (B,) values in [0, 1].
    """
    good, bad = scores[~defect], scores[defect]
    order = np.argsort(good, kind="stable")
    ordered = good[order]
    below, upto = np.searchsorted(ordered, bad, "left"), np.searchsorted(ordered, bad, "right")
    block = max(1, _BLOCK // len(scores))
    parts = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        good_weights, bad_weights = _image_weights(seed, start, size, len(good), len(bad))
        cumulative = np.zeros((size, len(good) + 1))
        np.cumsum(good_weights[:, order], axis=1, out=cumulative[:, 1:])
        placed = cumulative[:, below] + cumulative[:, upto]
        parts.append(np.einsum("bn,bn->b", placed, bad_weights) / (2 * len(good) * len(bad)))
    return np.concatenate(parts)


def seed_counts(seed: int, seeds: int, resamples: int = RESAMPLES) -> Floats:
    """(B, S) how often each of S seeds is drawn in each of B resamples with replacement; every row sums to S."""
    generator = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    return generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples).astype(np.float64)


def hierarchical_interval(resample: Resample, *, bounds: tuple[float, float]) -> tuple[float, float] | None:
    """The interval of one cell's mean over its seeds; None with fewer than two seeds.

    Args:
        resample: The values and their replicates.
        bounds: Smallest and largest value that the quantity can take.

    Returns:
        (low, high), which always contain the mean: where the percentiles do not, they are widened to it.
    """
    return pooled_interval([resample], bounds=bounds)


def pooled_interval(cells: Sequence[Resample], *, bounds: tuple[float, float]) -> tuple[float, float] | None:
    """The interval of the mean of several cells' means; None when a cell has fewer than two seeds.

    The cells themselves are not resampled: the interval is about these categories, not about categories in general.
    The degrees of freedom of the correction for few seeds are Welch and Satterthwaite's over the cells.
    """
    if not cells or any(len(cell.values) < 2 for cell in cells):
        return None
    deviation: Floats = np.zeros(len(cells[0].counts))
    image_variance = 0.0
    for cell in cells:
        size = len(cell.values)
        spread = cell.values[:, None] if cell.replicates is None else cell.replicates
        centre = spread.mean(axis=0)
        drawn = (cell.counts * (spread - centre).T).sum(axis=1) / size
        deviation += centre - cell.values.mean() + drawn * math.sqrt(size / (size - 1))
        image_variance += float(np.var(centre))
    mean = math.fsum(float(cell.values.mean()) for cell in cells) / len(cells)
    replicates = mean + deviation * (_student_stretch(cells, image_variance) / len(cells))
    tail = (1 - LEVEL) / 2
    low, high = (float(value) for value in np.quantile(replicates, [tail, 1 - tail]))
    low, high = max(low, bounds[0]), min(high, bounds[1])
    return min(low, mean), max(high, mean)


def _student_stretch(cells: Sequence[Resample], image_variance: float) -> float:
    """Student's t quantile over the normal one, at Welch and Satterthwaite's degrees of freedom.

    The seeds bring n - 1 degrees of freedom per cell, the test images so many that they count as infinite.
    """
    terms = [(float(np.var(cell.values, ddof=1)) / len(cell.values), len(cell.values) - 1) for cell in cells]
    total = image_variance + math.fsum(variance for variance, _ in terms)
    below = math.fsum(variance**2 / freedom for variance, freedom in terms)
    if below == 0:
        return 1.0
    upper = 1 - (1 - LEVEL) / 2
    return float(stdtrit(total**2 / below, upper) / ndtri(upper))


@lru_cache(maxsize=4)
def _image_weights(seed: int, start: int, size: int, good: int, bad: int) -> tuple[Floats, Floats]:
    """((size, good), (size, bad)) count weights of one block of resamples, which every run of a cell shares."""
    generator = np.random.default_rng(np.random.SeedSequence([seed, 0, start]))
    return (
        generator.multinomial(good, np.full(good, 1 / good), size=size).astype(np.float64),
        generator.multinomial(bad, np.full(bad, 1 / bad), size=size).astype(np.float64),
    )
