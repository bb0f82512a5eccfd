"""The intervals: right AUROC, paired resamples, coverage with few seeds, and speed."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from fewgood.leaderboard.bootstrap import (
    Resample,
    _quantiles,
    auroc,
    auroc_replicates,
    content_seed,
    hierarchical_interval,
    pooled_interval,
    seed_counts,
)

CASES = json.loads((Path(__file__).parent / "cases" / "auroc.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["reason"])
def test_auroc_of_worked_cases(case):
    assert auroc(np.array(case["defect"], bool), np.array(case["scores"], float)) == case["auroc"]


def test_replicate_equals_the_auroc_of_the_drawn_images():
    rng = np.random.default_rng(3)
    defect, scores = np.repeat([False, True], [7, 5]), rng.integers(0, 4, 12).astype(float)
    replicates = auroc_replicates(defect, scores, seed=11, resamples=50)
    weights = np.random.default_rng(np.random.SeedSequence([11, 0, 0]))
    good = weights.multinomial(7, np.full(7, 1 / 7), size=50)
    bad = weights.multinomial(5, np.full(5, 1 / 5), size=50)
    for index in range(50):
        drawn_good, drawn_bad = np.repeat(scores[:7], good[index]), np.repeat(scores[7:], bad[index])
        pairs = (drawn_bad[:, None] > drawn_good).mean() + (drawn_bad[:, None] == drawn_good).mean() / 2
        assert math.isclose(replicates[index], pairs, abs_tol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 8), st.integers(0, 2**32))
def test_replicates_equal_those_of_plain_double_precision_sums(good, bad, levels, seed):
    rng = np.random.default_rng(seed)
    defect = rng.permutation(np.repeat([False, True], [good, bad]))
    scores = rng.integers(0, levels, good + bad).astype(float)
    assert np.array_equal(auroc_replicates(defect, scores, seed, 40), plain_replicates(defect, scores, seed, 40))


def plain_replicates(defect, scores, seed, resamples):
    good, bad = scores[~defect], scores[defect]
    weights = np.random.default_rng(np.random.SeedSequence([seed, 0, 0]))
    of_good = weights.multinomial(len(good), np.full(len(good), 1 / len(good)), size=resamples)
    of_bad = weights.multinomial(len(bad), np.full(len(bad), 1 / len(bad)), size=resamples)
    wins = 2.0 * (bad[:, None] > good) + (bad[:, None] == good)
    return np.einsum("bi,ij,bj->b", of_bad, wins, of_good) / (2 * len(good) * len(bad))


def test_large_test_sets_are_summed_in_double_precision():
    rng = np.random.default_rng(1)
    defect, scores = np.repeat([False, True], [3000, 2900]), rng.integers(0, 50, 5900).astype(float)
    assert np.array_equal(auroc_replicates(defect, scores, 4, 3), plain_replicates(defect, scores, 4, 3))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=40), st.floats(0, 0.5))
def test_quantiles_are_those_of_numpy(values, share):
    shares = (share, 1 - share)
    assert _quantiles(np.array(values), shares) == pytest.approx(np.quantile(values, shares), abs=1e-15)


def test_seed_counts_are_shared_and_cannot_be_written_to():
    counts = seed_counts(1, 3)
    assert seed_counts(1, 3) is counts
    with pytest.raises(ValueError, match="read-only"):
        counts[0, 0] = 9


def test_two_arms_share_their_resampled_images():
    rng = np.random.default_rng(0)
    defect, scores = np.repeat([False, True], 30), rng.normal(size=60)
    one, other = (auroc_replicates(defect, values, seed=5) for values in (scores, 3 * scores + 1))
    assert np.array_equal(one, other)


def test_large_test_sets_are_resampled_in_blocks():
    defect = np.repeat([False, True], 3000)
    replicates = auroc_replicates(defect, np.arange(6000.0), seed=1, resamples=1500)
    assert replicates.shape == (1500,)
    assert (replicates == 1).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.integers(0, 2**32))
def test_interval_contains_the_estimate_and_stays_in_bounds(values, seed):
    array = np.array(values)
    low, high = hierarchical_interval(Resample(array, None, seed_counts(seed, len(array))), bounds=(0.0, 1.0))
    mean = math.fsum(values) / len(values)
    assert min(0.0, mean) <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= max(1.0, mean)


def test_interval_covers_the_truth_with_three_seeds():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(400):
        sample = Resample(rng.normal(0.0, 0.02, size=3), None, seed_counts(seed, 3, 400))
        low, high = hierarchical_interval(sample, bounds=(-1.0, 1.0))
        hits += low <= 0 <= high
    # Percentiles of the plain bootstrap cover about 75 % here; four standard errors below 95 % are 90.6 %.
    assert hits / 400 > 0.906


def test_interval_covers_the_truth_over_seeds_and_test_images():
    """Scores are image effect + seed effect + noise; the expected AUROC over new seeds and images is known exactly."""
    rng = np.random.default_rng(5)
    shift, of_image, of_seed, noise = 1.2, 1.0, 0.25, 0.5
    truth = float(ndtr(shift / math.sqrt(2 * (of_image**2 + noise**2) + of_seed**2)))
    defect = np.repeat([False, True], 30)
    hits = []
    for trial in range(250):
        images = rng.normal(0, of_image, 60)
        scores = [images + (shift + rng.normal(0, of_seed)) * defect + rng.normal(0, noise, 60) for _ in range(3)]
        replicates = np.stack([auroc_replicates(defect, each, trial, 400) for each in scores])
        values = np.array([auroc(defect, each) for each in scores])
        low, high = pooled_interval([Resample(values, replicates, seed_counts(trial, 3, 400))], bounds=(0.0, 1.0))
        hits.append(low <= truth <= high)
    # 95 % is aimed at; four standard errors below it are 89.5 %. An interval that always covers would be too wide.
    assert 0.895 < np.mean(hits) < 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=5),
    st.integers(0, 2**32),
    st.lists(st.floats(0.5, 0.9999), min_size=2, max_size=2).map(sorted),
)
def test_a_higher_level_gives_an_interval_around_that_of_a_lower_one(values, seed, levels):
    sample = Resample(np.array(values), None, seed_counts(seed, len(values)))
    (low, high), (lower, higher) = (hierarchical_interval(sample, bounds=(0.0, 1.0), level=level) for level in levels)
    assert lower <= low + 1e-12
    assert high <= higher + 1e-12


def test_a_tail_beyond_the_replicates_is_that_of_a_normal_distribution():
    rng = np.random.default_rng(0)
    replicates = np.tile(0.5 + 0.01 * rng.normal(size=20000), (2, 1))
    sample = Resample(np.array([0.5, 0.5]), replicates, seed_counts(1, 2, 20000))
    low, high = hierarchical_interval(sample, bounds=(0.0, 1.0), level=1 - 2e-5)
    assert (low, high) == pytest.approx((0.5 - 0.04265, 0.5 + 0.04265), abs=0.0015)  # z of 1e-5 is 4.265


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_is_a_share(level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        hierarchical_interval(Resample(np.array([0.1, 0.2]), None, seed_counts(1, 2)), bounds=(0.0, 1.0), level=level)


def test_one_seed_has_no_interval():
    sample = Resample(np.array([0.7]), None, seed_counts(1, 1))
    assert hierarchical_interval(sample, bounds=(0.0, 1.0)) is None


def test_pooling_with_a_single_seed_cell_has_no_interval():
    cells = [Resample(np.array(values), None, seed_counts(1, len(values))) for values in ([0.7], [0.6, 0.8])]
    assert pooled_interval(cells, bounds=(0.0, 1.0)) is None


def test_equal_values_give_an_interval_of_no_width():
    sample = Resample(np.full(4, 0.3), None, seed_counts(1, 4))
    assert hierarchical_interval(sample, bounds=(0.0, 1.0)) == pytest.approx((0.3, 0.3), abs=1e-12)


def test_2000_resamples_of_five_seeds_and_250_images_are_fast():
    defect = np.repeat([False, True], 125)
    rows = [np.random.default_rng(seed).normal(size=250) for seed in range(5)]
    start = time.process_time()
    for scores in rows:
        auroc_replicates(defect, scores, seed=content_seed("speed"))
    assert time.process_time() - start < 2.0


def test_an_interval_beside_its_estimate_is_widened_to_it():
    sample = Resample(np.array([0.5, 0.5]), np.full((2, 2000), 0.6), seed_counts(1, 2))
    low, high = hierarchical_interval(sample, bounds=(0.0, 1.0))
    assert (low, high) == pytest.approx((0.5, 0.6))


def test_the_corrections_for_two_seeds():
    low, high = hierarchical_interval(Resample(np.array([-0.01, 0.01]), None, seed_counts(1, 2)), bounds=(-1.0, 1.0))
    # A quarter of the resamples draws one seed twice: 0.01, times sqrt(2 / 1), times t(1 degree of freedom) over z.
    half = 0.01 * math.sqrt(2) * 12.7062 / 1.95996
    assert (low, high) == pytest.approx((-half, half), rel=1e-4)
