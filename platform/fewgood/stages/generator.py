"""Stage `generator`: the support images to a trained variance-aware VQGAN (method.md, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fewgood.data import read_image
from fewgood.seeds import stream_seed
from fewgood.specs import plain
from fewgood.stages.context import Context, Node
from fewgood.store import Artifact, ArtifactKey

__all__ = ["STAGE", "VERSION", "feedback_files", "generator_node"]

STAGE = "generator"
VERSION = 1


def generator_node(context: Context, feedback: Node | None = None) -> Node:
    """A generator trained on the support set, and on the images that `feedback` kept in the round before.

    Args:
        context: The run.
        feedback: A `feedback` node of an earlier round, whose images join the training set; None in the first round.
    """
    spec = context.spec
    inputs = {} if feedback is None else {"feedback": feedback}

    def create(folder: Path, made: Mapping[str, Artifact]) -> None:
        from fewgood.generator import train_generator

        images = list(context.support_images)
        if "feedback" in made:
            images += [read_image(path) for path in feedback_files(made["feedback"])]
        train = context.training or train_generator
        train(
            images,
            spec.generator,
            seed=stream_seed(spec.seed, STAGE),
            out=folder,
            device=context.device,
            precision=spec.precision,
            progress=context.progress,
        )

    key = ArtifactKey(
        STAGE,
        VERSION,
        {
            "spec": plain(spec.generator),
            "support": context.support.digest,
            "seed": spec.seed,
            "precision": spec.precision,
            "feedback": None if feedback is None else feedback.digest,
        },
    )
    return Node(key, create, inputs)


def feedback_files(artifact: Artifact) -> list[Path]:
    """The images of a `feedback` artifact, in order."""
    return sorted(artifact.path.glob("*.png"))
