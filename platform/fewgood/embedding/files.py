"""Files that are built once and shared by processes (a lock, an atomic write, digests), and a silent root logger."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fewgood.errors import StoreError

__all__ = ["exclusive", "file_digest", "quiet_root_logger", "tensor_digest", "write_atomically"]


def tensor_digest(tensors: Mapping[str, Any]) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor, in the order of their names.

    Unlike a file's hash it does not change with the container, so a converted checkpoint keeps its digest.

    Args:
        tensors: a state dict; tensors of any floating or integer type, on any device.

    Returns:
        64 hexadecimal characters.
    """
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        # A zero-dimensional tensor cannot be viewed as bytes, hence the flattening.
        total.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal characters."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the one lock of `folder`, which is made if absent: only one process at a time builds what lies in it.

    Raises:
        StoreError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(
            f"the folder {folder} cannot be written ({error.strerror}): choose another home with --home"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` under a temporary name beside `path`, then rename: a reader sees all of it or nothing.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}): choose another home with --home") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written ({error.strerror}): free space or choose another --home") from error


@contextmanager
def quiet_root_logger() -> Iterator[None]:
    """Keep a library's `logging.info(...)` from installing a handler on a root logger that has none."""
    root = logging.getLogger()
    handler = logging.NullHandler()
    if not root.handlers:
        root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
