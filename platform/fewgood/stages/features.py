"""Stage `features`: what a frozen backbone makes of test and good training images, computed once, reused by every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from safetensors.numpy import load_file, save_file

from fewgood.specs import digest
from fewgood.stages.context import Context, Node
from fewgood.store import Artifact, ArtifactKey

__all__ = ["STAGE", "VERSION", "StoredFeatures"]

STAGE = "features"
VERSION = 2

_PASSING: WeakKeyDictionary[Context, tuple[Any, dict[str, dict[str, np.ndarray]]]] = WeakKeyDictionary()
"""Of each run the last images whose features are not stored, and these features: those of generated images, which the
stages `detector` and `proxy` need one after the other and no other run needs again."""


class StoredFeatures:
    """The baselines' `FeatureCache`: kept in the artifact store, or in memory for as long as one run lasts."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def get(
        self, key: Mapping[str, Any], compute: Callable[[], dict[str, np.ndarray]], *, keep: bool = True
    ) -> dict[str, np.ndarray]:
        """The arrays under `key`, computed and kept if they are not there."""
        if not keep:
            return self._get_passing(key, compute)

        def create(folder: Path, _: Mapping[str, Artifact]) -> None:
            arrays = {name: np.ascontiguousarray(value) for name, value in compute().items()}
            save_file(arrays, folder / "features.safetensors")

        artifact = self._context.ensure(Node(ArtifactKey(STAGE, VERSION, dict(key)), create))
        return dict(load_file(artifact.path / "features.safetensors"))

    def _get_passing(
        self, key: Mapping[str, Any], compute: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        images, held = _PASSING.get(self._context, (None, {}))
        if images != key.get("images"):
            held = {}
            _PASSING[self._context] = (key.get("images"), held)
        name = digest(dict(key))
        if name not in held:
            held[name] = compute()
        return held[name]
