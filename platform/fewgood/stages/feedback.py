"""Stage `feedback`: the images of a pool that fit the text best train the next round's generator (paper, section 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fewgood.data import write_image
from fewgood.selection import select_top
from fewgood.stages.context import Context, Node
from fewgood.stages.pool import read_draws
from fewgood.stages.scores import read_scores
from fewgood.store import Artifact, ArtifactKey

__all__ = ["STAGE", "VERSION", "feedback_node"]

STAGE = "feedback"
VERSION = 1


def feedback_node(context: Context, pools: Sequence[Node], scores: Sequence[Node]) -> Node:
    """The `selection.feedback` candidates of a round that score highest."""
    count = context.spec.selection.feedback
    inputs = {f"pool{i}": node for i, node in enumerate(pools)} | {f"scores{i}": node for i, node in enumerate(scores)}

    def create(folder: Path, made: Mapping[str, Artifact]) -> None:
        values = [value for i in range(len(scores)) for value in read_scores(made[f"scores{i}"])]
        images = [draws[0] for i in range(len(pools)) for draws in read_draws(made[f"pool{i}"])]
        for rank, index in enumerate(select_top(values, min(count, len(images)))):
            write_image(folder / f"{rank:04d}.png", images[index])

    key = ArtifactKey(STAGE, VERSION, {"scores": [node.digest for node in scores], "count": count})
    return Node(key, create, inputs)
