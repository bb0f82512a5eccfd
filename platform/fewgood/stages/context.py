"""What the stages of one run share: the spec, the data, the store, and the record of what each stage cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fewgood.data import Category, Item, SupportSet, read_image
from fewgood.progress import Progress, silent
from fewgood.specs import TrialSpec
from fewgood.store import Artifact, ArtifactKey, ArtifactStore

if TYPE_CHECKING:
    import torch

    from fewgood.embedding import Embedder
    from fewgood.generator import TrainingReport
    from fewgood.specs import EmbeddingSpec, GeneratorSpec

__all__ = ["Context", "GeneratorTraining", "LazyImages", "Node"]


class GeneratorTraining(Protocol):
    """Trains a generator somewhere: `fewgood.generator.train_generator` in this process, or workers of a cluster."""

    def __call__(
        self,
        images: Sequence[np.ndarray],
        spec: GeneratorSpec,
        *,
        seed: int,
        out: Path,
        device: torch.device,
        precision: str,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """As `train_generator`: `out` holds the generator's files afterwards."""


@dataclass(frozen=True)
class Node:
    """A stage's artifact that may not exist yet."""

    key: ArtifactKey
    create: Callable[[Path, Mapping[str, Artifact]], None]
    """Writes the artifact's files into a folder, given the inputs' artifacts by name."""
    inputs: Mapping[str, Node] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The artifact's hash; known before it is made."""
        return self.key.digest


class LazyImages(Sequence[np.ndarray]):
    """A sequence of images that reads each file when it is asked for, so that a test set need not fit in memory."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return LazyImages(self._items[index])
        return read_image(self._items[index].path)


@lru_cache(maxsize=1)
def _embedder(load: Callable[..., Embedder], spec: EmbeddingSpec, home: Path, device: torch.device) -> Embedder:
    """The image-text model, kept for the next run of this process."""
    return load(spec, home=home, device=device)


class Context:
    """One run in progress."""

    def __init__(
        self,
        spec: TrialSpec,
        *,
        category: Category,
        support: SupportSet,
        store: ArtifactStore,
        progress: Progress = silent,
        training: GeneratorTraining | None = None,
    ) -> None:
        self.spec = spec
        self.category = category
        self.support = support
        self.store = store
        self.progress = progress
        self.training = training
        """How generators are trained; None trains in this process."""
        self.stages: dict[str, dict[str, Any]] = {}
        self._nested = 0.0
        """Seconds that the stage in progress has spent waiting for stages inside it: they are counted there."""

    @cached_property
    def device(self) -> torch.device:
        """Where the arrays live."""
        from fewgood.hardware import pick_device

        return pick_device()

    @cached_property
    def support_images(self) -> list[np.ndarray]:
        """The support set, uint8 (H, W, 3) each."""
        return [read_image(item.path) for item in self.support.items]

    @cached_property
    def embedder(self) -> Embedder:
        """The image-text model; built or loaded when first used."""
        from fewgood.embedding import load_embedder

        return _embedder(load_embedder, self.spec.embedding, self.store.home.root, self.device)

    def ensure(self, node: Node) -> Artifact:
        """The node's artifact, made with its inputs if it is not there; the cost is recorded under its stage."""
        found = self.store.reuse(node.key)
        if found is not None:
            self._record(node, 0.0, reused=found)
            return found
        inputs = {name: self.ensure(child) for name, child in node.inputs.items()}
        outer, self._nested = self._nested, 0.0
        started = time.perf_counter()
        artifact, cached = self.store.ensure(node.key, lambda folder: node.create(folder, inputs))
        seconds = time.perf_counter() - started
        self._record(node, seconds - self._nested, reused=artifact if cached else None)
        self._nested = outer + seconds
        return artifact

    def _record(self, node: Node, seconds: float, *, reused: Artifact | None) -> None:
        entry = self.stages.setdefault(
            node.key.stage, {"seconds": 0.0, "reused_seconds": 0.0, "cached": True, "artifacts": []}
        )
        entry["seconds"] = round(entry["seconds"] + seconds, 3)
        entry["cached"] = entry["cached"] and reused is not None
        if node.digest not in entry["artifacts"]:
            entry["artifacts"].append(node.digest)
            entry["reused_seconds"] = round(entry["reused_seconds"] + (reused.seconds if reused else 0.0), 3)

    def record_reused(self, node: Node) -> None:
        """Enter a node and its inputs that were never opened, because what they lead to was already there."""
        if node.digest not in self.stages.get(node.key.stage, {}).get("artifacts", ()):
            found = self.store.find(node.key)
            if found is not None:
                self._record(node, 0.0, reused=found)
        for child in node.inputs.values():
            self.record_reused(child)
