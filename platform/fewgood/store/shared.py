"""Artifacts in a store that several homes share: one archive and a manifest each, with no rename anywhere.

`STAGE/DIGEST/` holds `archive-<hex>.tar`, named afresh at every attempt, and `manifest.json`, which is written last
and says the archive's name, size and SHA-256. So an artifact is there when its manifest is; what a killed publisher left is
never looked at, and of two publishers the later one's manifest counts, while both archives are complete.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tarfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from fewgood.errors import StoreError
from fewgood.store.home import no_space
from fewgood.store.location import FILE_ERRORS, Location

__all__ = ["MANIFEST", "SharedArtifacts"]

MANIFEST = "manifest.json"

_CHUNK = 8 * 2**20

logger = logging.getLogger(__name__)


class SharedArtifacts:
    """The artifacts under one folder of a store."""

    def __init__(self, root: Location) -> None:
        self._root = root
        self._known: set[str] = set()
        """Artifacts that this process has found complete there."""

    def fetch(self, stage: str, digest: str, folder: Path) -> Mapping[str, Any] | None:
        """Copy an artifact's files into an empty folder, its own manifest last.

        Returns:
            The artifact's own manifest; None if it is not there, or is damaged, which is said in a warning.

        Raises:
            StoreError: if the store cannot be reached.
            OSError: if `folder` cannot be written.
        """
        place = self._root.below(stage, digest)
        record = self._record(place)
        if record is None:
            return None
        archive, size, checksum, manifest = record
        try:
            with _using(place, may_lack=True):
                stream = place.filesystem.open_input_stream(place.child(archive), compression=None, buffer_size=_CHUNK)
        except FileNotFoundError:
            logger.warning("shared artifact %s has lost its archive %s: it is made again", place.shown, archive)
            return None
        with stream:
            reader = _Reader(place, stream)
            damage = ""
            try:
                with tarfile.open(fileobj=cast(Any, reader), mode="r|", bufsize=_CHUNK) as tar:
                    for member in tar:
                        # No links, nothing that the manifest does not name: an archive writes into its own folder only.
                        if not member.isreg() or manifest.get("files", {}).get(member.name) != member.size:
                            raise tarfile.TarError(f"its member {member.name!r} is not in the manifest")
                        tar.extract(member, folder, filter="data")
                while reader.read(_CHUNK):
                    pass
            except (tarfile.TarError, EOFError) as error:
                damage = str(error)
        if damage or (reader.size, reader.checksum) != (size, checksum):
            damage = (
                damage or f"{reader.size} bytes with SHA-256 {reader.checksum[:12]}, not {size} with {checksum[:12]}"
            )
            logger.warning("shared artifact %s is damaged (%s): it is made again", place.shown, damage)
            return None
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
        self._known.add(f"{stage}/{digest}")
        return manifest

    def publish(self, stage: str, digest: str, folder: Path, manifest: Mapping[str, Any]) -> None:
        """Put a complete artifact there, whatever is there already.

        Raises:
            StoreError: if the store cannot be reached or written.
        """
        place = self._root.below(stage, digest)
        archive = f"archive-{uuid.uuid4().hex}.tar"
        with _using(place):
            place.make()
            with place.filesystem.open_output_stream(place.child(archive), compression=None) as stream:
                writer = _Writer(stream)
                with tarfile.open(fileobj=cast(Any, writer), mode="w|", bufsize=_CHUNK) as tar:
                    for name in sorted(manifest["files"]):
                        _add(tar, folder / name, name)
            record = {"archive": archive, "bytes": writer.size, "sha256": writer.checksum, "manifest": dict(manifest)}
            place.put(MANIFEST, json.dumps(record, indent=1).encode())
        self._known.add(f"{stage}/{digest}")

    def publish_if_missing(self, stage: str, digest: str, folder: Path, manifest: Mapping[str, Any]) -> None:
        """`publish`, unless the artifact is there; the store is asked once for each artifact of a process.

        Raises:
            StoreError: if the store cannot be reached or written.
        """
        if f"{stage}/{digest}" in self._known:
            return
        if self.has(stage, digest):
            self._known.add(f"{stage}/{digest}")
            return
        self.publish(stage, digest, folder, manifest)

    def has(self, stage: str, digest: str) -> bool:
        """Whether an artifact is there, with an archive of the recorded size.

        Raises:
            StoreError: if the store cannot be reached.
        """
        place = self._root.below(stage, digest)
        record = self._record(place)
        if record is None:
            return False
        with _using(place):
            info = place.filesystem.get_file_info(place.child(record[0]))
        return bool(info.is_file and info.size == record[1])

    def manifest(self, stage: str, digest: str) -> Mapping[str, Any] | None:
        """An artifact's own manifest, without its files; None if it is not there.

        Raises:
            StoreError: if the store cannot be reached.
        """
        record = self._record(self._root.below(stage, digest))
        return None if record is None else record[3]

    def checksum(self, stage: str, digest: str) -> str | None:
        """The SHA-256 of an artifact's archive; None if it is not there.

        Raises:
            StoreError: if the store cannot be reached.
        """
        record = self._record(self._root.below(stage, digest))
        return None if record is None else record[2]

    def archive(self, stage: str, digest: str) -> str | None:
        """The name of the archive that an artifact's manifest names; None if there is no readable manifest.

        Raises:
            StoreError: if the store cannot be reached.
        """
        record = self._record(self._root.below(stage, digest))
        return None if record is None else record[0]

    def remove(self, stage: str, digest: str, names: Iterable[str]) -> None:
        """Remove files of an artifact, the manifest first: killed at any point, no part of an artifact is seen.

        Raises:
            StoreError: if the store cannot be reached or written.
        """
        place = self._root.below(stage, digest)
        with _using(place):
            for name in sorted(names, key=lambda name: name != MANIFEST):
                place.delete(name)
        if place.folder is not None:
            with suppress(OSError):  # somebody is writing there
                place.folder.rmdir()
        self._known.discard(f"{stage}/{digest}")

    def _record(self, place: Location) -> tuple[str, int, str, Mapping[str, Any]] | None:
        """An artifact's archive, its size and checksum, and the artifact's own manifest; None if it is not there."""
        try:
            with _using(place, may_lack=True):
                text = place.read(MANIFEST)
        except FileNotFoundError:
            return None
        try:
            record = json.loads(text)
            archive, manifest = Path(record["archive"]).name, dict(record["manifest"])
            return archive, int(record["bytes"]), str(record["sha256"]), manifest
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("shared artifact %s has an unreadable manifest (%s): it is made again", place.shown, error)
            return None


class _Writer:
    """Counts and hashes what passes on its way to a stream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._state = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._stream.write(data)
        self._state.update(data)
        self.size += len(data)
        return len(data)

    @property
    def checksum(self) -> str:
        return self._state.hexdigest()


class _Reader:
    """Counts and hashes what comes from a store's stream; an error of the store is a `StoreError`."""

    def __init__(self, place: Location, stream: Any) -> None:
        self._place, self._stream = place, stream
        self._state = hashlib.sha256()
        self.size = 0

    def read(self, count: int) -> bytes:
        with _using(self._place):
            data = bytes(self._stream.read(count))
        self._state.update(data)
        self.size += len(data)
        return data

    @property
    def checksum(self) -> str:
        return self._state.hexdigest()


@contextmanager
def _using(place: Location, *, may_lack: bool = False) -> Iterator[None]:
    """Turn what a store's filesystem raises into one line; with `may_lack`, a file that is not there stays what it is."""
    try:
        yield
    except FILE_ERRORS as error:
        if may_lack and isinstance(error, FileNotFoundError):
            raise
        if no_space(error):
            raise StoreError(f"no space left in the shared store while writing {place.shown}: free some") from error
        raise StoreError(
            f"the shared store cannot be used at {place.shown} ({' '.join(str(error).split())}): check that it is up, "
            "reachable from this host and may be written, or give another with --store or FEWGOOD_STORE"
        ) from error


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    """Add a file with nothing in its header but name and size, so that equal artifacts are equal archives."""
    info = tarfile.TarInfo(name)
    info.size = path.stat().st_size
    info.mode = 0o644
    with path.open("rb") as handle:
        tar.addfile(info, handle)
