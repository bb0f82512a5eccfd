"""The ledger's narrow columns as a DuckDB table in memory, refreshed file by file: what a dashboard asks."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from fewgood.errors import StoreError
from fewgood.store.files import REPEATING, REPEATING_IN_LISTS, open_file
from fewgood.store.loading import NARROW, Load, LoadedFile, Problem
from fewgood.store.location import FILE_ERRORS, Location, first_line
from fewgood.store.schema import LEDGER_SCHEMA

__all__ = ["NARROW", "LedgerIndex"]

_TYPES = {pa.string(): "VARCHAR", pa.int32(): "INTEGER", pa.int64(): "BIGINT", pa.float64(): "DOUBLE"}
_MANY = 20_000
"""Rows inserted since the last checkpoint from which another is worth its time."""
_ROUNDS = 5
"""Times that rows are looked up again because a compaction moved them."""


class LedgerIndex:
    """The rows of one ledger, for queries by any number of threads; `refresh` by one at a time.

    `entries` has the columns `NARROW` (numbers that are not finite are NULL) and every row once, in however many files
    it lies while a ledger is compacted.
    """

    def __init__(self, location: Location, *, memory_limit: str = "384MB", threads: int = 2) -> None:
        """An empty index.

        Args:
            location: Where the ledger lies.
            memory_limit: DuckDB's limit, e.g. "384MB"; 200,000 rows need about a quarter of that.
            threads: DuckDB's threads.
        """
        import duckdb

        self._location = location
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": memory_limit,
                "threads": threads,
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "temp_directory": "",
                "preserve_insertion_order": "false",
            },
        )
        columns = [f'"{name}" {_TYPES[LEDGER_SCHEMA.field(name).type]}' for name in NARROW]
        self._connection.execute(f"CREATE TABLE entries ({', '.join(columns)}, file_id INTEGER, file_row INTEGER)")
        # Queries read the ledger's rows and nothing else of this machine.
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")
        self._refreshing = threading.Lock()
        # Held while the state below and the rows change together, never while a file is read.
        self._lock = threading.Lock()
        self._files: dict[str, LoadedFile] = {}
        self._problems: dict[str, Problem] = {}
        self._next = 0
        self._version = 0
        self._untidy = 0
        self._load: Load | None = None

    @property
    def location(self) -> Location:
        """Where the ledger lies."""
        return self._location

    @property
    def version(self) -> int:
        """Raised by one whenever the content changes; 0 before the first refresh that finds something."""
        return self._version

    @property
    def arriving(self) -> int:
        """Rows that the refresh which is running has read so far, for those who wait; 0 when none is running."""
        load = self._load
        return load.inserted if load else 0

    @property
    def problems(self) -> tuple[tuple[str, str], ...]:
        """The files that cannot be read, with the reason, in the order of their names."""
        return tuple((name, problem.message) for name, problem in sorted(self._problems.items()))

    def refresh(self) -> bool:
        """Bring `entries` up to date with the ledger's files; queries meanwhile see the old content.

        Returns:
            Whether anything changed.

        Raises:
            StoreError: if the location cannot be listed or the rows do not fit in memory; the old content stays.
        """
        import duckdb

        with self._refreshing:
            if self._untidy >= _MANY:  # a checkpoint packs the rows; it takes longer than many a first look should
                with suppress(duckdb.Error):
                    self._connection.execute("CHECKPOINT")
                self._untidy = 0
            load = self._load = Load(self._location, self._connection.cursor(), self._files, self._problems, self._next)
            try:
                load.run()
                with self._lock:
                    load.commit()
                    changed = load.changed or load.problems != self._problems
                    self._files, self._problems, self._next = load.files, load.problems, load.next
                    self._version += changed
            except duckdb.OutOfMemoryException as error:
                raise StoreError(
                    f"the index of ledger {self._location.shown} does not fit its memory limit "
                    f"({str(error).splitlines()[0]}): give a higher memory_limit, or a smaller ledger"
                ) from error
            finally:
                self._load = None
                load.close()
            if load.inserted >= _MANY:
                pa.default_memory_pool().release_unused()
            self._untidy += load.inserted
            return changed

    def query(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> pa.Table:
        """The result of one SELECT, on a cursor of its own: any number of threads may ask at once.

        Raises:
            ValueError: if `sql` is not one statement that reads.
            duckdb.Error: if it is no valid SQL.
        """
        import duckdb

        with self._connection.cursor() as cursor:
            statements = cursor.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise ValueError(f"the ledger's index takes one SELECT, not {' '.join(sql.split())[:80]!r}")
            relation = cursor.sql(sql, params=parameters) if parameters else cursor.sql(sql)
            return relation.to_arrow_table()

    def execute(self, *statements: str | tuple[str, Sequence[Any]]) -> None:
        """Run statements that make views or tables over `entries`, all of them or none; queries see both or neither.

        Args:
            statements: SQL, or SQL with its parameters.

        Raises:
            duckdb.Error: if one is no valid SQL, or does not fit the memory limit.
        """
        with self._refreshing:
            self._connection.execute("BEGIN")
            try:
                for statement in statements:
                    sql, parameters = (statement, ()) if isinstance(statement, str) else statement
                    self._connection.execute(sql, parameters or None)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, entries: Iterable[str], columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Whole rows by their `entry`, in the order asked; an entry that is not in the ledger is left out.

        Only the row groups that hold them are read. If a compaction has moved rows since the last refresh, this refreshes.

        Args:
            entries: Names of rows.
            columns: Columns of `LEDGER_SCHEMA`; None for all.

        Raises:
            StoreError: if the store cannot be reached, or a file cannot be read though it is there.
            KeyError: if a column is not in `LEDGER_SCHEMA`.
        """
        asked = list(dict.fromkeys(entries))
        names = LEDGER_SCHEMA.names if columns is None else list(columns)
        if unknown := [name for name in names if name not in LEDGER_SCHEMA.names]:
            raise KeyError(f"the ledger has no column {', '.join(unknown)}")
        found: dict[str, dict[str, Any]] = {}
        for _ in range(_ROUNDS):
            missing = [entry for entry in asked if entry not in found]
            gone = self._read(missing, names, found) if missing else False
            if not gone:
                break
            self.refresh()
        return [found[entry] for entry in asked if entry in found]

    def _read(self, entries: list[str], names: list[str], found: dict[str, dict[str, Any]]) -> bool:
        """Read rows into `found`; whether a file was gone."""
        with self._lock:
            by_number = {file.number: name for name, file in self._files.items()}
            places = self.query(
                "SELECT entry, file_id, file_row FROM entries WHERE entry IN (SELECT unnest($1)) "
                "ORDER BY file_id, file_row",
                [entries],
            ).to_pydict()
        wanted: dict[int, list[tuple[str, int]]] = {}
        for entry, number, row in zip(places["entry"], places["file_id"], places["file_row"], strict=True):
            wanted.setdefault(number, []).append((entry, row))
        gone = False
        for number, pairs in wanted.items():
            name = by_number[number]
            try:
                with open_file(self._location, name, dictionaries=(*REPEATING, *REPEATING_IN_LISTS)) as file:
                    rows = file.dicts(
                        [row for _, row in pairs], ["entry", *[name for name in names if name != "entry"]]
                    )
            except (*FILE_ERRORS, IndexError) as error:
                if self._location.has(name):
                    raise StoreError(
                        f"ledger file {self._location.child(name)} cannot be read ({first_line(error)}): "
                        "copy it again, or remove it"
                    ) from error
                gone = True
                continue
            for (entry, _), row in zip(pairs, rows, strict=True):
                if row["entry"] == entry:
                    found[entry] = {name: row[name] for name in names}
                else:  # the file was written anew under its old name since the last refresh
                    gone = True
        return gone
