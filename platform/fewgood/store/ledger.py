"""The ledger: one Parquet row per run, each row its own file until a compaction merges them into large ones.

A row has a name of its own, its `entry`; rows with the same entry are the same row. A compaction writes the large file
completely before it removes the small ones, so a reader sees every row at every moment, some of them twice, and keeps one.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fewgood.errors import StoreError
from fewgood.store.compaction import Compaction, compact
from fewgood.store.files import REPEATING, REPEATING_IN_LISTS, LedgerFile, open_file, to_dicts, write_table
from fewgood.store.home import Home, no_space
from fewgood.store.location import FILE_ERRORS, Location, Stamp, first_line
from fewgood.store.schema import LEDGER_SCHEMA, SCHEMA_VERSION, complete_row

__all__ = ["LEDGER_SCHEMA", "SCHEMA_VERSION", "Compaction", "Ledger"]

_ROUNDS = 10
"""Times the folder is listed again because files came or went while it was read."""

_RUN_IDS: dict[tuple[str, str, Stamp], pa.Array] = {}
"""The `run_id` column of large files that this process has read: a sweep asks for a run before each of its runs."""
_RUN_IDS_KEPT = 256

_ENCODED = (*REPEATING, *REPEATING_IN_LISTS)

logger = logging.getLogger(__name__)


class Ledger:
    """The runs kept in one home folder, in the store that homes share, or at another location."""

    def __init__(self, where: Home | Location) -> None:
        # Rows are written in the home's own folder for what is incomplete, if the ledger lies in the home.
        self._home = where if isinstance(where, Home) and where.store is None else None
        self._location = where.shared("ledger") if isinstance(where, Home) else where

    @property
    def location(self) -> Location:
        """Where the files lie."""
        return self._location

    def append(self, row: Mapping[str, Any]) -> Path:
        """Write one run; the row is in the ledger completely or not at all.

        Args:
            row: Values by column name of `LEDGER_SCHEMA`; columns that are missing become null, but `entry`,
                `baseline_options` and `count`, which are filled in.

        Returns:
            The row's file; its path is one inside the location's filesystem.

        Raises:
            StoreError: if it cannot be written.
            ValueError: if the row has a column that the schema lacks.
        """
        entry = f"{row['run_id']}-{uuid.uuid4().hex[:12]}"
        table = pa.Table.from_pylist([complete_row(row, entry)], schema=LEDGER_SCHEMA)
        name = f"{entry}.parquet"
        try:
            with self._writing(name) as path:
                write_table(table, path, self._location)
        except FILE_ERRORS as error:
            raise StoreError(self._unwritable(error)) from error
        return Path(self._location.child(name))

    def rows(self, *, run_ids: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """The rows as dictionaries, in the order of their entries; with `run_ids`, only those runs' rows, run by run.

        A file that cannot be read (half copied, say) is left out with a warning that names it.

        Raises:
            StoreError: if the location cannot be reached.
        """
        if run_ids is None:
            found = self._gather(lambda _name, _stamp: _all_rows)
            return [found[entry] for entry in sorted(found)]
        wanted = list(dict.fromkeys(run_ids))
        found = self._gather(self._of_runs(set(wanted)))
        place = {run_id: number for number, run_id in enumerate(wanted)}
        return sorted(found.values(), key=lambda row: (place[row["run_id"]], row["entry"]))

    def find(self, run_id: str) -> dict[str, Any] | None:
        """The successful row of a run, or None; files that hold this run alone are looked at first."""
        alone = self._gather(self._of_runs({run_id}), only=lambda name: _run_of(name) == run_id)
        for rows in (alone.values, lambda: self.rows(run_ids=[run_id])):
            for row in rows():
                if row["status"] == "ok":
                    return row
        return None

    def compact(self) -> Compaction:
        """Merge the small files into large ones; readers and writers notice nothing.

        Raises:
            StoreError: if the location cannot be reached or written.
        """
        try:
            return compact(self._location, self._writing)
        except FILE_ERRORS as error:
            raise StoreError(self._unwritable(error)) from error

    def compact_if_many(self, threshold: int = 512) -> Compaction | None:
        """`compact`, if there are at least `threshold` files of a single row; else None, after one listing."""
        single = sum(_run_of(name) is not None for name in self._location.files())
        return self.compact() if single >= threshold else None

    def _of_runs(self, wanted: set[str]) -> _Choice:
        def choose(name: str, stamp: Stamp) -> Callable[[LedgerFile], list[dict[str, Any]]] | None:
            run_id = _run_of(name)
            if run_id is not None:
                return None if run_id not in wanted else _all_rows
            key = (self._location.shown, name, stamp)
            if key in _RUN_IDS and not _numbers(_RUN_IDS[key], wanted):
                return None

            def read(file: LedgerFile) -> list[dict[str, Any]]:
                if key not in _RUN_IDS:
                    while len(_RUN_IDS) >= _RUN_IDS_KEPT:
                        _RUN_IDS.pop(next(iter(_RUN_IDS)), None)
                    _RUN_IDS[key] = file.read(["run_id"]).column("run_id").combine_chunks()
                return file.dicts(_numbers(_RUN_IDS[key], wanted))

            return read

        return choose

    def _gather(
        self, choose: _Choice, *, only: Callable[[str], bool] = lambda _name: True
    ) -> dict[str, dict[str, Any]]:
        """Rows by entry, from every file that `choose` wants, however files come and go meanwhile."""
        found: dict[str, dict[str, Any]] = {}
        done: set[tuple[str, Stamp]] = set()
        for _ in range(_ROUNDS):
            # A listing is no snapshot, so it is made again until it shows nothing new.
            new = [item for item in self._location.files().items() if item not in done and only(item[0])]
            if not new:
                break
            for name, stamp in new:
                done.add((name, stamp))
                read = choose(name, stamp)
                if read is None:
                    continue
                try:
                    with open_file(
                        self._location, name, dictionaries=_ENCODED if _run_of(name) is None else ()
                    ) as file:
                        rows = read(file)
                except FILE_ERRORS as error:
                    if self._location.has(name):
                        path = self._location.child(name)
                        logger.warning("ledger file %s cannot be read and is left out: %s", path, first_line(error))
                    continue
                found |= {row["entry"]: row for row in rows}
        return found

    @contextmanager
    def _writing(self, name: str) -> Iterator[str]:
        """A path inside the filesystem whose file is in the ledger, complete, when the block ends without an error."""
        if self._home is None:
            with self._location.replacing(name) as path:
                yield path
            return
        self._home.ledger.mkdir(parents=True, exist_ok=True)
        with self._home.scratch() as folder:
            yield str(folder / "rows.parquet")
            (folder / "rows.parquet").rename(self._home.ledger / name)

    def _unwritable(self, error: BaseException) -> str:
        what = "no space left" if no_space(error) else f"cannot write ({' '.join(str(error).split())})"
        return f"{what} under {self._location.shown}: free some space or give another --home or --store"


_Choice = Callable[[str, Stamp], Callable[[LedgerFile], list[dict[str, Any]]] | None]
"""Given a file's name and stamp: how its rows are read, or None if it has none of those wanted."""


def _all_rows(file: LedgerFile) -> list[dict[str, Any]]:
    return to_dicts(file.read(dictionaries=True))


def _run_of(name: str) -> str | None:
    """The run that a single row's file names; None for a large file."""
    run_id, dash, _ = name.removesuffix(".parquet").rpartition("-")
    return run_id if dash and run_id != "part" else None


def _numbers(run_ids: pa.Array, wanted: set[str]) -> list[int]:
    mask = pc.is_in(run_ids, value_set=pa.array(sorted(wanted), pa.string()))
    return [int(number) for number in pc.indices_nonzero(mask).to_pylist()]
