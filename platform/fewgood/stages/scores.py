"""Stage `scores`: the embeddings of a chunk of the pool to the integrator's score of each candidate (method.md, section 3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fewgood.selection import score_candidates
from fewgood.stages.context import Context, Node
from fewgood.stages.embedding_model import embedding_identity
from fewgood.stages.embeddings import read_embeddings
from fewgood.stages.prompts import read_prompts
from fewgood.store import Artifact, ArtifactKey

__all__ = ["STAGE", "VERSION", "read_scores", "scores_node"]

STAGE = "scores"
VERSION = 2


def scores_node(context: Context, prompts: Node, embeddings: Node) -> Node:
    """Scores of one chunk's candidates against the best prompt."""

    def create(folder: Path, made: Mapping[str, Artifact]) -> None:
        best = read_prompts(made["prompts"]).best
        scores = score_candidates(read_embeddings(made["embeddings"]), context.embedder.encode_texts([best.prompt])[0])
        (folder / "scores.json").write_text(
            json.dumps({"prompt": best.prompt, "scores": [float(score) for score in scores]})
        )
        context.progress(STAGE, len(scores), len(scores), f"best {float(np.max(scores)):.3f}")

    key = ArtifactKey(
        STAGE,
        VERSION,
        {
            "embeddings": embeddings.digest,
            "prompts": prompts.digest,
            "embedding": embedding_identity(context.spec.embedding),
        },
    )
    return Node(key, create, {"prompts": prompts, "embeddings": embeddings})


def read_scores(artifact: Artifact) -> list[float]:
    """One score per candidate of the chunk, cosine similarity in [-1, 1]."""
    return [float(score) for score in artifact.read_json("scores.json")["scores"]]
