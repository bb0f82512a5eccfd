"""The home folder: where fewgood keeps models, artifacts, the ledger and studies, and the checks made before it is used.

Several hosts can share a store beside their homes. Then the ledger, the studies and everybody's artifacts lie there, and a
home holds the models and copies of the artifacts that its host has made or used.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fewgood.errors import FewgoodError, StoreError
from fewgood.store.filesystems import is_uri
from fewgood.store.location import Location

__all__ = ["Home", "no_space"]

MINIMUM_FREE_BYTES = 256 * 2**20
"""Below this much free space nothing is started: one run needs tens of megabytes, the models about 120."""


@dataclass(frozen=True)
class Home:
    """The folder under which everything is kept, and the names of its rooms."""

    root: Path
    store: str | None = None
    """Path or URI of the store that several homes share; None if this home keeps everything itself."""

    @classmethod
    def locate(cls, flag: Path | None, store: str | None = None) -> Home:
        """The home that `--home`, else `FEWGOOD_HOME`, else `~/.cache/fewgood` names.

        Args:
            flag: The value of `--home`.
            store: The value of `--store`; `FEWGOOD_STORE` is asked without it.
        """
        chosen = flag or os.environ.get("FEWGOOD_HOME") or Path.home() / ".cache" / "fewgood"
        shared = store or os.environ.get("FEWGOOD_STORE") or None
        if shared is not None and not is_uri(shared):
            shared = str(Path(shared).expanduser().absolute())
        return cls(Path(chosen).expanduser().absolute(), shared)

    def shared(self, *parts: str) -> Location:
        """The folder `parts` of the shared store, or of this home where there is none.

        Raises:
            StoreError: if the store's URI cannot be used.
        """
        return _opened(str(self.root) if self.store is None else self.store).below(*parts)

    @property
    def artifacts(self) -> Path:
        """Artifacts by stage and hash."""
        return self.root / "artifacts"

    @property
    def ledger(self) -> Path:
        """The ledger's Parquet files."""
        return self.root / "ledger"

    @property
    def studies(self) -> Path:
        """One folder per study: its file, its Optuna storage, its events."""
        return self.root / "studies"

    @property
    def temporary(self) -> Path:
        """What is being written; nothing here is complete."""
        return self.root / "tmp"

    @property
    def locks(self) -> Path:
        """Lock files, held while an artifact is made."""
        return self.root / "locks"

    def prepare(self, needed_bytes: int = MINIMUM_FREE_BYTES) -> Home:
        """Make the folder and check that it can be written and has room.

        Raises:
            StoreError: if it is not a folder, cannot be written, or has less than `needed_bytes` free.
        """
        try:
            for folder in (self.root, self.artifacts, self.ledger, self.temporary, self.locks):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.temporary / f".probe-{uuid.uuid4().hex}"
            probe.write_bytes(b"fewgood")
            probe.unlink()
            free = shutil.disk_usage(self.root).free
        except OSError as error:
            if no_space(error):
                raise StoreError(self._full_message(0, needed_bytes)) from error
            raise StoreError(
                f"home {self.root} cannot be written ({error.strerror or error}): "
                "give another folder with --home or FEWGOOD_HOME"
            ) from error
        if free < needed_bytes:
            raise StoreError(self._full_message(free, needed_bytes))
        self._sweep_temporary()
        return self

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A fresh folder under `temporary`; removed at the end unless it was renamed away."""
        folder = self._temporary_name()
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def lock(self, stage: str, digest: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold an artifact's lock, which the kernel drops when the process dies.

        Yields:
            Whether it is held; without `wait` it is not where another process holds it.
        """
        self.locks.mkdir(parents=True, exist_ok=True)
        with (self.locks / f"{stage}-{digest}").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                fcntl.flock(handle, fcntl.LOCK_UN)

    def discard(self, folder: Path) -> None:
        """Remove a folder of this home at once: killed at any point, it is there whole, or is swept away with `temporary`.

        One that is gone already is no error.
        """
        aside = self._temporary_name()
        self.temporary.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _temporary_name(self) -> Path:
        return self.temporary / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}"

    def _full_message(self, free: int, needed: int) -> str:
        return (
            f"home {self.root} has {free / 2**20:.0f} MB free and {needed / 2**20:.0f} MB are needed: "
            "free some space, or give another folder with --home or FEWGOOD_HOME"
        )

    def _sweep_temporary(self) -> None:
        """Remove what processes of this host left behind when they were killed."""
        host = socket.gethostname()
        for folder in self.temporary.iterdir():
            name, _, rest = folder.name.rpartition("-")
            owner_host, _, pid = name.rpartition("-")
            if rest and owner_host == host and pid.isdigit() and not _alive(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)


def no_space(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that the disk (or a quota) is full."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        # Libraries written in Rust and C++ (safetensors, Arrow) keep the words and lose the number.
        if not isinstance(seen, FewgoodError) and "No space left on device" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


@lru_cache(maxsize=8)
def _opened(where: str) -> Location:
    """A store's location; its filesystem, and the connections that it keeps, are made once in a process."""
    return Location.of(where)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
