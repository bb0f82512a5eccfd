"""One refresh of the index: which files of the ledger are new, changed or gone, and their rows in and out of `entries`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fewgood.store.files import REPEATING, open_file
from fewgood.store.location import FILE_ERRORS, Location, Stamp, first_line
from fewgood.store.schema import LEDGER_SCHEMA

if TYPE_CHECKING:
    import duckdb

__all__ = ["NARROW", "Load", "LoadedFile", "Problem"]

_WIDE = {
    "schema_version",
    "error",
    "spec_json",
    "support_files",
    "support_note",
    "group_metrics_json",
    "test_names",
    "test_labels",
    "test_scores",
    "stages_json",
    "versions_json",
    "command",
}

NARROW = tuple(name for name in LEDGER_SCHEMA.names if name not in _WIDE)
"""The columns of `entries`, before `file_id` and `file_row`, which say where the row lies."""

_CHOSEN = ", ".join(
    [
        f'CASE WHEN isfinite("{name}") THEN "{name}" END'
        if LEDGER_SCHEMA.field(name).type == pa.float64()
        else f'"{name}"'
        for name in NARROW
    ]
    + ["file_id", "file_row"]
)
_READERS = 8
"""Files read at once from another machine, where most of the time is waiting."""
_BATCH = 64
_BATCH_BYTES = 4 * 2**20
"""At most so many files, or so many bytes of them and one file more, are in memory at once."""
_LARGE = 1000
"""Rows from which a file is inserted by itself."""
_ROUNDS = 5
"""Times the folder is listed again because files vanished while they were read."""


@dataclass(frozen=True)
class LoadedFile:
    """A file whose rows are in `entries`: all of them, or those that no other file had already."""

    number: int
    stamp: Stamp
    rows: int
    taken: int


@dataclass(frozen=True)
class Problem:
    """A file that cannot be read."""

    stamp: Stamp
    message: str
    again: bool
    """Whether it may be well next time though size and time are the same: it was not the content that failed."""


class Load:
    """One refresh: a transaction, and the state of the files as it will be when the transaction is over."""

    def __init__(
        self,
        location: Location,
        cursor: duckdb.DuckDBPyConnection,
        files: dict[str, LoadedFile],
        problems: dict[str, Problem],
        number: int,
    ) -> None:
        self._location = location
        self._cursor = cursor
        self.files = dict(files)
        self.problems = dict(problems)
        self.next = number
        self.changed = False
        self.inserted = 0

    def run(self) -> None:
        """Make the changes; other cursors see them after `commit`."""
        self._cursor.begin()
        for _ in range(_ROUNDS):
            if not self._round():
                break

    def commit(self) -> None:
        """Let other cursors see the changes."""
        self._cursor.commit()

    def close(self) -> None:
        """Release the cursor; what was not committed is undone."""
        self._cursor.close()

    def _round(self) -> bool:
        """Forget what is gone, load what is new; whether a file vanished meanwhile, so that it must be listed again."""
        listed = self._location.files()
        if any(name not in listed for name in self.files):
            # A listing is no snapshot: it can miss a file that was removed and the one that was written in its place.
            listed |= self._location.files()
        self.problems = {name: problem for name, problem in self.problems.items() if name in listed}
        gone = [name for name, file in self.files.items() if listed.get(name) != file.stamp]
        if gone:
            numbers = [self.files.pop(name).number for name in gone]
            self._cursor.execute("DELETE FROM entries WHERE file_id IN (SELECT unnest($1))", [numbers])
            self.changed = True
            # Rows that they shadowed in other files are to be had again.
            partly = [name for name, file in self.files.items() if file.taken < file.rows]
            for name in partly:
                self._cursor.execute("DELETE FROM entries WHERE file_id = $1", [self.files.pop(name).number])
        new = [
            (name, stamp)
            for name, stamp in listed.items()
            if name not in self.files
            and not ((known := self.problems.get(name)) and known.stamp == stamp and not known.again)
        ]
        # Arrow keeps freed memory by thread, so files of this machine are read in this one.
        local = self._location.folder is not None
        with nullcontext() if local else ThreadPoolExecutor(_READERS) as readers:
            read = map if readers is None else readers.map
            vanished = False
            for batch in _batches(new):
                vanished |= self._take_in(batch, list(read(self._read, [name for name, _ in batch])))
                if any(stamp.size >= _BATCH_BYTES for _, stamp in batch):
                    pa.default_memory_pool().release_unused()
        self._once()
        return vanished

    def _read(self, name: str) -> pa.Table | Exception | None:
        """The narrow columns of a file, the error that forbids it, or None if the file is gone."""
        try:
            with open_file(self._location, name, dictionaries=REPEATING) as file:
                return file.read(NARROW, dictionaries=file.rows >= _LARGE)
        except FILE_ERRORS as error:
            return error if self._location.has(name) else None

    def _take_in(self, batch: list[tuple[str, Stamp]], tables: list[pa.Table | Exception | None]) -> bool:
        """Insert what was read of files; whether one of them was gone."""
        small: list[tuple[str, Stamp, pa.Table]] = []
        for (name, stamp), table in zip(batch, tables, strict=True):
            if isinstance(table, Exception):
                again = isinstance(table, OSError) and table.errno is not None
                self.problems[name] = Problem(stamp, first_line(table), again)
            elif table is not None and table.num_rows >= _LARGE:
                self._insert([(name, stamp, table)])
            elif table is not None:
                small.append((name, stamp, table))
        if small:
            self._insert(small)
        return any(table is None for table in tables)

    def _insert(self, loaded: list[tuple[str, Stamp, pa.Table]]) -> None:
        """Insert the rows of files, which `_once` compares with those that are there."""
        tables = [_numbered(table, self.next + place) for place, (_, _, table) in enumerate(loaded)]
        rows = tables[0] if len(tables) == 1 else pa.concat_tables(tables).combine_chunks()
        self._cursor.register("incoming", rows)
        self._cursor.execute(f"INSERT INTO entries SELECT {_CHOSEN} FROM incoming")  # noqa: S608 - constants
        self._cursor.unregister("incoming")
        for name, stamp, table in loaded:
            self.problems.pop(name, None)
            self.files[name] = LoadedFile(self.next, stamp, table.num_rows, table.num_rows)
            self.next += 1
            self.inserted += table.num_rows
        self.changed = True

    def _once(self) -> None:
        """Keep one row of each entry, that of the file which came last: a compaction's file outlives what it merged."""
        (doubled,) = self._one("SELECT count(*) - count(DISTINCT hash(entry)) FROM entries")
        if not doubled:
            return
        self._cursor.execute(
            "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM (SELECT rowid, row_number() OVER "
            "(PARTITION BY entry ORDER BY file_id DESC, file_row) AS copy FROM entries) WHERE copy > 1)"
        )
        held = dict(self._cursor.execute("SELECT file_id, count(*) FROM entries GROUP BY file_id").fetchall())
        self.files = {name: replace(file, taken=held.get(file.number, 0)) for name, file in self.files.items()}

    def _one(self, sql: str) -> tuple[Any, ...]:
        (row,) = self._cursor.execute(sql).fetchall()
        return tuple(row)


def _batches(files: list[tuple[str, Stamp]]) -> Iterator[list[tuple[str, Stamp]]]:
    batch: list[tuple[str, Stamp]] = []
    for name, stamp in files:
        batch.append((name, stamp))
        if len(batch) == _BATCH or sum(stamp.size for _, stamp in batch) >= _BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _numbered(table: pa.Table, number: int) -> pa.Table:
    rows = table.num_rows
    table = table.append_column("file_id", pa.array(np.full(rows, number, np.int32)))
    return table.append_column("file_row", pa.array(np.arange(rows, dtype=np.int32)))
