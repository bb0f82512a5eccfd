"""What names an image-text model in an artifact's hash: the offline one by the version of its builder, others by content."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from fewgood.embedding import OFFLINE_MODEL
from fewgood.specs import EmbeddingSpec

__all__ = ["STAGE", "VERSION", "embedding_identity"]

STAGE = "embedding_model"
VERSION = 1


def embedding_identity(spec: EmbeddingSpec) -> dict[str, Any]:
    """The parts of a key that say which model embeds; known without loading or building the model."""
    if spec.model == OFFLINE_MODEL:
        return {"model": spec.model, "version": VERSION}
    if spec.pretrained is not None and Path(spec.pretrained).is_file():
        return {"model": spec.model, "sha256": _sha256(spec.pretrained)}
    return {"model": spec.model, "pretrained": spec.pretrained}


@lru_cache(maxsize=8)
def _sha256(path: str) -> str:
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
