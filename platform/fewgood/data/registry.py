"""The datasets that fewgood reads: their categories, words and kinds, where they come from and how they lie on disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["DATASETS", "Dataset"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What is known of a dataset without opening it."""

    name: str
    title: str
    categories: tuple[str, ...] = ()
    """The published categories; empty where the folder decides."""
    textures: frozenset[str] = frozenset()
    """Those of `categories` that are textures; the others are objects."""
    keywords: Mapping[str, str | None] = field(default_factory=dict)
    """Words for categories whose name is not one."""
    layout: str = "ROOT/CATEGORY/train/good and ROOT/CATEGORY/test/TYPE"
    """The folders that are expected."""
    source: str | None = None
    """Where to get it; None when there is nothing to get."""

    def kind(self, category: str) -> str:
        """Say "object" or "texture", or "unknown" for a category that the dataset was not published with."""
        if category not in self.categories:
            return "unknown"
        return "texture" if category in self.textures else "object"

    def keyword(self, category: str) -> str | None:
        """The word for a category: its own entry, else its name in words; None when the name has no letters."""
        if category in self.keywords:
            return self.keywords[category]
        words = " ".join(re.findall(r"[^\W\d_]{2,}", category)).lower()
        return words or None


_ENTRIES = (
    Dataset(
        name="sample",
        title="embedded sample: three textures and a washer, drawn by code",
        categories=("brick", "grass", "gravel", "washer"),
        textures=frozenset({"brick", "grass", "gravel"}),
    ),
    Dataset(
        name="folder",
        title="any folder in MVTec layout; masks are optional",
        layout="ROOT/CATEGORY/train/good, and optionally test/TYPE and ground_truth/TYPE/STEM_mask.png",
    ),
    Dataset(
        name="mvtec_ad",
        title="MVTec AD",
        categories=(
            "bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut", "pill", "screw", "tile",
            "toothbrush", "transistor", "wood", "zipper",
        ),
        textures=frozenset({"carpet", "grid", "leather", "tile", "wood"}),
        layout="ROOT/bottle/train/good/*.png, ROOT/bottle/test/TYPE, ROOT/bottle/ground_truth/TYPE",
        source="https://www.mvtec.com/company/research/datasets/mvtec-ad",
    ),
    Dataset(
        name="mvtec_loco",
        title="MVTec LOCO AD",
        categories=("breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors"),
        keywords={"pushpins": "pushpin", "splicing_connectors": "splicing connector"},
        layout="ROOT/pushpins/train/good/*.png, ROOT/pushpins/test/logical_anomalies, "
        "ROOT/pushpins/ground_truth/logical_anomalies/000/000.png",
        source="https://www.mvtec.com/company/research/datasets/mvtec-loco",
    ),
    Dataset(
        name="btad",
        title="BTAD (beanTech)",
        categories=("01", "02", "03"),
        textures=frozenset({"02"}),
        layout="ROOT/01/train/ok/*.bmp, ROOT/01/test/ok, ROOT/01/test/ko, ROOT/01/ground_truth/ko",
        source="https://github.com/pankajmishra000/VT-ADL",
    ),
    Dataset(
        name="visa",
        title="VisA",
        categories=(
            "candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2", "pcb1", "pcb2", "pcb3", "pcb4",
            "pipe_fryum",
        ),
        keywords={
            "capsules": "capsule",
            "chewinggum": "chewing gum",
            **{f"pcb{number}": "circuit board" for number in range(1, 5)},
        },
        layout="ROOT/split_csv/1cls.csv and ROOT/candle/Data/Images, or ROOT/visa_pytorch/candle/train/good as anomalib "
        "prepares it",
        source="https://github.com/amazon-science/spot-diff",
    ),
)  # fmt: skip

DATASETS: Mapping[str, Dataset] = {entry.name: entry for entry in _ENTRIES}
"""Every dataset by the name that `--dataset` takes."""
