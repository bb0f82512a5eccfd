"""Merging the ledger's small files into large, sorted ones, so that no reader misses a row and none is lost by a kill.

The order is: write every large file completely, then remove the small ones whose rows all lie in large files. Killed at any
point, the ledger holds every row; some lie in two files, which readers drop by `entry` and the next compaction merges.
A large file is named by its content, so two compactors that merge the same rows write the same file.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

import pyarrow as pa

from fewgood.store.files import open_file, write_table
from fewgood.store.location import FILE_ERRORS, Location, first_line
from fewgood.store.schema import loses

__all__ = ["SORT_BY", "Compaction", "compact", "write_part"]

SMALL = 10_000
"""A file with fewer rows than this is merged with others; large files have this many to twice as many."""

SORT_BY = ("dataset", "category", "baseline", "shots", "select_on", "arm", "config_hash", "seed", "entry")
"""The order of a large file's rows: those of one ranking lie together."""

Writing = Callable[[str], AbstractContextManager[str]]
"""Given a file's name: a path to write to, which becomes that file when the block ends."""


@dataclass(frozen=True)
class Compaction:
    """What a compaction did."""

    files_before: int
    files_after: int
    rows: int
    """Rows that now lie in files that this compaction wrote."""
    left_out: tuple[tuple[str, str], ...]
    """Files that could not be merged and were left as they are, with the reason."""


def write_part(table: pa.Table, location: Location, writing: Writing | None = None) -> str:
    """Write rows as one large file, sorted, complete or not at all.

    Args:
        table: Rows of `LEDGER_SCHEMA`, each with its `entry`.
        location: The ledger's place.
        writing: How a file is put there; None writes beside it under another name and moves it.

    Returns:
        The file's name, `part-<hex>.parquet`, which is a digest of its entries.

    Raises:
        OSError, pa.ArrowException: if it cannot be written.
    """
    table = _sorted(table)
    state = hashlib.sha256()
    for entry in table.column("entry").to_pylist():
        state.update(str(entry).encode() + b"\n")
    name = f"part-{state.hexdigest()[:32]}.parquet"
    with (writing or location.replacing)(name) as path:
        write_table(table, path, location)
        _check(path, table.num_rows, location)
    return name


def compact(location: Location, writing: Writing) -> Compaction:
    """Merge the small files at `location`.

    Memory holds the sort columns of the small files' rows and, at a time, the rows of one large file.

    Raises:
        StoreError: if the location cannot be reached.
        OSError, pa.ArrowException: if a large file cannot be written; nothing was removed then.
    """
    with _one_at_a_time(location):
        return _Plan(location, writing).run()


class _Plan:
    def __init__(self, location: Location, writing: Writing) -> None:
        self._location = location
        self._writing = writing
        self._left_out: dict[str, str] = {}
        self._sources: list[str] = []
        """Small files, whose rows are merged."""
        self._entries: list[set[str]] = []
        """The entries in each of them."""
        self._safe: set[str] = set()
        """Entries in large files, which nobody removes."""

    def run(self) -> Compaction:
        """Merge, and remove each small file whose every row lies in a large file now."""
        before = self._location.files()
        keys = self._read_keys(list(before))
        written: dict[str, int] = {}
        merged = 0
        if len(self._sources) > 1 and keys is not None:
            for start, length in _cuts(keys.num_rows):
                table = self._rows(keys.slice(start, length))
                if table.num_rows:
                    written[write_part(table, self._location, self._writing)] = table.num_rows
                    self._safe |= set(table.column("entry").to_pylist())
            for name, entries in zip(self._sources, self._entries, strict=True):
                if name not in written and entries <= self._safe:
                    with suppress(*FILE_ERRORS):  # what cannot be removed is a second copy, which readers know to drop
                        self._location.delete(name)
            merged = sum(written.values())
        after = self._location.files()
        return Compaction(len(before), len(after), merged, tuple(sorted(self._left_out.items())))

    def _read_keys(self, names: list[str]) -> pa.Table | None:
        """The sort columns of the small files' rows, sorted, each entry once, with the file and row where it lies."""
        tables: list[pa.Table] = []
        for name in names:
            try:
                with open_file(self._location, name) as file:
                    if file.rows >= SMALL:
                        self._safe |= set(file.read(["entry"]).column("entry").to_pylist())
                        continue
                    if loss := loses(file.schema):
                        self._left_out[name] = loss
                        continue
                    table = file.read(SORT_BY)
            except FILE_ERRORS as error:
                self._leave_out(name, error)
                continue
            table = table.append_column("source", pa.array([len(self._sources)] * table.num_rows, pa.int32()))
            tables.append(table.append_column("row", pa.array(range(table.num_rows), pa.int32())))
            self._sources.append(name)
            self._entries.append(set(table.column("entry").to_pylist()))
        if not tables:
            return None
        keys = _sorted(pa.concat_tables(tables))
        return keys.take(pa.array(self._firsts(keys), pa.int64()))

    def _firsts(self, keys: pa.Table) -> list[int]:
        seen = set(self._safe)
        firsts = []
        for number, entry in enumerate(keys.column("entry").to_pylist()):
            if entry not in seen:
                firsts.append(number)
                seen.add(entry)
        return firsts

    def _rows(self, keys: pa.Table) -> pa.Table:
        """The whole rows that `keys` names; those of a file that cannot be read stay where they are."""
        wanted: dict[int, list[int]] = defaultdict(list)
        for source, row in zip(keys.column("source").to_pylist(), keys.column("row").to_pylist(), strict=True):
            wanted[source].append(row)
        tables = []
        for source, rows in wanted.items():
            name = self._sources[source]
            try:
                with open_file(self._location, name) as file:
                    tables.append(file.read() if file.rows == 1 else file.take(rows))
            except FILE_ERRORS as error:
                self._leave_out(name, error)
        return pa.concat_tables(tables) if tables else keys.slice(0, 0)

    def _leave_out(self, name: str, error: BaseException) -> None:
        if not self._location.has(name):
            return  # another compactor has merged it
        self._left_out[name] = first_line(error)


def _sorted(table: pa.Table) -> pa.Table:
    return table.combine_chunks().sort_by([(name, "ascending") for name in SORT_BY])


def _check(path: str, rows: int, location: Location) -> None:
    """Read the footer of what was written before anything is removed for it."""
    import pyarrow.parquet as pq

    with location.filesystem.open_input_file(path) as handle:
        held = pq.ParquetFile(handle).metadata.num_rows
    if held != rows:
        raise OSError(f"{path} holds {held} of {rows} rows after it was written")


def _cuts(rows: int) -> Iterator[tuple[int, int]]:
    """Start and length of each large file: one below twice `SMALL` rows, else equal ones of at least `SMALL`."""
    parts = max(1, rows // SMALL)
    for number in range(parts):
        start, end = rows * number // parts, rows * (number + 1) // parts
        if end > start:
            yield start, end - start


@contextmanager
def _one_at_a_time(location: Location) -> Iterator[None]:
    """On this machine, one compactor at a time; elsewhere two are safe, and do some work twice."""
    folder = location.folder
    if folder is None or not folder.is_dir():
        yield
        return
    with (folder / ".compaction.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)
