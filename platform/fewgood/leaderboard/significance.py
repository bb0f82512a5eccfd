"""Tests across categories and for one pair of ROC curves: Wilcoxon with Holm, Friedman with Nemenyi, DeLong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

__all__ = ["MIN_CATEGORIES", "DeLong", "Friedman", "delong", "friedman", "holm", "wilcoxon"]

MIN_CATEGORIES = 6
"""Fewest categories for a test across them: below six, no outcome of Wilcoxon's test reaches p < 0.05."""


@dataclass(frozen=True, kw_only=True)
class DeLong:
    """Two AUROCs on the same images: first - second, its standard error, z, two-sided p, 95 % interval."""

    first: float
    second: float
    difference: float
    standard_error: float
    z: float | None
    p: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Friedman:
    """Mean ranks of arms over categories (1 is best), Friedman's p, and Nemenyi's critical difference at 5 %."""

    ranks: dict[str, float]
    p: float
    critical_difference: float
    categories: int


def delong(defect: NDArray[np.bool_], first: NDArray[np.float64], second: NDArray[np.float64]) -> DeLong:
    """Compare two correlated AUROCs (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, 837-845).

    Placements come from ranks, in O(N log N) (Sun and Xu 2014). The test speaks of the test images only, for the one
    support set that both scores come from.

    Args:
        defect: (N,) True for a defect; at least two of each class.
        first: (N,) scores of one detector, higher for a defect.
        second: (N,) scores of the other on the same images.

    Returns:
        The comparison; equal AUROCs without any variance have z None and p 1.

    Raises:
        ValueError: With fewer than two images in a class.
    """
    if min(int(defect.sum()), int((~defect).sum())) < 2:
        raise ValueError("DeLong's test needs at least two defects and two good images")
    placements = [_placements(defect, scores) for scores in (first, second)]
    bad = placements[0][0] - placements[1][0]
    good = placements[0][1] - placements[1][1]
    gap = float(bad.mean())
    error = math.sqrt(float(np.var(bad, ddof=1)) / len(bad) + float(np.var(good, ddof=1)) / len(good))
    z = gap / error if error > 0 else None
    p = 2 * float(ndtr(-abs(z))) if z is not None else (1.0 if gap == 0 else 0.0)
    half = float(ndtri(0.975)) * error
    return DeLong(
        first=float(placements[0][0].mean()),
        second=float(placements[1][0].mean()),
        difference=gap,
        standard_error=error,
        z=z,
        p=p,
        low=gap - half,
        high=gap + half,
    )


def wilcoxon(differences: Sequence[float]) -> float | None:
    """The two-sided p of Wilcoxon's signed-rank test over categories.

    Args:
        differences: One mean paired difference per category.

    Returns:
        p in (0, 1], exact where there is no tie; None with fewer than `MIN_CATEGORIES` differences that are not zero.
    """
    present = [value for value in differences if value != 0]
    if len(present) < MIN_CATEGORIES:
        return None
    from scipy.stats import wilcoxon as signed_rank  # here: scipy.stats takes a second to import

    # Sums of floats such as 0.1 + 0.2 must not break a tie that the data has.
    return float(signed_rank(np.round(present, 12)).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given; each at least the raw one and at most 1."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for step, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        running = max(running, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = running
    return adjusted


def friedman(scores: dict[str, Sequence[float]]) -> Friedman | None:
    """Rank arms within each category and test whether they differ (Demsar 2006, JMLR 7, section 3.2).

    Args:
        scores: Arm -> one value per category, higher is better, all of the same length.

    Returns:
        Mean ranks, Friedman's p and Nemenyi's critical difference of mean ranks; None with fewer than three arms or
        `MIN_CATEGORIES` categories, or when no category tells the arms apart.
    """
    arms = list(scores)
    table = np.round(np.array([list(scores[arm]) for arm in arms], dtype=np.float64), 12)
    if len(arms) < 3 or table.shape[1] < MIN_CATEGORIES or bool((table == table[0]).all()):
        return None
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    ranks = rankdata(-table, axis=0).mean(axis=1)
    quantile = float(studentized_range.ppf(0.95, len(arms), np.inf)) / math.sqrt(2)
    return Friedman(
        ranks=dict(zip(arms, ranks.tolist(), strict=True)),
        p=float(friedmanchisquare(*table).pvalue),
        critical_difference=quantile * math.sqrt(len(arms) * (len(arms) + 1) / (6 * table.shape[1])),
        categories=table.shape[1],
    )


def _placements(
    defect: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """((n_defect,), (n_good,)) share of the other class that each image is placed rightly against."""
    bad, good = scores[defect], scores[~defect]
    sorted_bad, sorted_good = np.sort(bad), np.sort(good)
    below = (np.searchsorted(sorted_good, bad, "left") + np.searchsorted(sorted_good, bad, "right")) / 2
    above = len(bad) - (np.searchsorted(sorted_bad, good, "left") + np.searchsorted(sorted_bad, good, "right")) / 2
    return below / len(good), above / len(bad)
