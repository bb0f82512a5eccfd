"""Where a ledger lies: a folder on this machine, or a place that an Arrow filesystem reaches (s3, gs, abfs, hdfs)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from fewgood.errors import StoreError

__all__ = ["FILE_ERRORS", "Location", "Stamp", "first_line"]

FILE_ERRORS = (OSError, pa.ArrowException)
"""What an Arrow filesystem and its readers raise for a place or a file that cannot be used."""

_SCHEMES = "file://, s3://, gs://, abfs:// or hdfs://"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class Stamp:
    """What tells one state of a file from another; `modified` is in nanoseconds, None where a store has no such time."""

    size: int
    modified: int | None


@dataclass(frozen=True)
class Location:
    """A folder of an Arrow filesystem."""

    filesystem: pafs.FileSystem
    path: str
    """The folder's path inside the filesystem."""
    shown: str
    """How messages name it; holds no secret."""

    @classmethod
    def of(cls, where: str | Path) -> Location:
        """The location that a path or a URI names.

        Raises:
            StoreError: if the URI's scheme is unknown or its store cannot be used.
        """
        text = str(where)
        if isinstance(where, Path) or not _URI.match(text):
            folder = Path(where).expanduser().absolute()
            return cls(pafs.LocalFileSystem(), folder.as_posix(), str(folder))
        shown = _without_secrets(text)
        try:
            filesystem, path = pafs.FileSystem.from_uri(text)
        except (*FILE_ERRORS, ValueError) as error:
            reason = " ".join(str(error).replace(text, shown).split())
            raise StoreError(
                f"ledger location {shown} cannot be used ({reason}): give a folder, or a URI that starts with "
                f"{_SCHEMES}, and check its host, its region and the credentials in the environment"
            ) from error
        return cls(filesystem, path, shown)

    @property
    def folder(self) -> Path | None:
        """The folder on this machine; None if it lies elsewhere."""
        return Path(self.path) if isinstance(self.filesystem, pafs.LocalFileSystem) else None

    def child(self, name: str) -> str:
        """The path of the file `name` inside the filesystem."""
        return f"{self.path.rstrip('/')}/{name}" if self.path else name

    def files(self) -> dict[str, Stamp]:
        """The Parquet files by name, in the order of their names; what is being written is not among them.

        A folder that does not exist (yet) has none.

        Raises:
            StoreError: if the store cannot be reached or the folder cannot be listed.
        """
        try:
            infos = self.filesystem.get_file_info(pafs.FileSelector(self.path, allow_not_found=True))
        except FILE_ERRORS as error:
            reason = " ".join(str(error).split())
            raise StoreError(
                f"ledger location {self.shown} cannot be listed ({reason}): check that it is a folder, that its store "
                "can be reached from here, and the credentials in the environment"
            ) from error
        return {
            info.base_name: Stamp(info.size or 0, info.mtime_ns)
            for info in sorted(infos, key=lambda info: str(info.base_name))
            if info.type != pafs.FileType.Directory
            and info.base_name.endswith(".parquet")
            and not info.base_name.startswith((".", "_"))
        }

    def has(self, name: str) -> bool:
        """Whether the file `name` is there now.

        Raises:
            StoreError: if the store cannot be reached.
        """
        try:
            return bool(self.filesystem.get_file_info(self.child(name)).type != pafs.FileType.NotFound)
        except FILE_ERRORS as error:
            raise StoreError(f"ledger location {self.shown} cannot be reached ({error})") from error

    def delete(self, name: str) -> None:
        """Remove the file `name`; one that is gone already is no error."""
        try:
            self.filesystem.delete_file(self.child(name))
        except FILE_ERRORS:
            if self.has(name):
                raise

    @contextmanager
    def replacing(self, name: str) -> Iterator[str]:
        """A path to write to; it becomes the file `name` when the block ends without an error, else it is removed."""
        self.filesystem.create_dir(self.path, recursive=True)
        partial = self.child(f".{name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            yield partial
            self.filesystem.move(partial, self.child(name))
        except BaseException:
            with suppress(*FILE_ERRORS):
                self.filesystem.delete_file(partial)
            raise


def first_line(error: BaseException) -> str:
    """What an error says, on one line; its class if it says nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _without_secrets(uri: str) -> str:
    """A URI without user, password and options, any of which may be a secret."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
