"""Content hashes of a category's files, each decoded once to prove it intact, remembered below the home folder."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewgood.data.images import decode
from fewgood.errors import ImageError, StoreError
from fewgood.specs import digest

__all__ = ["FileFacts", "content_digest", "inspect_files", "sha256_file"]

_SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was hashed may change again within its timestamp's grain."""


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What is known of an intact image file."""

    sha256: str
    size: tuple[int, int]
    """Height and width, pixels."""


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, hexadecimal.

    Raises:
        ImageError: When the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(
            f"{path} cannot be read ({error.strerror}): put the file back or change its permissions"
        ) from error


def content_digest(files: Sequence[tuple[str, str]]) -> str:
    """Digest over sorted (name, SHA-256) pairs: 32 hexadecimal characters."""
    return digest(sorted([name, sha256] for name, sha256 in files))


def inspect_files(paths: Sequence[Path], *, home: Path, key: Path) -> dict[Path, FileFacts]:
    """Hash and decode every file, or remember it from last time by its path, size and time of change.

    Args:
        paths: Image and mask files.
        home: Where fewgood keeps everything; the memory lies in `home/cache/data`.
        key: The folder that the files belong to; names the memory.

    Raises:
        ImageError: For the first file, in the given order, that is not an intact image.
        StoreError: When the memory cannot be written.
    """
    memory = home / "cache" / "data" / f"{digest(str(key.resolve()))}.json"
    known = _recall(memory)
    stamps = {path: _stamp(path) for path in paths}
    facts: dict[Path, FileFacts] = {}
    for path, stamp in stamps.items():
        entry = known.get(str(path))
        if entry is not None and entry["stamp"] == stamp:
            facts[path] = FileFacts(sha256=entry["sha256"], size=(entry["size"][0], entry["size"][1]))
    fresh = [path for path in stamps if path not in facts]
    if not fresh:
        return facts
    started = time.time_ns()
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for path, fact in zip(fresh, pool.map(_inspect, fresh), strict=True):
            facts[path] = fact
    entries = {
        str(path): {"stamp": stamps[path], "sha256": fact.sha256, "size": list(fact.size)}
        for path, fact in facts.items()
        if stamps[path][1] < started - _SETTLED_NS
    }
    _remember(memory, entries)
    return facts


def _inspect(path: Path) -> FileFacts:
    pixels, _ = decode(path)
    return FileFacts(sha256=sha256_file(path), size=(pixels.shape[0], pixels.shape[1]))


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError as error:
        raise ImageError(
            f"{path} cannot be read ({error.strerror}): put the file back or change its permissions"
        ) from error
    return [status.st_size, status.st_mtime_ns]


def _recall(memory: Path) -> dict[str, dict[str, Any]]:
    if not memory.is_file():
        return {}
    try:
        content = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{memory} is damaged ({error}): delete it, it is made again") from error
    return dict(content)


def _remember(memory: Path, entries: dict[str, dict[str, Any]]) -> None:
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{memory.stem}-", dir=memory.parent)
        scratch = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(entries, file)
            scratch.replace(memory)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"{memory} cannot be written ({error.strerror}): choose another --home or free some space"
        ) from error
