"""Coverage: what is far from all that is held comes first, a copy of it last."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewgood.selection import select_covering


def images(*places):
    """One image a place: six patches there, in a plane."""
    return np.array([[place] * 6 for place in places], dtype=np.float32)


HELD = images((0.0, 0.0))


def test_the_farthest_comes_first_and_what_is_beside_a_pick_last():
    candidates = images((1, 0), (0, 5), (0, 4.9), (3, 0), (0, 0))
    assert select_covering(candidates, HELD, 5) == [1, 3, 0, 2, 4]
    assert select_covering(candidates, images((0, 0), (0, 5)), 2) == [3, 0]


def test_it_is_the_mean_over_an_image_that_counts():
    one_odd_patch = np.zeros((1, 6, 2), np.float32)
    one_odd_patch[0, 3] = (9, 0)
    assert select_covering(np.concatenate([one_odd_patch, images((5, 0))]), HELD, 1) == [1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 8), st.integers(0, 2**32 - 1))
def test_picks_differ_and_a_larger_number_only_adds(count, seed):
    found = np.random.default_rng(seed).normal(size=(9, 7, 3)).astype(np.float32)
    picks = select_covering(found[:8], found[8:], count)
    assert len(set(picks)) == count
    assert select_covering(found[:8], found[8:], 8)[:count] == picks


@pytest.mark.parametrize(
    ("candidates", "held", "count"),
    [
        (np.zeros((2, 3)), HELD, 1),
        (images((1, 0)), HELD[:0], 1),
        (np.zeros((2, 6, 3)), HELD, 1),
        (images((1, 0)), HELD, 2),
        (images((1, 0)), HELD, -1),
    ],
)
def test_what_does_not_fit_is_refused(candidates, held, count):
    with pytest.raises(ValueError, match=r"candidates is|cannot be picked"):
        select_covering(candidates, held, count)
