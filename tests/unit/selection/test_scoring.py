"""The integrator: cosines of expectations, deterministic choices, a stop when a round no longer helps."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewgood.errors import FewgoodError, SpecError
from fewgood.selection import score_candidates, select_random, select_top, should_stop_rounds


def test_the_score_is_the_cosine_of_the_expectation_not_the_mean_cosine():
    draws = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]], [[-1.0, 0.0], [-1.0, 0.0]]])
    assert score_candidates(draws, np.array([2.0, 0.0])) == pytest.approx([math.sqrt(0.5), 1.0, -1.0])


def test_broken_embeddings_name_the_candidate():
    draws = np.ones((3, 2, 4))
    draws[1, 0, 2] = np.nan
    with pytest.raises(FewgoodError, match="candidate 1 is no number"):
        score_candidates(draws, np.ones(4))
    with pytest.raises(FewgoodError, match="prompt"):
        score_candidates(np.ones((3, 2, 4)), np.full(4, np.inf))
    with pytest.raises(FewgoodError, match="length 0"):
        score_candidates(np.array([[[1.0], [-1.0]]]), np.ones(1))
    with pytest.raises(ValueError, match="not \\(N, S, D\\)"):
        score_candidates(np.ones((3, 4)), np.ones(4))


def test_no_candidates_have_no_scores():
    assert score_candidates(np.ones((0, 3, 4)), np.ones(4)).shape == (0,)


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3]), max_size=12), st.data())
def test_the_top_is_sorted_by_score_then_index(scores, data):
    count = data.draw(st.integers(0, len(scores)))
    assert select_top(np.array(scores), count) == sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:count]


def test_a_nan_score_is_an_error():
    with pytest.raises(FewgoodError, match="candidate 2"):
        select_top([0.1, 0.2, math.nan], 1)


@pytest.mark.parametrize("count", [-1, 4])
def test_more_than_there_are_cannot_be_kept(count):
    with pytest.raises(SpecError, match="oversample"):
        select_top([0.1, 0.2, 0.3], count)
    with pytest.raises(SpecError, match="oversample"):
        select_random(3, count, 0)


def test_a_random_choice_is_without_repeats_and_a_function_of_its_seed():
    assert select_random(20, 20, 1) != list(range(20))
    assert sorted(select_random(20, 20, 1)) == list(range(20))
    assert select_random(20, 7, 1) == select_random(20, 20, 1)[:7]
    assert select_random(20, 7, 1) != select_random(20, 7, 2)


@pytest.mark.parametrize(
    ("scores", "stop"),
    [
        ([], False),
        ([0.5], False),
        ([0.5, 0.6], False),
        ([0.5, 0.5], True),
        ([0.5, 0.7, 0.6], True),
        ([0.7, 0.5, 0.6], True),
    ],
)
def test_rounds_stop_when_the_last_did_not_beat_the_best(scores, stop):
    assert should_stop_rounds(scores) is stop


def test_a_nan_proxy_score_is_an_error():
    with pytest.raises(FewgoodError, match="proxy"):
        should_stop_rounds([0.5, math.nan])
