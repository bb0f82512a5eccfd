"""Augmented views stay good images and are pure functions; synthetic defects come with exact masks."""

from __future__ import annotations

import numpy as np
import pytest

from fewgood.data.augmentation import augment, augmented_set
from fewgood.data.sample import draw
from fewgood.data.synthetic import synthetic_defect


@pytest.fixture(scope="module")
def washer():
    return draw("washer", "train", "good", 0)[0]


@pytest.mark.parametrize("shape", [(40, 70, 3), (9, 8, 3), (64, 64, 3)])
def test_views_keep_the_size_and_depend_on_seed_and_index_only(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    before = image.copy()
    view = augment(image, 3, 5)
    assert (view.shape, view.dtype) == (shape, np.uint8)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(view, augment(image, 3, 5))
    assert (view != augment(image, 3, 6)).any()
    assert (view != augment(image, 4, 5)).any()


def test_views_are_mild(washer):
    for index in range(12):
        view = augment(washer, 0, index)
        assert abs(view.mean() / washer.mean() - 1) < 0.3
        assert abs(view.std() / washer.std() - 1) < 0.4


def test_views_have_no_blank_border():
    image = np.full((50, 50, 3), 140, dtype=np.uint8)
    image[::2] = 160
    for index in range(8):
        assert augment(image, 1, index).min() > 80


def test_only_textures_are_flipped(washer):
    """A mirrored image correlates with the mirrored original; an unflipped view with the original."""
    ramp = np.tile(np.linspace(0, 255, 60, dtype=np.uint8)[None, :, None], (60, 1, 3))

    def rising(kind):
        return [bool(augment(ramp, 0, index, kind)[:, 50].mean() > 128) for index in range(20)]

    assert all(rising("object"))
    assert all(rising("unknown"))
    assert 0 < sum(rising("texture")) < 20


def test_augmented_set_goes_round_its_images(washer):
    other = washer[::-1].copy()
    views = augmented_set([washer, other], 5, 7)
    assert len(views) == 5
    np.testing.assert_array_equal(views[3], augment(other, 7, 3))
    np.testing.assert_array_equal(views[4], augment(washer, 7, 4))
    with pytest.raises(ValueError, match="images is empty"):
        augmented_set([], 3, 0)


@pytest.mark.parametrize("index", range(9))
def test_synthetic_masks_are_exact(washer, index):
    image, mask = synthetic_defect(washer, 2, index)
    np.testing.assert_array_equal((image != washer).any(axis=2), mask)
    assert 0.002 <= mask.mean() < 0.2
    again, _ = synthetic_defect(washer, 2, index)
    np.testing.assert_array_equal(image, again)
    assert (image != synthetic_defect(washer, 3, index)[0]).any()


@pytest.mark.parametrize("value", [0, 127, 255])
@pytest.mark.parametrize("index", range(3))
def test_synthetic_defects_show_even_on_a_blank_image(value, index):
    _, mask = synthetic_defect(np.full((30, 41, 3), value, dtype=np.uint8), 0, index)
    assert mask.any()


def test_synthetic_refuses_a_tiny_image():
    with pytest.raises(ValueError, match="at least 8x8"):
        synthetic_defect(np.zeros((7, 9, 3), dtype=np.uint8), 0, 0)
