"""The tests across categories and DeLong's test, against published and hand-worked cases."""

from __future__ import annotations

import json
import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from fewgood.leaderboard.significance import delong, friedman, holm, wilcoxon

FOLDER = Path(__file__).parent / "cases"
DELONG = json.loads((FOLDER / "delong.json").read_text())


def pairwise_delong(defect, first, second):
    """DeLong's variance from the full matrix of comparisons, the independent reference."""
    gap = np.zeros((int(defect.sum()), int((~defect).sum())))
    for sign, scores in ((1, first), (-1, second)):
        for i, bad in enumerate(scores[defect]):
            for j, good in enumerate(scores[~defect]):
                gap[i, j] += sign * (1.0 if bad > good else 0.5 if bad == good else 0.0)
    variance = gap.mean(1).var(ddof=1) / gap.shape[0] + gap.mean(0).var(ddof=1) / gap.shape[1]
    return gap.mean(), math.sqrt(variance)


@pytest.mark.parametrize("case", DELONG["cases"], ids=lambda case: case["first"])
def test_delong_reproduces_the_published_example(case):
    defect = np.array(DELONG["defect"], bool)
    first, second = (np.array(DELONG["scores"][case[name]], float) for name in ("first", "second"))
    result = delong(defect, first, second)
    found = {
        "auc_first": result.first,
        "auc_second": result.second,
        "difference": result.difference,
        "standard_error": result.standard_error,
        "low": result.low,
        "high": result.high,
        "chi_square": result.z**2,
        "p": result.p,
    }
    assert found == pytest.approx({name: case[name] for name in found}, abs=case["tolerance"])


def test_delong_agrees_with_all_pairs_compared_one_by_one():
    rng = np.random.default_rng(2)
    defect = rng.random(40) < 0.4
    first, second = rng.integers(0, 6, 40).astype(float) + defect, rng.normal(size=40)
    result = delong(defect, first, second)
    assert (result.difference, result.standard_error) == pytest.approx(
        pairwise_delong(defect, first, second), abs=1e-12
    )


def test_delong_of_equal_scores_and_of_too_few_images():
    defect, scores = np.array([True, True, False, False]), np.array([3.0, 1.0, 2.0, 0.0])
    result = delong(defect, scores, scores)
    assert (result.p, result.z) == (1.0, None)
    with pytest.raises(ValueError, match="two defects"):
        delong(np.array([True, False, False]), np.arange(3.0), np.arange(3.0))


@pytest.mark.parametrize("case", json.loads((FOLDER / "holm.json").read_text()), ids=lambda case: case["reason"][:30])
def test_holm(case):
    assert holm(case["p"]) == pytest.approx(case["adjusted"])


@pytest.mark.parametrize(
    "case", json.loads((FOLDER / "wilcoxon.json").read_text()), ids=lambda case: case["reason"][:30]
)
def test_wilcoxon_reproduces_the_published_example(case):
    differences = np.round(np.array(case["first"]) - case["second"], 12)
    assert smaller_rank_sum(differences) == case["expected"]["smaller_rank_sum"]
    assert wilcoxon(differences.tolist()) == pytest.approx(case["expected"]["p"], abs=case["tolerance"])
    # Every sign pattern of the differences that are not zero, enumerated.
    present = differences[differences != 0]
    sums = [smaller_rank_sum(np.abs(present) * signs) for signs in product((1, -1), repeat=len(present))]
    assert np.mean(np.array(sums) <= smaller_rank_sum(present)) == pytest.approx(case["expected"]["p"], abs=1e-12)


def smaller_rank_sum(differences):
    """Demsar's T: ranks of the absolute differences, ties sharing theirs, those of zeros split between the two sums."""
    size = np.abs(differences)
    ranks = np.array([(size < value).sum() + ((size == value).sum() + 1) / 2 for value in size])
    zeros = ranks[differences == 0].sum() / 2
    return min(ranks[differences > 0].sum() + zeros, ranks[differences < 0].sum() + zeros)


@pytest.mark.parametrize(
    "case", json.loads((FOLDER / "friedman.json").read_text()), ids=lambda case: case["reason"][:30]
)
def test_friedman_and_nemenyi_reproduce_the_published_example(case):
    found = friedman({name: [-rank for rank in ranks] for name, ranks in case["ranks"].items()})
    expected, tolerance = case["expected"], case["tolerance"]
    assert found.ranks == pytest.approx(expected["mean_ranks"], abs=tolerance["mean_ranks"])
    assert found.critical_difference == pytest.approx(
        expected["critical_difference"], abs=tolerance["critical_difference"]
    )
    size, count = len(found.ranks), found.categories
    spread = math.fsum(rank**2 for rank in found.ranks.values()) - size * (size + 1) ** 2 / 4
    assert 12 * count / (size * (size + 1)) * spread == pytest.approx(
        expected["chi_square"], abs=tolerance["chi_square"]
    )
    assert (found.p < 0.05) is expected["significant_at_5_percent"]


def test_wilcoxon_is_exact_and_needs_six_categories():
    assert wilcoxon([0.01, 0.02, 0.03, 0.04, 0.05, 0.06]) == pytest.approx(2 / 2**6)
    assert wilcoxon([0.01, 0.02, 0.03, 0.04, 0.05]) is None
    assert wilcoxon([0.0] * 20) is None


def test_friedman_ranks_and_critical_difference():
    scores = {"a": [0.9] * 10, "b": [0.8] * 10, "c": [0.7] * 10}
    found = friedman(scores)
    assert found.ranks == {"a": 1.0, "b": 2.0, "c": 3.0}
    # Demsar 2006, table 5: q = 2.343 for three classifiers; CD = q sqrt(k (k + 1) / 6 N).
    assert found.critical_difference == pytest.approx(2.343 * math.sqrt(12 / 60), abs=1e-3)
    assert found.p == pytest.approx(math.exp(-10), rel=1e-6)
    assert friedman({"a": [0.5] * 8, "b": [0.5] * 8, "c": [0.5] * 8}) is None
