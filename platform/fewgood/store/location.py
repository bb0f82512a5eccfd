"""Where a ledger or a shared store lies: a folder of this machine, or a place that an Arrow filesystem reaches."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from fewgood.errors import StoreError
from fewgood.store.filesystems import is_uri, open_uri, without_secrets

__all__ = ["FILE_ERRORS", "Location", "Stamp", "first_line"]

FILE_ERRORS = (OSError, pa.ArrowException)
"""What an Arrow filesystem and its readers raise for a place or a file that cannot be used."""

_SCHEMES = "file://, s3://, gs://, abfs:// or hdfs://"
_WHOLE_OBJECTS = (pafs.S3FileSystem, pafs.GcsFileSystem, pafs.AzureFileSystem)
"""Filesystems that show an object only when its upload is complete, and that have no rename."""


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
        if isinstance(where, Path) or not is_uri(text):
            folder = Path(where).expanduser().absolute()
            return cls(pafs.LocalFileSystem(), folder.as_posix(), str(folder))
        shown = without_secrets(text)
        try:
            filesystem, path = open_uri(text)
        except (*FILE_ERRORS, ValueError) as error:
            reason = " ".join(str(error).replace(text, shown).split())
            raise StoreError(
                f"location {shown} cannot be used ({reason}): give a folder, or a URI that starts with "
                f"{_SCHEMES}, and check its host, its region and the credentials in the environment"
            ) from error
        return cls(filesystem, path, shown)

    def below(self, *parts: str) -> Location:
        """The folder `parts` under this one, whether it is there or not."""
        path, shown = self.path, self.shown
        for part in parts:
            path, shown = f"{path.rstrip('/')}/{part}" if path else part, f"{shown.rstrip('/')}/{part}"
        return Location(self.filesystem, path, shown)

    @property
    def whole_objects(self) -> bool:
        """Whether a file is seen only when it is complete, so that it may be written under its own name."""
        return isinstance(self.filesystem, _WHOLE_OBJECTS)

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

    def walk(self) -> dict[str, Stamp]:
        """Every file under the folder, by its path relative to it; a folder that does not exist has none.

        Raises:
            StoreError: if the store cannot be reached or the folder cannot be listed.
        """
        try:
            infos = self.filesystem.get_file_info(pafs.FileSelector(self.path, allow_not_found=True, recursive=True))
        except FILE_ERRORS as error:
            reason = " ".join(str(error).split())
            raise StoreError(
                f"{self.shown} cannot be listed ({reason}): check that its store can be reached"
            ) from error
        start = len(self.path.strip("/")) + 1 if self.path.strip("/") else 0
        return {
            info.path.lstrip("/")[start:]: Stamp(info.size or 0, info.mtime_ns)
            for info in infos
            if info.type == pafs.FileType.File
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

    def make(self) -> None:
        """Make the folder; an object store needs none.

        Raises:
            OSError, pa.ArrowException: if it cannot be made.
        """
        if not self.whole_objects:
            self.filesystem.create_dir(self.path, recursive=True)

    def read(self, name: str) -> bytes:
        """The content of the file `name`.

        Raises:
            FileNotFoundError: if it is not there.
            OSError, pa.ArrowException: if it cannot be read.
        """
        with self.filesystem.open_input_stream(self.child(name)) as stream:
            return bytes(stream.read())

    def put(self, name: str, content: bytes) -> None:
        """Make or replace the small file `name`; readers see the old content or the new, never a part.

        Raises:
            OSError, pa.ArrowException: if it cannot be written.
        """
        if self.whole_objects:
            with self.filesystem.open_output_stream(self.child(name)) as stream:
                stream.write(content)
            return
        with self.replacing(name) as path, self.filesystem.open_output_stream(path) as stream:
            stream.write(content)

    @contextmanager
    def replacing(self, name: str) -> Iterator[str]:
        """A path to write to; it becomes the file `name` when the block ends without an error, else it is removed."""
        self.make()
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
