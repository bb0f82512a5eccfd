"""Every mistake is one clear line that names the thing and the remedy."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image, ImageFile

from fewgood.data import list_categories, load_category, read_image, read_mask
from fewgood.errors import DataError, ImageError, SpecError


def fails(kind, *needles, dataset="folder", category="bottle", root, home):
    with pytest.raises(kind) as caught:
        load_category(dataset, category, root=root, home=home)
    message = str(caught.value)
    assert "\n" not in message
    for needle in needles:
        assert needle in message
    return message


@pytest.fixture
def root(tmp_path, trees):
    trees["mvtec"](tmp_path / "root")
    trees["mvtec"](tmp_path / "root", "cable")
    return tmp_path / "root"


def test_unknown_dataset(tmp_path):
    fails(SpecError, "mvtec_ad", "did you mean mvtec_ad?", dataset="mvtecad", root=tmp_path, home=tmp_path)


def test_no_root(tmp_path):
    fails(SpecError, "--root is missing", "mvtec.com", dataset="mvtec_ad", root=None, home=tmp_path)


def test_root_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    fails(DataError, "is a file", root=tmp_path / "file", home=tmp_path)


def test_root_is_itself_a_category(root, tmp_path):
    fails(DataError, f"--root {root} --category bottle", root=root / "bottle", home=tmp_path)


def test_unknown_category(root, tmp_path):
    fails(DataError, "bottle, cable", "did you mean bottle?", category="botle", root=root, home=tmp_path)


@pytest.mark.parametrize("name", ["../root", "..", ".", "", "bottle/train", "/etc", "a\\b", "x\0"])
def test_category_that_is_a_path(root, tmp_path, name):
    fails(DataError, "plain name of a folder", category=name, root=root, home=tmp_path)


def test_empty_category(root, tmp_path):
    (root / "empty").mkdir()
    fails(DataError, "empty is empty", "train/good", category="empty", root=root, home=tmp_path)


def test_category_without_train_good(root, tmp_path):
    shutil.rmtree(root / "bottle/train")
    fails(DataError, "no folder train/good", root=root, home=tmp_path)
    assert list_categories("folder", root=root, home=tmp_path) == ["cable"]


@pytest.mark.parametrize("dataset", ["folder", "mvtec_ad"])
def test_train_good_without_images(root, tmp_path, dataset):
    for path in (root / "bottle/train/good").iterdir():
        path.unlink()
    (root / "bottle/train/good/notes.txt").write_text("x")
    fails(DataError, "no good training images", dataset=dataset, root=root, home=tmp_path)


def test_root_without_categories(tmp_path):
    (tmp_path / "root").mkdir()
    with pytest.raises(DataError, match="has no category"):
        list_categories("folder", root=tmp_path / "root", home=tmp_path)


def test_published_layout_with_a_missing_mask(root, tmp_path):
    (root / "bottle/ground_truth/broken/000_mask.png").unlink()
    fails(DataError, "not laid out as mvtec_ad", "--dataset folder", dataset="mvtec_ad", root=root, home=tmp_path)
    assert not load_category("folder", "bottle", root=root, home=tmp_path).has_masks


def test_sample_with_root(tmp_path):
    fails(SpecError, "--dataset folder", dataset="sample", category="brick", root=tmp_path, home=tmp_path)


def test_sample_unknown_category(tmp_path):
    fails(DataError, "did you mean washer?", dataset="sample", category="washers", root=None, home=tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
def test_truncated_image(root, tmp_path, trees, monkeypatch, suffix):
    whole = trees["image"](root / f"bottle/train/good/zz{suffix}", size=(64, 64))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as another library may have left it
    fails(ImageError, f"zz{suffix}", "intact file", root=root, home=tmp_path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("content", [b"", b"this is text", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_not_an_image(root, tmp_path, content):
    path = root / "bottle/test/good/zz.png"
    path.write_bytes(content)
    fails(ImageError, str(path), "cannot be read as an image", root=root, home=tmp_path)


def test_missing_image(tmp_path):
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "gone.png")


def test_mask_of_another_size(root, tmp_path, trees):
    trees["mask"](root / "bottle/ground_truth/broken/001_mask.png", size=(24, 20))
    message = fails(ImageError, "001_mask.png is 20x24", "is 24x20", root=root, home=tmp_path)
    assert "remove the mask" in message


def test_read_mask_refuses_another_size(root, tmp_path):
    item = load_category("folder", "bottle", root=root, home=tmp_path).test[0]
    with pytest.raises(ImageError, match="24x20 pixels"):
        read_mask(item, (24, 20))


def test_damage_after_the_first_load_is_found(root, tmp_path):
    load_category("folder", "bottle", root=root, home=tmp_path)
    (root / "bottle/train/good/000.png").write_bytes(b"broken now")
    fails(ImageError, "000.png", root=root, home=tmp_path)


RAMP = np.linspace(0, 65535, 20 * 24).reshape(20, 24).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_is_scaled_not_clipped(tmp_path, suffix):
    Image.fromarray(RAMP).save(tmp_path / f"deep{suffix}")
    pixels = read_image(tmp_path / f"deep{suffix}")
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.repeat(np.rint(RAMP / 257.0).astype(np.uint8)[..., None], 3, axis=2))
    assert (pixels[0, 0, 0], pixels[-1, -1, 0]) == (0, 255)


def test_grey_alpha_palette_and_bilevel(tmp_path):
    rgb = np.zeros((6, 8, 3), dtype=np.uint8)
    rgb[:, 4:] = (200, 30, 90)
    base = Image.fromarray(rgb)
    for mode in ("RGBA", "P"):
        (base.quantize(3) if mode == "P" else base.convert(mode)).save(tmp_path / f"{mode}.png")
        np.testing.assert_array_equal(read_image(tmp_path / f"{mode}.png"), rgb)
    base.quantize(3).save(tmp_path / "T.png", transparency=bytes([0, 128, 255]))
    np.testing.assert_array_equal(read_image(tmp_path / "T.png"), rgb)
    grey = np.array(base.convert("L"))
    for mode in ("L", "LA"):
        base.convert("L").convert(mode).save(tmp_path / f"{mode}.png")
        np.testing.assert_array_equal(read_image(tmp_path / f"{mode}.png"), np.repeat(grey[..., None], 3, axis=2))
    Image.fromarray(rgb[..., 0] > 0).save(tmp_path / "1.png")
    assert set(np.unique(read_image(tmp_path / "1.png"))) == {0, 255}


def test_float_image_is_refused(tmp_path):
    Image.fromarray(np.ones((5, 5), dtype=np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ImageError, match="32-bit floats"):
        read_image(tmp_path / "float.tif")


def test_masks_that_are_not_binary(root, tmp_path):
    item = load_category("folder", "bottle", root=root, home=tmp_path).test[0]
    values = np.zeros((20, 24), dtype=np.uint16)
    values[3, 3:7] = (1, 127, 128, 60000)
    Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(item.mask)
    assert read_mask(item, (20, 24)).sum() == 4
    Image.fromarray(values).save(item.mask)
    assert read_mask(item, (20, 24)).sum() == 4


def test_lossy_mask_is_cut_at_half(tmp_path, root):
    from dataclasses import replace

    item = load_category("folder", "bottle", root=root, home=tmp_path).test[0]
    solid = np.zeros((20, 24), dtype=np.uint8)
    solid[4:12, 5:14] = 255
    Image.fromarray(solid).save(tmp_path / "mask.jpg", quality=40)
    assert (np.array(Image.open(tmp_path / "mask.jpg")) > 0).sum() > solid.astype(bool).sum()
    lossy = read_mask(replace(item, mask=tmp_path / "mask.jpg"), (20, 24))
    np.testing.assert_array_equal(lossy, solid > 0)
