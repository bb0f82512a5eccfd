"""Stage `pool`: a trained generator to a pool of candidate images, in chunks that trials of any augmentation size share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fewgood.data import read_image, write_image
from fewgood.data.augmentation import MILD, Ranges, augment
from fewgood.seeds import stream_seed
from fewgood.specs import SamplingSpec, plain
from fewgood.stages.context import Context, Node
from fewgood.store import Artifact, ArtifactKey

__all__ = [
    "CHUNK",
    "STAGE",
    "VERSION",
    "Bases",
    "chunk_indices",
    "noise_seed",
    "pool_nodes",
    "read_candidates",
    "read_draws",
]

STAGE = "pool"
VERSION = 4
CHUNK = 16
"""Candidates per artifact: a larger augmentation size adds chunks and keeps those that are there."""


def pool_nodes(context: Context, generator: Node, count: int) -> list[Node]:
    """The chunks that hold the first `count` candidates; candidate i depends on the seed and i alone."""
    return [_chunk_node(context, generator, chunk) for chunk in range(-(-count // CHUNK))]


def chunk_indices(chunk: int) -> range:
    """Indices of the candidates in a chunk."""
    return range(chunk * CHUNK, (chunk + 1) * CHUNK)


def read_candidates(artifact: Artifact, count: int) -> list[np.ndarray]:
    """The first `count` candidates of a chunk, fewer if it has not so many; uint8 (H, W, 3) each."""
    meta = artifact.read_json("pool.json")
    return [read_image(artifact.path / entry["draws"][0]) for entry in meta["candidates"][:count]]


def read_draws(artifact: Artifact) -> list[list[np.ndarray]]:
    """For each candidate of a chunk its latent draws, uint8 (H, W, 3); the first draw is the candidate itself."""
    meta = artifact.read_json("pool.json")
    return [[read_image(artifact.path / name) for name in entry["draws"]] for entry in meta["candidates"]]


@dataclass(frozen=True)
class Bases:
    """What the candidates of a support set are drawn around: views of its images, turned where they say that this is good."""

    support: Sequence[np.ndarray]
    kind: str
    ranges: Ranges
    light: float

    @classmethod
    def of(cls, support: Sequence[np.ndarray], sampling: SamplingSpec, *, kind: str) -> Bases:
        """The bases of a support set, uint8 (H, W, 3) each."""
        from fewgood.generator.pose import any_pose

        turned = sampling.pose and any_pose(support)
        return cls(support, kind, replace(MILD, turn=180.0) if turned else MILD, sampling.light)

    def base(self, seed: int, index: int) -> np.ndarray:
        """What candidate `index` of a seed's series is drawn around, uint8 (H, W, 3)."""
        return augment(self.support[index % len(self.support)], seed, index, self.kind, ranges=self.ranges)

    def undrawn(self, seed: int, index: int) -> np.ndarray:
        """What candidate `index` would be if the network added nothing: its base under its light, uint8 (H, W, 3)."""
        from fewgood.generator.light import sample_light

        return sample_light(self.base(seed, index), light=self.light, seed=noise_seed(seed), index=index)


def noise_seed(seed: int) -> int:
    """The seed of the latent noise of a seed's series."""
    return stream_seed(seed, STAGE)


def _chunk_node(context: Context, generator: Node, chunk: int) -> Node:
    spec = context.spec

    def create(folder: Path, made: Mapping[str, Artifact]) -> None:
        from fewgood.generator import load_generator, sample_candidates

        indices = list(chunk_indices(chunk))
        support = context.support_images
        context.progress(STAGE, indices[0], indices[-1] + 1, f"{spec.sampling.mode} sampling")
        bases = Bases.of(support, spec.sampling, kind=context.category.kind)
        batch = sample_candidates(
            load_generator(made["generator"].path, device=context.device),
            [bases.base(spec.seed, index) for index in indices],
            indices,
            spec.sampling,
            seed=noise_seed(spec.seed),
        )
        entries: list[dict[str, Any]] = []
        for index, draws in zip(indices, batch.draws, strict=True):
            names = [f"{index:05d}-{draw}.png" for draw in range(len(draws))]
            for name, image in zip(names, draws, strict=True):
                write_image(folder / name, image)
            entries.append({"index": index, "source": index % len(support), "draws": names})
        (folder / "pool.json").write_text(json.dumps({"candidates": entries}))
        context.progress(STAGE, indices[-1] + 1, indices[-1] + 1, f"{len(indices)} candidates")

    # How many candidates are drawn does not change what each one is, so `oversample` is no part of the key.
    sampling = {name: value for name, value in plain(spec.sampling).items() if name != "oversample"}
    key = ArtifactKey(
        STAGE,
        VERSION,
        {
            "generator": generator.digest,
            "sampling": sampling,
            "seed": spec.seed,
            "kind": context.category.kind,
            "chunk": chunk,
        },
    )
    return Node(key, create, {"generator": generator})
