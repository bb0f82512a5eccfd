"""The sample set is the same bytes each time, its masks are exact, and its folders are complete or absent."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest
from scipy import ndimage

from fewgood.data import list_categories, load_category, read_image, read_mask
from fewgood.data.sample import CATEGORIES, DEFECTS, draw, draw_pair, materialise, sample_root
from fewgood.data.sample.textures import TEXTURES
from fewgood.errors import StoreError

PAIRS = [(category, label) for category in CATEGORIES for label in DEFECTS[category]]

GOLDEN = {
    "brick": (149.26, 113.33, 86.66),
    "grass": (105.73, 133.94, 76.65),
    "gravel": (154.67, 155.39, 144.63),
    "washer": (73.08, 76.03, 78.04),
}
"""Mean red, green and blue of each category's training view 0: a change of the drawing has to raise `canvas.VERSION`."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize(("category", "label"), PAIRS)
def test_masks_are_exact(category, label):
    for number in (0, 5):
        clean, image, mask = draw_pair(category, label, number)
        np.testing.assert_array_equal((clean != image).any(axis=2), mask)
        assert 40 <= mask.sum() < 0.35 * mask.size
        _, parts = ndimage.label(mask)
        assert parts <= 6  # a defect, not noise


@pytest.mark.parametrize("category", CATEGORIES)
def test_drawing_depends_on_its_arguments_only(category):
    label = DEFECTS[category][0]
    first, mask = draw(category, "test", label, 3)
    draw(category, "train", "good", 1)
    again, mask_again = draw(category, "test", label, 3)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(mask, mask_again)
    images = [draw(category, split, "good", number)[0] for split in ("train", "test") for number in (0, 1)]
    assert len({image.tobytes() for image in images}) == 4
    assert draw(category, "train", "good", 0)[1] is None


@pytest.mark.parametrize("category", CATEGORIES)
def test_drawing_is_the_published_version(category):
    image, _ = draw(category, "train", "good", 0)
    assert (image.shape, image.dtype) == ((160, 160, 3), np.uint8)
    np.testing.assert_allclose(image.mean(axis=(0, 1)), GOLDEN[category], atol=0.05)


@pytest.mark.parametrize("texture", TEXTURES.values(), ids=list(TEXTURES))
def test_train_and_test_regions_share_no_pixel(texture):
    photograph = np.zeros((512, 512), dtype=int)
    for top, left, bottom, right in (texture.train, texture.test):
        photograph[top:bottom, left:right] += 1
        turn = np.deg2rad(texture.turn)
        assert min(bottom - top, right - left) > texture.crop[1] * (np.cos(turn) + np.sin(turn)) + 3
    assert photograph.max() == 1


def test_materialised_set_reads_as_a_folder(home):
    category = load_category("sample", "brick", root=None, home=home)
    assert (category.kind, category.keyword) == ("texture", "brick")
    assert (len(category.train), len(category.test)) == (40, 50)
    assert category.has_masks
    item = next(item for item in category.test if item.name == "test/stain/002.png")
    image, mask = draw("brick", "test", "stain", 2)
    np.testing.assert_array_equal(read_image(item.path), image)
    np.testing.assert_array_equal(read_mask(item, (160, 160)), mask)
    assert load_category("sample", "brick", root=None, home=home).fingerprint == category.fingerprint
    assert list_categories("sample", root=None, home=home) == ["brick", "grass", "gravel", "washer"]


def test_the_same_bytes_in_another_home(home, tmp_path):
    first = load_category("sample", "brick", root=None, home=home)
    assert load_category("sample", "brick", root=None, home=tmp_path).fingerprint == first.fingerprint


def test_interrupted_drawing_leaves_nothing_and_is_done_again(tmp_path, monkeypatch):
    calls = []

    def interrupt(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(materialise, "draw", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sample_root(tmp_path, "gravel")
    assert list((tmp_path / "data/sample-v1").iterdir()) == []
    monkeypatch.setattr(materialise, "draw", draw)
    root = sample_root(tmp_path, "gravel")
    assert len(list((root / "gravel").rglob("*.png"))) == 120


def test_processes_that_draw_at_once_agree(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=sample_root, args=(tmp_path, "gravel")) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert [path.name for path in (tmp_path / "data/sample-v1").iterdir()] == ["gravel"]
    assert len(list((tmp_path / "data/sample-v1/gravel").rglob("*.png"))) == 120


def test_home_that_cannot_hold_it(tmp_path):
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match="--home"):
        sample_root(tmp_path, "gravel")
