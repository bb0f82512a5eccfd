"""What every image-text space offers, and the name of the one that needs no download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

__all__ = ["OFFLINE_MODEL", "OFFLINE_RECIPE", "Embedder"]

OFFLINE_MODEL = "lite0-minilm"
"""The open_clip model that is built on this machine (`fewgood.embedding.lite0_minilm`)."""
OFFLINE_RECIPE = 1
"""Version of its builder; raised whenever the same inputs would give another model."""


class Embedder(Protocol):
    """Maps images and texts to unit vectors of one space, where a cosine compares them."""

    @property
    def name(self) -> str:
        """The model and its weights, for people."""
        ...

    @property
    def weights_digest(self) -> str:
        """SHA-256 over the loaded weights, 64 hexadecimal characters."""
        ...

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Embed uint8 (H, W, 3) RGB images; returns (N, D) float32 of unit norm, in the order given."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts; returns (N, D) float32 of unit norm, in the order given."""
        ...
