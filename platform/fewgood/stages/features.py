"""Stage `features`: what a frozen backbone makes of the test images, computed once and reused by every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from fewgood.stages.context import Context, Node
from fewgood.store import Artifact, ArtifactKey

__all__ = ["STAGE", "VERSION", "StoredFeatures"]

STAGE = "features"
VERSION = 1


class StoredFeatures:
    """The baselines' `FeatureCache`, kept in the artifact store."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def get(self, key: Mapping[str, Any], compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays under `key`, computed and kept if they are not there."""

        def create(folder: Path, _: Mapping[str, Artifact]) -> None:
            arrays = {name: np.ascontiguousarray(value) for name, value in compute().items()}
            save_file(arrays, folder / "features.safetensors")

        artifact = self._context.ensure(Node(ArtifactKey(STAGE, VERSION, dict(key)), create))
        return dict(load_file(artifact.path / "features.safetensors"))
