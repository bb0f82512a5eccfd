"""Image-text spaces: any open_clip model, and one that is built offline from PyPI packages."""

from __future__ import annotations

from fewgood.embedding.base import OFFLINE_MODEL, OFFLINE_RECIPE, Embedder
from fewgood.embedding.loading import load_embedder

__all__ = ["OFFLINE_MODEL", "OFFLINE_RECIPE", "Embedder", "load_embedder"]
