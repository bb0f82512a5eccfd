"""The sampled light: what it changes, and what it leaves."""

import numpy as np
import pytest

from fewgood.generator.light import sample_light

GREY = np.full((12, 16, 3), 120, np.uint8)


def test_without_light_the_image_is_itself():
    assert sample_light(GREY, light=0, seed=1, index=2) is GREY


def test_it_is_a_function_of_seed_and_index():
    one = sample_light(GREY, light=0.4, seed=1, index=2)
    assert np.array_equal(one, sample_light(GREY, light=0.4, seed=1, index=2))
    assert not np.array_equal(one, sample_light(GREY, light=0.4, seed=1, index=3))
    assert not np.array_equal(one, sample_light(GREY, light=0.4, seed=2, index=2))


@pytest.mark.parametrize("amount", [0.1, 0.4])
def test_it_changes_the_whole_image_alike_and_within_its_bounds(amount):
    means = []
    for index in range(40):
        image = sample_light(GREY, light=amount, seed=0, index=index)
        assert np.ptp(image) == 0
        means.append(float(image.mean()) / 120)
    # Gamma pivots on mid-grey (127.5), so that a grey of 120 is moved by brightness nearly alone.
    assert 1 - 1.1 * amount < min(means) < 1 - 0.7 * amount
    assert 1 + 0.7 * amount < max(means) < 1 + 1.1 * amount


@pytest.mark.parametrize("level", [20, 120, 235])
def test_what_is_to_be_seen_stays_to_be_seen(level):
    """Bright and dark products keep their grain: under no light is more than a hundredth cut off at black or white."""
    grain = np.random.default_rng(0).normal(level, 6, (64, 64, 1)).clip(1, 254)
    image = np.repeat(grain.astype(np.uint8), 3, axis=2)
    for index in range(40):
        lit = sample_light(image, light=0.4, seed=0, index=index)
        assert ((lit == 0) | (lit == 255)).mean() <= 0.05, index  # rounding lets a few more reach the ends
        assert lit.std() > 1.5, index


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 200)])
def test_any_size(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    lit = sample_light(image, light=0.9, seed=0, index=0)
    assert lit.shape == image.shape
    assert lit.dtype == np.uint8
