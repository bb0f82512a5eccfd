"""Datasets in, support and test sets out: real layouts read strictly, support sets fixed by shots and seed."""

from __future__ import annotations

from fewgood.data.files import image_files, write_image
from fewgood.data.images import read_image, read_mask
from fewgood.data.items import GOOD, Category, Item, SupportSet
from fewgood.data.loading import list_categories, load_category
from fewgood.data.registry import DATASETS, Dataset
from fewgood.data.support import select_support

__all__ = [
    "DATASETS",
    "GOOD",
    "Category",
    "Dataset",
    "Item",
    "SupportSet",
    "image_files",
    "list_categories",
    "load_category",
    "read_image",
    "read_mask",
    "select_support",
    "write_image",
]
