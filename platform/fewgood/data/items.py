"""What the data stage hands on: images with their labels and masks, a category of them, and a support set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["GOOD", "Category", "Item", "SupportSet"]

GOOD = "good"
"""The label of an image without a defect."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One image of a category."""

    name: str
    """Path relative to the category's folder, with forward slashes: `test/scratch/003.png`."""
    path: Path
    label: str
    """"good", or the defect type."""
    mask: Path | None
    """The ground truth: a file, or a folder of files that are united (MVTec LOCO AD); None where there is none."""
    group: str | None = None
    """"logical" or "structural" for MVTec LOCO AD's defects; None elsewhere."""

    @property
    def is_defect(self) -> bool:
        """Whether the image shows a defect."""
        return self.label != GOOD


@dataclass(frozen=True, kw_only=True)
class Category:
    """The images of one kind of part."""

    dataset: str
    name: str
    kind: str
    """"object", "texture" or "unknown"."""
    keyword: str | None
    """The dataset's own word for the part ("metal nut"); None when it has none (BTAD's "01")."""
    root: Path
    """The category's folder."""
    train: tuple[Item, ...]
    """Good training images, sorted by name; one or more."""
    test: tuple[Item, ...]
    """Test images, sorted by name; may be empty, since good images alone are enough to generate."""
    fingerprint: str
    """Digest over (name, SHA-256 of the content) of every image and mask, 32 hexadecimal characters."""

    @property
    def has_masks(self) -> bool:
        """Whether there are defects and every one of them has a mask."""
        defects = [item for item in self.test if item.is_defect]
        return bool(defects) and all(item.mask is not None for item in defects)


@dataclass(frozen=True, kw_only=True)
class SupportSet:
    """The good images that a trial may learn from."""

    items: tuple[Item, ...]
    """Sorted by name."""
    digest: str
    """Digest over (name, SHA-256 of the content) of the items, 32 hexadecimal characters."""
    note: str | None
    """Says so when the seed could not be given a block of its own; else None."""
