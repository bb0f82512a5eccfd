"""Each dataset is read from its real layout on disk."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fewgood.data import DATASETS, list_categories, load_category, read_image, read_mask
from fewgood.errors import DataError


def names(items):
    return [item.name for item in items]


@pytest.mark.parametrize("dataset", ["folder", "mvtec_ad"])
def test_mvtec_layout(tmp_path, trees, dataset):
    trees["mvtec"](tmp_path / "root", "metal_nut")
    category = load_category(dataset, "metal_nut", root=tmp_path / "root", home=tmp_path)
    assert names(category.train) == [f"train/good/{number:03d}.png" for number in range(4)]
    assert names(category.test) == [
        "test/broken/000.png",
        "test/broken/001.png",
        "test/good/000.png",
        "test/good/001.png",
    ]
    assert [item.label for item in category.test] == ["broken", "broken", "good", "good"]
    assert category.keyword == "metal nut"
    assert category.kind == ("object" if dataset == "mvtec_ad" else "unknown")
    assert category.has_masks
    mask = read_mask(category.test[0], (20, 24))
    assert mask.sum() == 15
    assert mask[2:5, 4:9].all()
    assert not read_mask(category.test[2], (20, 24)).any()


def test_mvtec_ad_and_folder_list_the_same_files(tmp_path, trees):
    trees["mvtec"](tmp_path / "root")
    first = load_category("mvtec_ad", "bottle", root=tmp_path / "root", home=tmp_path)
    second = load_category("folder", "bottle", root=tmp_path / "root", home=tmp_path)
    assert (first.train, first.test, first.fingerprint) == (second.train, second.test, second.fingerprint)


def test_root_through_a_link_keeps_relative_names(tmp_path, trees):
    trees["mvtec"](tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    category = load_category("mvtec_ad", "bottle", root=tmp_path / "link", home=tmp_path)
    assert category.train[0].name == "train/good/000.png"
    assert category.train[0].path == tmp_path / "link/bottle/train/good/000.png"


def test_loco_reports_logical_and_structural_apart_and_unites_masks(tmp_path, trees):
    trees["mvtec_loco"](tmp_path / "root")
    category = load_category("mvtec_loco", "pushpins", root=tmp_path / "root", home=tmp_path)
    assert len(category.train) == 3
    assert not any("validation" in item.name for item in (*category.train, *category.test))
    assert {item.name: item.group for item in category.test} == {
        "test/good/000.png": None,
        "test/logical_anomalies/000.png": "logical",
        "test/logical_anomalies/001.png": "logical",
        "test/structural_anomalies/000.png": "structural",
        "test/structural_anomalies/001.png": "structural",
    }
    sums = {item.name: int(read_mask(item, (20, 24)).sum()) for item in category.test if item.group == "logical"}
    assert sums == {"test/logical_anomalies/000.png": 15, "test/logical_anomalies/001.png": 30}


@pytest.mark.parametrize(("image", "mask"), [(".bmp", ".png"), (".png", ".png"), (".bmp", ".bmp")])
def test_btad(tmp_path, trees, image, mask):
    trees["btad"](tmp_path / "root", "03", image, mask)
    category = load_category("btad", "03", root=tmp_path / "root", home=tmp_path)
    assert len(category.train) == 3
    assert sorted(item.label for item in category.test) == ["good", "ko", "ko"]
    assert category.keyword is None
    assert category.has_masks
    assert all(read_mask(item, (20, 24)).sum() == 15 for item in category.test if item.is_defect)


@pytest.mark.parametrize("layout", ["visa", "visa_prepared"])
def test_visa_published_and_prepared(tmp_path, trees, layout):
    trees[layout](tmp_path / "root")
    assert list_categories("visa", root=tmp_path / "root", home=tmp_path) == ["pcb1"]
    category = load_category("visa", "pcb1", root=tmp_path / "root", home=tmp_path)
    assert len(category.train) == 3
    assert sorted(item.label for item in category.test) == ["bad", "bad", "good"]
    assert (category.kind, category.keyword) == ("object", "circuit board")
    assert all(read_mask(item, (20, 24)).sum() == 15 for item in category.test if item.is_defect)


def test_visa_table_may_not_lead_outside(tmp_path, trees):
    trees["visa"](tmp_path / "root")
    trees["image"](tmp_path / "secret.png")
    with (tmp_path / "root/split_csv/1cls.csv").open("a", encoding="utf-8") as file:
        file.write("pcb1,train,normal,pcb1/../../secret.png,\n")
    with pytest.raises(DataError, match=r"secret\.png.*not inside"):
        load_category("visa", "pcb1", root=tmp_path / "root", home=tmp_path)


def test_hidden_and_foreign_files_are_ignored(tmp_path, trees):
    folder = trees["mvtec"](tmp_path / "root")
    before = load_category("mvtec_ad", "bottle", root=tmp_path / "root", home=tmp_path)
    for place in ("train/good", "test/broken", "ground_truth/broken"):
        (folder / place / "Thumbs.db").write_bytes(b"x")
        (folder / place / ".DS_Store").write_bytes(b"x")
    (folder / "train/good/._000.png").write_bytes(b"x")
    (folder / ".cache").mkdir()
    for dataset in ("mvtec_ad", "folder"):
        after = load_category(dataset, "bottle", root=tmp_path / "root", home=tmp_path)
        assert (after.train, after.test, after.fingerprint) == (before.train, before.test, before.fingerprint)
    (tmp_path / "root/.hidden/train/good").mkdir(parents=True)
    assert list_categories("folder", root=tmp_path / "root", home=tmp_path) == ["bottle"]


def test_folder_takes_extensions_in_any_case_and_sizes_of_any_kind(tmp_path, trees):
    good = tmp_path / "root/part/train/good"
    for index, name in enumerate(["a.PNG", "b.jpg", "c.JPEG", "d.bmp", "e.tif", "f.TIFF", "g.webp"]):
        trees["image"](good / name, size=(10 + 7 * index, 90 - 5 * index))
    category = load_category("folder", "part", root=tmp_path / "root", home=tmp_path)
    assert len(category.train) == 7
    assert category.test == ()
    assert not category.has_masks
    assert [read_image(item.path).shape for item in category.train][1] == (17, 85, 3)


def test_mask_spellings(tmp_path, trees):
    folder = trees["mvtec"](tmp_path / "root")
    shutil.rmtree(folder / "ground_truth")
    trees["mask"](folder / "ground_truth/broken/000.png", value=9)
    trees["mask"](folder / "ground_truth/broken/000_mask.bmp")
    category = load_category("folder", "bottle", root=tmp_path / "root", home=tmp_path)
    masks = {item.name: item.mask and item.mask.name for item in category.test if item.is_defect}
    assert masks == {"test/broken/000.png": "000_mask.bmp", "test/broken/001.png": None}
    assert not category.has_masks


def test_fingerprint_follows_content_and_ignores_the_place(tmp_path, trees):
    folder = trees["mvtec"](tmp_path / "root")
    shutil.copytree(tmp_path / "root", tmp_path / "elsewhere")
    first = load_category("folder", "bottle", root=tmp_path / "root", home=tmp_path).fingerprint
    assert load_category("folder", "bottle", root=tmp_path / "elsewhere", home=tmp_path / "other").fingerprint == first
    trees["mask"](folder / "ground_truth/broken/001_mask.png", top=7)
    assert load_category("folder", "bottle", root=tmp_path / "root", home=tmp_path).fingerprint != first


@pytest.mark.parametrize("dataset", [name for name in DATASETS if name != "sample"])
def test_every_dataset_says_what_it_expects(tmp_path, dataset):
    with pytest.raises(DataError) as caught:
        load_category(dataset, "x", root=tmp_path / "nowhere", home=tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path / "nowhere") in message
    assert "expected is ROOT/" in message
    assert dataset == "folder" or "https://" in message


def test_import_is_light():
    code = "import sys, fewgood.data; print([m for m in ('torch', 'anomalib', 'pandas') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}, check=True
    )
    assert done.stdout.strip() == "[]"


def test_real_data_is_read(tmp_path):
    import os

    root = Path(os.environ.get("FEWGOOD_TEST_DATA", Path(__file__).parents[4] / "shared/data")) / "hazelnut_toy"
    if not root.is_dir():
        pytest.skip(f"no data at {root}")
    category = load_category("folder", "hazelnut", root=root, home=tmp_path)
    assert (len(category.train), len(category.test), category.has_masks) == (20, 31, True)
    item = next(item for item in category.test if item.is_defect)
    image = read_image(item.path)
    assert 0 < read_mask(item, image.shape[:2]).mean() < 0.5
    assert image.dtype == np.uint8
