"""The embedded sample set: four categories drawn by code, hard enough that one good image is not enough."""

from __future__ import annotations

from fewgood.data.sample.drawing import CATEGORIES, DEFECTS, draw, draw_pair, file_names
from fewgood.data.sample.materialise import sample_root

__all__ = ["CATEGORIES", "DEFECTS", "draw", "draw_pair", "file_names", "sample_root"]
