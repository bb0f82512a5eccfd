"""Lists a category's images and masks in each dataset's real layout; the published ones through anomalib's own readers."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fewgood.data.images import EXTENSIONS
from fewgood.data.items import GOOD, Item
from fewgood.errors import DataError

__all__ = ["LAYOUTS", "Listing", "is_image", "is_category", "visa_base", "visible_folders"]

Listing = tuple[list[Item], list[Item]]
"""Training and test items, unsorted."""

_GOOD_FOLDER = {"btad": "ok"}


def is_image(path: Path) -> bool:
    """Whether a path is an image file by its extension, and not hidden."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()


def visible_folders(folder: Path) -> list[Path]:
    """The folders inside `folder` that are not hidden, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def is_category(dataset: str, folder: Path) -> bool:
    """Whether `folder` looks like a category of `dataset`: it has good training images' folder."""
    if dataset == "visa" and (folder / "Data" / "Images" / "Normal").is_dir():
        return True
    return (folder / "train" / _GOOD_FOLDER.get(dataset, GOOD)).is_dir()


def visa_base(root: Path) -> Path:
    """The folder above VisA's categories: anomalib's `visa_pytorch` where the root holds one, else the root."""
    prepared = root / "visa_pytorch"
    return prepared if prepared.is_dir() else root


def list_folder(folder: Path) -> Listing:
    """MVTec layout read by its rules alone: any known extension, masks optional, hidden files ignored."""
    train = [_item(folder, path, GOOD, None) for path in _images(folder / "train" / GOOD)]
    test = []
    kinds = visible_folders(folder / "test") if (folder / "test").is_dir() else []
    for kind in kinds:
        truth = folder / "ground_truth" / kind.name
        for path in _images(kind):
            mask = None if kind.name == GOOD else _find_mask(truth, path.stem)
            test.append(_item(folder, path, kind.name, mask))
    return train, test


def list_mvtec_ad(folder: Path) -> Listing:
    """MVTec AD through anomalib."""
    from anomalib.data.datasets.image.mvtecad import make_mvtec_ad_dataset

    return _from_frame(folder, "mvtec_ad", lambda: make_mvtec_ad_dataset(folder, extensions=_spellings(folder)))


def list_mvtec_loco(folder: Path) -> Listing:
    """MVTec LOCO AD through anomalib; `Item.group` tells logical from structural defects. Its validation images stay out."""
    from anomalib.data.datasets.image.mvtec_loco import make_dataset

    return _from_frame(folder, "mvtec_loco", lambda: make_dataset(folder, extensions=_spellings(folder)))


def list_btad(folder: Path) -> Listing:
    """BTAD through anomalib; "ok" becomes "good", and a mask may be .png or .bmp as in the published archive."""
    from anomalib.data.datasets.image.btech import make_btech_dataset

    return _from_frame(folder, "btad", lambda: make_btech_dataset(folder))


def list_visa(folder: Path) -> Listing:
    """VisA as anomalib prepares it, or in its published layout by the rows of `split_csv/1cls.csv`, without copying."""
    if not (folder / "Data").is_dir():
        from anomalib.data.datasets.image.mvtecad import make_mvtec_ad_dataset

        return _from_frame(folder, "visa", lambda: make_mvtec_ad_dataset(folder, extensions=_spellings(folder)))
    table = folder.parent / "split_csv" / "1cls.csv"
    if not table.is_file():
        raise DataError(f"{table} is missing, which says what VisA trains on: put it back from the dataset's archive")
    train: list[Item] = []
    test: list[Item] = []
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row.get("object") != folder.name:
                continue
            path = _inside(folder, table, row.get("image"))
            defect = row.get("label") != "normal"
            mask = _inside(folder, table, row["mask"]) if defect and row.get("mask") else None
            item = _item(folder, path, "bad" if defect else GOOD, mask)
            (train if row.get("split") == "train" else test).append(item)
    return train, test


LAYOUTS: dict[str, Callable[[Path], Listing]] = {
    "sample": list_folder,
    "folder": list_folder,
    "mvtec_ad": list_mvtec_ad,
    "mvtec_loco": list_mvtec_loco,
    "btad": list_btad,
    "visa": list_visa,
}
"""Dataset -> what lists one category's folder."""


def _images(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.rglob("*")) if is_image(path) and not _hidden(folder, path))


def _hidden(folder: Path, path: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _item(folder: Path, path: Path, label: str, mask: Path | None, group: str | None = None) -> Item:
    return Item(name=path.relative_to(folder).as_posix(), path=path, label=label, mask=mask, group=group)


def _find_mask(truth: Path, stem: str) -> Path | None:
    """`STEM_mask.*` before `STEM.*` before a folder `STEM`, in the order of the extensions' names."""
    if not truth.is_dir():
        return None
    for wanted in (f"{stem}_mask", stem):
        found = sorted(path for path in truth.iterdir() if path.stem == wanted and is_image(path))
        if found:
            return found[0]
    return truth / stem if (truth / stem).is_dir() else None


def _spellings(folder: Path) -> tuple[str, ...]:
    """The image extensions as they are spelled in `folder`: anomalib's readers compare them with case."""
    found = {path.suffix for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS}
    return tuple(sorted(found)) or (".png",)


def _from_frame(folder: Path, dataset: str, read: Callable[[], Any]) -> Listing:
    import pandas as pd

    try:
        # anomalib 2.7 puts lists into a column of text (MVTec LOCO AD), which pandas 3 takes only with this old switch.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*future.infer_string", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=".*future.infer_string", category=FutureWarning)
            with pd.option_context("future.infer_string", False):
                frame = read()
    except Exception as error:  # anomalib, pandas and the file system each raise their own
        hidden = sum(1 for path in folder.rglob(".*") if path.suffix.lower() in EXTENSIONS)
        cause = " ".join(str(error).split())
        remedy = (
            f"delete the {hidden} hidden image files in it"
            if hidden
            else "restore it from the dataset's archive, or use --dataset folder, which does without masks"
        )
        raise DataError(f"{folder} is not laid out as {dataset} ({cause}): {remedy}") from error
    base = folder.resolve()  # anomalib resolves links, names stay relative to the category
    train: list[Item] = []
    test: list[Item] = []
    for row in frame.to_dict("records"):
        relative = Path(row["image_path"]).relative_to(base)
        path = folder / relative
        if _hidden(folder, path) or row["split"] not in ("train", "test"):
            continue
        label = GOOD if int(row["label_index"]) == 0 else str(row["label"])
        mask = None if label == GOOD else _frame_mask(folder, base, label, path.stem, row["mask_path"])
        group = label.removesuffix("_anomalies") if dataset == "mvtec_loco" and label != GOOD else None
        (train if row["split"] == "train" else test).append(_item(folder, path, label, mask, group))
    return train, test


def _frame_mask(folder: Path, base: Path, label: str, stem: str, listed: Any) -> Path | None:
    if isinstance(listed, list):  # MVTec LOCO AD: a folder of masks per image
        return folder / Path(listed[0]).relative_to(base).parent
    if isinstance(listed, str) and listed:
        path = folder / Path(listed).relative_to(base)
        if path.is_file() and not path.name.startswith("."):
            return path
    return _find_mask(folder / "ground_truth" / label, stem)


def _inside(folder: Path, table: Path, cell: str | None) -> Path:
    """A path from VisA's table, which must stay inside the category."""
    path = folder.parent / (cell or "")
    if not cell or folder.resolve() not in path.resolve().parents:
        raise DataError(f"{table} names {cell!r}, which is not inside {folder}: restore it from the dataset's archive")
    return folder / path.resolve().relative_to(folder.resolve())
