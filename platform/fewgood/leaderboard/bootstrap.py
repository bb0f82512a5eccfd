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
Weights = NDArray[np.float32] | NDArray[np.float64]

RESAMPLES = 2000
"""Bootstrap replicates behind every interval."""

LEVEL = 0.95
"""Coverage that an interval aims at."""

_TAIL = 0.01
"""Smallest tail that is read off the replicates, 20 of them by default; a smaller one is extrapolated from it."""

_EXACT = 2**24
"""Below it, float32 holds every whole number, so that sums of counts come out the same in any order."""

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
    resamples instead of O(B N^2). One row is one image, so that whatever is gathered is a contiguous copy. All sums
    are of whole numbers: their order does not change them.

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
    pairs = len(good) * len(bad)
    kind = np.float32 if 2 * pairs < _EXACT else np.float64
    block = max(1, _BLOCK // len(scores))
    parts = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        good_weights, bad_weights = _image_weights(seed, start, size, len(good), len(bad), kind)
        cumulative = np.empty((len(good) + 1, size), dtype=kind)
        cumulative[0] = 0
        for place, image in enumerate(order.tolist()):
            np.add(cumulative[place], good_weights[image], out=cumulative[place + 1])
        placed = _twice_below(cumulative, below, upto)
        np.multiply(placed, bad_weights, out=placed)
        parts.append(placed.sum(axis=0).astype(np.float64) / (2 * pairs))
    return np.concatenate(parts)


@lru_cache(maxsize=256)
def seed_counts(seed: int, seeds: int, resamples: int = RESAMPLES) -> Floats:
    """(B, S) how often each of S seeds is drawn in each of B resamples with replacement; every row sums to S.

    The array is shared by all who ask for it and cannot be written to.
    """
    generator = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    counts = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    shared: Floats = np.asfortranarray(counts, dtype=np.float64)  # one seed's counts lie side by side
    shared.flags.writeable = False
    return shared


def hierarchical_interval(
    resample: Resample, *, bounds: tuple[float, float], level: float = LEVEL
) -> tuple[float, float] | None:
    """The interval of one cell's mean over its seeds; None with fewer than two seeds.

    Args:
        resample: The values and their replicates.
        bounds: Smallest and largest value that the quantity can take.
        level: Coverage that the interval aims at, in (0, 1).

    Returns:
        (low, high), which always contain the mean: where the percentiles do not, they are widened to it.
    """
    return pooled_interval([resample], bounds=bounds, level=level)


def pooled_interval(
    cells: Sequence[Resample], *, bounds: tuple[float, float], level: float = LEVEL
) -> tuple[float, float] | None:
    """The interval of the mean of several cells' means; None when a cell has fewer than two seeds.

    The cells themselves are not resampled: the interval is about these categories, not about categories in general.
    The degrees of freedom of the correction for few seeds are Welch and Satterthwaite's over the cells. A level that
    many comparisons share (Bonferroni) can leave less than one replicate in a tail: beyond `_TAIL` the tail is taken
    to be that of a normal distribution.

    Args:
        cells: One part per cell.
        bounds: Smallest and largest value that the quantity can take.
        level: Coverage that the interval aims at, in (0, 1).

    Returns:
        (low, high) around the mean, or None.

    Raises:
        ValueError: for a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval is a share between 0 and 1, not {level}")
    if not cells or any(len(cell.values) < 2 for cell in cells):
        return None
    deviation: Floats = np.zeros(len(cells[0].counts))
    image_variance = 0.0
    for cell in cells:
        size = len(cell.values)
        spread = cell.values[:, None] if cell.replicates is None else cell.replicates
        centre = spread.mean(axis=0)
        apart = spread - centre
        drawn = cell.counts[:, 0] * apart[0]
        for seed in range(1, size):
            drawn += cell.counts[:, seed] * apart[seed]
        drawn /= size
        deviation += centre - cell.values.mean() + drawn * math.sqrt(size / (size - 1))
        image_variance += float(np.var(centre)) if len(centre) > 1 else 0.0
    mean = math.fsum(float(cell.values.mean()) for cell in cells) / len(cells)
    tail = (1 - level) / 2
    read = max(tail, _TAIL)
    stretch = _student_stretch(cells, image_variance, tail) * float(ndtri(tail) / ndtri(read))
    replicates = mean + deviation * (stretch / len(cells))
    low, high = _quantiles(replicates, (read, 1 - read))
    low, high = max(low, bounds[0]), min(high, bounds[1])
    return min(low, mean), max(high, mean)


def _quantiles(values: Floats, shares: Sequence[float]) -> list[float]:
    """What `np.quantile` gives, in a fifth of its time for a few thousand values."""
    places = [share * (len(values) - 1) for share in shares]
    below = [min(int(place), len(values) - 2) for place in places]
    ordered = np.partition(values, sorted({index for place in below for index in (place, place + 1)}))
    found = []
    for place, index in zip(places, below, strict=True):
        first, second, part = float(ordered[index]), float(ordered[index + 1]), place - index
        gap = second - first
        found.append(first + gap * part if part < 0.5 else second - gap * (1 - part))
    return found


def _student_stretch(cells: Sequence[Resample], image_variance: float, tail: float) -> float:
    """Student's t quantile over the normal one, at Welch and Satterthwaite's degrees of freedom.

    The seeds bring n - 1 degrees of freedom per cell, the test images so many that they count as infinite.
    """
    terms = [(float(np.var(cell.values, ddof=1)) / len(cell.values), len(cell.values) - 1) for cell in cells]
    total = image_variance + math.fsum(variance for variance, _ in terms)
    below = math.fsum(variance**2 / freedom for variance, freedom in terms)
    if below == 0:
        return 1.0
    return float(stdtrit(total**2 / below, 1 - tail) / ndtri(1 - tail))


def _twice_below(cumulative: Weights, below: NDArray[np.intp], upto: NDArray[np.intp]) -> Weights:
    """(n_defect, B) twice the weight of the good images that each defect is placed above, ties counting one half."""
    placed: Weights = cumulative[below]
    # Without a tie, which is the rule, both rows are the same one.
    placed += placed if np.array_equal(below, upto) else cumulative[upto]
    return placed


@lru_cache(maxsize=6)
def _image_weights(seed: int, start: int, size: int, good: int, bad: int, kind: type) -> tuple[Weights, Weights]:
    """((good, size), (bad, size)) count weights of one block of resamples, which every run of a cell shares."""
    generator = np.random.default_rng(np.random.SeedSequence([seed, 0, start]))
    drawn = [generator.multinomial(images, np.full(images, 1 / images), size=size) for images in (good, bad)]
    return np.ascontiguousarray(drawn[0].T, dtype=kind), np.ascontiguousarray(drawn[1].T, dtype=kind)
