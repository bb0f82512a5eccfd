"""From a dataset's name, a category and a root to a `Category`: every mistake a user can make here is one clear line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from fewgood.data.hashing import FileFacts, content_digest, inspect_files
from fewgood.data.images import mask_files
from fewgood.data.items import Category, Item
from fewgood.data.layouts import LAYOUTS, is_category, visa_base, visible_folders
from fewgood.data.registry import DATASETS, Dataset
from fewgood.data.sample import CATEGORIES, sample_root
from fewgood.errors import DataError, ImageError, SpecError

__all__ = ["list_categories", "load_category"]


def load_category(dataset: str, category: str, *, root: Path | None, home: Path) -> Category:
    """List, verify and fingerprint one category. Every image is decoded once, so a damaged file is found here.

    Args:
        dataset: A name in `DATASETS`.
        category: The name of a folder below the root.
        root: The folder above the category; None for `sample`, which is drawn into `home` on first use.
        home: Where fewgood keeps everything.

    Raises:
        SpecError: For an unknown dataset, a missing root, or a root given for `sample`.
        DataError: For a root or category that is missing, empty or laid out otherwise.
        ImageError: For an image or mask that is damaged, or a mask of another size than its image.
    """
    entry = _entry(dataset)
    folder = _category_folder(entry, category, root, home)
    train, test = LAYOUTS[dataset](folder)
    if not train:
        raise DataError(
            f"{folder} has no good training images: put images (png, jpg, bmp, tif or webp) into its train/"
            f"{'ok' if dataset == 'btad' else 'good'} folder"
        )
    items = sorted(train, key=_by_name) + sorted(test, key=_by_name)
    masks = {item.path: mask_files(item.mask) for item in items if item.mask is not None}
    files = [path for item in items for path in (item.path, *masks.get(item.path, ()))]
    facts = inspect_files(files, home=home, key=folder)
    _check_masks(items, masks, facts)
    return Category(
        dataset=dataset,
        name=category,
        kind=entry.kind(category),
        keyword=entry.keyword(category),
        root=folder,
        train=tuple(items[: len(train)]),
        test=tuple(items[len(train) :]),
        fingerprint=content_digest([(path.relative_to(folder).as_posix(), facts[path].sha256) for path in files]),
    )


def list_categories(dataset: str, *, root: Path | None, home: Path) -> list[str]:  # noqa: ARG001 - a reader may need home
    """The categories that can be loaded, sorted.

    Raises:
        SpecError: For an unknown dataset, a missing root, or a root given for `sample`.
        DataError: For a root that is missing or has no category.
    """
    entry = _entry(dataset)
    if dataset == "sample":
        _refuse_root(root)
        return list(CATEGORIES)
    base = _base(entry, root)
    found = [folder.name for folder in visible_folders(base) if is_category(dataset, folder)]
    if not found:
        raise DataError(f"{base} has no category of {entry.title}: {_expected(entry)}")
    return found


def _entry(dataset: str) -> Dataset:
    if dataset not in DATASETS:
        raise SpecError(f"--dataset is {dataset!r}, allowed is one of {', '.join(DATASETS)}{_near(dataset, DATASETS)}")
    return DATASETS[dataset]


def _category_folder(entry: Dataset, category: str, root: Path | None, home: Path) -> Path:
    if entry.name == "sample":
        _refuse_root(root)
        if category not in CATEGORIES:
            raise DataError(_unknown(category, "the sample set", CATEGORIES))
        return sample_root(home, category) / category
    base = _base(entry, root)
    if not category or category in (".", "..") or "/" in category or "\\" in category or "\0" in category:
        raise DataError(f"--category is {category!r}, allowed is the plain name of a folder in {base}")
    folder = base / category
    there = [path.name for path in visible_folders(base)]
    if category not in there:
        raise DataError(_unknown(category, str(base), there))
    if not any(folder.iterdir()):
        raise DataError(f"{folder} is empty: {_expected(entry)}")
    if not is_category(entry.name, folder):
        good = "train/ok" if entry.name == "btad" else "train/good"
        raise DataError(f"{folder} has no folder {good} with good training images: {_expected(entry)}")
    return folder


def _base(entry: Dataset, root: Path | None) -> Path:
    if root is None:
        raise SpecError(f"--root is missing, which says where {entry.title} lies: {_expected(entry)}")
    if not root.exists():
        raise DataError(f"{root} does not exist: {_expected(entry)}")
    if not root.is_dir():
        raise DataError(f"{root} is a file, allowed is a folder: {_expected(entry)}")
    try:
        if is_category(entry.name, root):
            raise DataError(
                f"{root} is itself a category: use --root {root.resolve().parent} --category {root.resolve().name}"
            )
        base = visa_base(root) if entry.name == "visa" else root
        next(base.iterdir(), None)
    except PermissionError as error:
        raise DataError(f"{root} may not be read by this user: change its permissions") from error
    return base


def _refuse_root(root: Path | None) -> None:
    if root is not None:
        raise SpecError(
            f"--root is {str(root)!r} but the sample set is drawn by code: leave --root away, or name --dataset folder"
        )


def _expected(entry: Dataset) -> str:
    where = f"; get {entry.title} at {entry.source}" if entry.source else ""
    return f"expected is {entry.layout}{where}"


def _unknown(category: str, where: str, there: Sequence[str]) -> str:
    listing = ", ".join(there) if there else "nothing"
    return f"--category is {category!r}, but {where} has {listing}{_near(category, there)}"


def _near(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _check_masks(items: Sequence[Item], masks: dict[Path, list[Path]], facts: dict[Path, FileFacts]) -> None:
    for item in items:
        height, width = facts[item.path].size
        for mask in masks.get(item.path, ()):
            if facts[mask].size != (height, width):
                high, wide = facts[mask].size
                raise ImageError(
                    f"{mask} is {wide}x{high} pixels but its image {item.path} is {width}x{height}: draw the mask on the "
                    f"image at its stored size, or remove the mask"
                )


def _by_name(item: Item) -> str:
    return item.name
