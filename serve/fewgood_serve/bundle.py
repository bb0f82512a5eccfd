"""What a promoted generator is on disk: its weights, the support images it draws around, and how images are drawn and scored.

A bundle holds `model.safetensors` and `spec.json` as training wrote them, `support/00000.png` and so on, and `bundle.json`.
Nothing else is read from it, and nothing in it is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewgood.data import read_image, write_image
from fewgood.errors import FewgoodError, StoreError
from fewgood.specs import EmbeddingSpec, SamplingSpec, plain

__all__ = ["BUNDLE_FILE", "Bundle", "read_bundle", "read_document", "write_bundle"]

BUNDLE_FILE = "bundle.json"
FORMAT = 1

_WEIGHTS = ("model.safetensors", "spec.json")
_ALLOWED = re.compile(r"model\.safetensors|spec\.json|bundle\.json|manifest\.json|support/[0-9]{5}\.png")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Everything that drawing needs but the network itself, which `fewgood.generator.load_generator` reads."""

    folder: Path
    support: tuple[np.ndarray, ...]
    """uint8 (H, W, 3) each."""
    kind: str
    """object, texture or unknown: what augmentation may do."""
    sampling: SamplingSpec
    embedding: EmbeddingSpec
    embedding_identity: dict[str, Any]
    """What `fewgood.stages.embedding_model` called the image-text model that chose the prompt."""
    prompt: str


def write_bundle(
    folder: Path,
    *,
    generator: Path,
    support: Sequence[np.ndarray],
    kind: str,
    sampling: SamplingSpec,
    embedding: EmbeddingSpec,
    embedding_identity: dict[str, Any],
    prompt: str,
) -> list[dict[str, Any]]:
    """Write a bundle into an empty folder.

    Args:
        folder: Where it goes.
        generator: The folder that `train_generator` wrote.
        support: The support images, uint8 (H, W, 3) each.
        kind: object, texture or unknown.
        sampling: How candidates are drawn.
        embedding: The image-text model that scores them.
        embedding_identity: What names its weights.
        prompt: What they are scored against.

    Returns:
        For each support image its file's `sha256`, and its `width` and `height`.

    Raises:
        OSError: if the folder cannot be written.
    """
    for name in _WEIGHTS:
        shutil.copyfile(generator / name, folder / name)
    (folder / "support").mkdir()
    images = []
    for number, image in enumerate(support):
        path = folder / "support" / f"{number:05d}.png"
        write_image(path, image)
        images.append(
            {
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "width": int(image.shape[1]),
                "height": int(image.shape[0]),
            }
        )
    document = {
        "format": FORMAT,
        "kind": kind,
        "sampling": plain(sampling),
        "embedding": plain(embedding),
        "embedding_identity": embedding_identity,
        "prompt": prompt,
        "support": images,
    }
    (folder / BUNDLE_FILE).write_text(json.dumps(document, indent=1), encoding="utf-8")
    return images


def read_bundle(folder: Path) -> Bundle:
    """The bundle that `write_bundle` wrote.

    Raises:
        StoreError: if a file is missing, damaged, or none of a bundle's (a pickled checkpoint, say).
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and not _ALLOWED.fullmatch(name):
            raise StoreError(
                f"the bundle in {folder} holds {name}, which is no part of one (safetensors, JSON and PNG files are): "
                "it is not opened"
            )
    try:
        document = read_document((folder / BUNDLE_FILE).read_bytes())
        if document["format"] != FORMAT:
            raise StoreError(
                f"the bundle in {folder} has format {document['format']}, this version reads {FORMAT}: promote it again"
            )
        support = []
        for number, entry in enumerate(document["support"]):
            path = folder / "support" / f"{number:05d}.png"
            if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
                raise StoreError(f"{path} is not the image that was promoted: promote it again")
            support.append(read_image(path))
        if not support:
            raise StoreError(f"the bundle in {folder} has no support image: promote it again")
        return Bundle(
            folder=folder,
            support=tuple(support),
            kind=str(document["kind"]),
            sampling=SamplingSpec.from_json(_fields(SamplingSpec, document["sampling"])),
            embedding=EmbeddingSpec(**_fields(EmbeddingSpec, document["embedding"])),
            embedding_identity=dict(document["embedding_identity"]),
            prompt=str(document["prompt"]),
        )
    except FewgoodError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"the bundle in {folder} is not whole ({type(error).__name__}: {error}): promote it again"
        ) from error


def read_document(content: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: if it is none.
    """
    document = json.loads(content)
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")
    return document


def _fields(kind: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    known = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in values.items() if name in known}
