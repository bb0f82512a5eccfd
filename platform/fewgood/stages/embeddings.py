"""Stage `embeddings`: a chunk of the pool to the embedding of every latent draw, which any prompt can be held against."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fewgood.stages.context import Context, Node
from fewgood.stages.embedding_model import embedding_identity
from fewgood.stages.pool import read_draws
from fewgood.store import Artifact, ArtifactKey

__all__ = ["STAGE", "VERSION", "embeddings_node", "read_embeddings"]

STAGE = "embeddings"
VERSION = 1
_FILE = "embeddings.npy"


def embeddings_node(context: Context, pool: Node) -> Node:
    """The embeddings of one chunk's candidates; trials that differ in their prompts alone share them."""

    def create(folder: Path, made: Mapping[str, Artifact]) -> None:
        draws = read_draws(made["pool"])
        flat = [image for candidate in draws for image in candidate]
        embeddings = context.embedder.encode_images(flat)
        np.save(folder / _FILE, embeddings.reshape(len(draws), len(draws[0]), -1), allow_pickle=False)
        context.progress(STAGE, len(draws), len(draws), f"{len(flat)} images")

    key = ArtifactKey(STAGE, VERSION, {"pool": pool.digest, "embedding": embedding_identity(context.spec.embedding)})
    return Node(key, create, {"pool": pool})


def read_embeddings(artifact: Artifact) -> np.ndarray:
    """(N, S, D) float32 of unit norm: S latent draws of each of the chunk's N candidates."""
    embeddings: np.ndarray = np.load(artifact.path / _FILE, allow_pickle=False)
    return embeddings
