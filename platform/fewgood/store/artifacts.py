"""Content-addressed artifacts: a stage's output in a folder under the hash of everything that fixes it.

A folder is written under a temporary name, its manifest last, and then renamed: what exists under its hash is complete,
also after SIGKILL. While one process makes an artifact it holds a lock that the kernel drops when the process dies, so a
second one waits and then finds it made.

Where homes share a store, the home's artifacts are copies in front of the store's: what is not here is looked for there, and
what is made here is put there. Hosts take turns by `Leases`, if they are given.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fewgood.errors import StoreError
from fewgood.specs import digest
from fewgood.store.home import Home, no_space
from fewgood.store.leases import Leases
from fewgood.store.shared import MANIFEST, SharedArtifacts

__all__ = ["Artifact", "ArtifactKey", "ArtifactStore"]

_TOUCH_SECONDS = 3600.0
"""An artifact's manifest gets a new time when it is used so long after the last; pruning goes by that."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArtifactKey:
    """What names an artifact: its stage, the version of the stage's code, and the inputs as plain JSON."""

    stage: str
    version: int
    inputs: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """32 hexadecimal characters."""
        return digest({"stage": self.stage, "version": self.version, "inputs": dict(self.inputs)})


@dataclass(frozen=True)
class Artifact:
    """A complete artifact on disk."""

    key: ArtifactKey
    path: Path
    manifest: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        """Wall seconds that it took to make."""
        return float(self.manifest["seconds"])

    def read_json(self, name: str) -> Any:
        """The JSON file `name` of the artifact."""
        return json.loads((self.path / name).read_text())


class ArtifactStore:
    """The artifacts of one home folder and of the store that it shares, if any."""

    def __init__(self, home: Home, *, leases: Leases | None = None) -> None:
        self._home = home
        self._leases = leases
        self._shared = None if home.store is None else SharedArtifacts(home.shared("artifacts"))

    @property
    def home(self) -> Home:
        """The home folder that holds the artifacts."""
        return self._home

    def find(self, key: ArtifactKey) -> Artifact | None:
        """The artifact under `key`, or None; one whose files no longer have their recorded sizes counts as absent.

        Raises:
            StoreError: if it is not here and the shared store cannot be reached, or its copy cannot be written.
        """
        return self.open(key.stage, key.digest)

    def open(self, stage: str, digest: str) -> Artifact | None:
        """`find`, by the hash that a row of the ledger names."""
        return self._find_here(stage, digest) or self._fetch(stage, digest)

    def reuse(self, key: ArtifactKey) -> Artifact | None:
        """`find`, for work that builds on the artifact: it is kept from being pruned meanwhile, and others get it too.

        An artifact of this home that the shared store lacks (it was made without one, or its maker died before it was
        there) is put there.
        """
        found = self.find(key)
        if found is None:
            return None
        with suppress(OSError):  # a home that may only be read can be worked with, and nobody prunes it
            if time.time() - (found.path / MANIFEST).stat().st_mtime > _TOUCH_SECONDS:
                os.utime(found.path / MANIFEST)
        if self._shared is not None:
            self._shared.publish_if_missing(key.stage, key.digest, found.path, found.manifest)
        return found

    def _find_here(self, stage: str, digest: str) -> Artifact | None:
        folder = self._home.artifacts / stage / digest
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            logger.warning("artifact %s has an unreadable manifest (%s): it is made again", folder, error)
            return None
        for name, size in manifest["files"].items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != size:
                logger.warning("artifact %s has lost or damaged its file %s: it is made again", folder, name)
                return None
        return Artifact(ArtifactKey(stage, manifest["version"], manifest["inputs"]), folder, manifest)

    def ensure(self, key: ArtifactKey, create: Callable[[Path], None]) -> tuple[Artifact, bool]:
        """The artifact under `key`, made by `create(folder)` if it is not there; and whether it was there.

        Raises:
            StoreError: if the disk is full, the artifact cannot be written or the shared store cannot be reached. Errors of
                `create` pass through.
        """
        if found := self.reuse(key):
            return found, True
        with self._home.lock(key.stage, key.digest), self._lease(key):
            if found := self.reuse(key):
                return found, True
            with self._home.scratch() as folder, self._room(key.stage):
                started = time.perf_counter()
                create(folder)
                self._commit(key, folder, time.perf_counter() - started)
            made = self._find_here(key.stage, key.digest)
            if made is None:
                raise StoreError(
                    f"artifact {key.stage}/{key.digest} vanished while it was written: is something cleaning --home?"
                )
            if self._shared is not None:  # what lies there under this hash, if anything, was found damaged
                self._shared.publish(key.stage, key.digest, made.path, made.manifest)
        return made, False

    def _fetch(self, stage: str, digest: str) -> Artifact | None:
        """Copy an artifact from the shared store, if there is one and it has it."""
        if self._shared is None:
            return None
        with self._home.scratch() as folder, self._room(stage):
            if self._shared.fetch(stage, digest, folder) is None:
                return None
            self._put_in_place(stage, digest, folder)
        return self._find_here(stage, digest)

    @contextmanager
    def _room(self, stage: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if no_space(error):
                raise StoreError(
                    f"no space left under {self._home.root} while writing stage {stage}: "
                    "free some space, or give another folder with --home or FEWGOOD_HOME"
                ) from error
            raise

    def _commit(self, key: ArtifactKey, folder: Path, seconds: float) -> None:
        files = {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        manifest = {
            "stage": key.stage,
            "version": key.version,
            "inputs": dict(key.inputs),
            "files": files,
            "seconds": round(seconds, 4),
            "made_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
        self._put_in_place(key.stage, key.digest, folder)

    def _put_in_place(self, stage: str, digest: str, folder: Path) -> None:
        """Rename a complete folder to its artifact's, unless another process has done so; a damaged one there goes away."""
        target = self._home.artifacts / stage / digest
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if self._find_here(stage, digest) is None:
            self._home.discard(target)
            folder.rename(target)

    def _lease(self, key: ArtifactKey) -> AbstractContextManager[None]:
        return nullcontext() if self._leases is None else self._leases.hold(f"{key.stage}-{key.digest}")
