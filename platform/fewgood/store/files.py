"""One Parquet file of the ledger: read in whole or in part as rows of this version, and large files written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fewgood.store.location import Location
from fewgood.store.schema import LEDGER_SCHEMA, migrate, sources_of

__all__ = ["REPEATING", "REPEATING_IN_LISTS", "ROW_GROUP", "LedgerFile", "open_file", "to_dicts", "write_table"]

ROW_GROUP = 1024
"""Rows of a row group in a large file."""

REPEATING = (
    "study",
    "status",
    "dataset",
    "category",
    "kind",
    "keyword",
    "baseline",
    "baseline_options",
    "backbone",
    "backbone_digest",
    "shots",
    "arm",
    "select_on",
    "data_fingerprint",
    "support_digest",
    "prompt",
    "precision",
    "hardware",
)
"""Text columns with few different values, which are kept as dictionaries."""

REPEATING_IN_LISTS = ("support_files", "test_names", "test_labels")
"""Lists of text with few different values."""

_ALSO_DICTIONARIES = ("config_hash", "error", "support_note", "group_metrics_json", "versions_json", "count", "seed")

_AT_ONCE = 256 * 2**10
"""A file of at most so many bytes is fetched whole."""


class LedgerFile:
    """An open file of the ledger."""

    def __init__(self, parquet: pq.ParquetFile, name: str) -> None:
        self._parquet = parquet
        self.name = name
        self.schema: pa.Schema = parquet.schema_arrow
        metadata = parquet.metadata
        self.rows: int = metadata.num_rows
        sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        self.group_starts: tuple[int, ...] = tuple(int(start) for start in np.cumsum([0, *sizes])[:-1])

    def read(self, columns: Sequence[str] | None = None, *, dictionaries: bool = False) -> pa.Table:
        """The rows with all columns of `LEDGER_SCHEMA`, or the named ones; `dictionaries` leaves encoded text so."""
        names = LEDGER_SCHEMA.names if columns is None else list(columns)
        sources, threads = sources_of(names, self.schema.names), self.rows > ROW_GROUP
        # Group by group: Arrow cannot put lists of encoded text of several row groups into one table.
        groups = [
            self._parquet.read_row_group(number, columns=sources, use_threads=threads)
            for number in range(len(self.group_starts))
        ]
        table = pa.concat_tables(groups) if groups else self._parquet.read(columns=sources)
        return migrate(_with_rows(table, self.rows), self.name, columns=names, dictionaries=dictionaries)

    def take(self, numbers: Sequence[int], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows with these numbers, in this order; only the row groups that hold them are read."""
        names = LEDGER_SCHEMA.names if columns is None else list(columns)
        places, pieces = [], []
        for here, table in self._pieces(numbers, names):
            places += here
            pieces.append(table)
        if not pieces:
            return LEDGER_SCHEMA.empty_table().select(names)
        whole = pa.concat_tables(pieces)
        return whole if places == sorted(places) else whole.take(pa.array(np.argsort(places)))

    def dicts(self, numbers: Sequence[int], columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The rows with these numbers, in this order, as dictionaries."""
        names = LEDGER_SCHEMA.names if columns is None else list(columns)
        rows: list[dict[str, Any]] = [{}] * len(numbers)
        for places, table in self._pieces(numbers, names, dictionaries=True):
            for place, row in zip(places, to_dicts(table), strict=True):
                rows[place] = row
        return rows

    def _pieces(
        self, numbers: Sequence[int], names: list[str], *, dictionaries: bool = False
    ) -> Iterator[tuple[list[int], pa.Table]]:
        """The rows by row group, each with the places that they have in `numbers`."""
        wanted = np.asarray(numbers, dtype=np.int64)
        group_of = np.searchsorted(np.asarray(self.group_starts), wanted, side="right") - 1
        sources = sources_of(names, self.schema.names)
        unnamed = "entry" in names and "entry" not in self.schema.names and self.rows > 1
        for group in np.unique(group_of).tolist():
            here = np.flatnonzero(group_of == group)
            table = self._parquet.read_row_group(group, columns=sources)
            taken = _with_rows(table.take(pa.array(wanted[here] - self.group_starts[group])), len(here))
            if not unnamed:
                yield here.tolist(), migrate(taken, self.name, columns=names, dictionaries=dictionaries)
                continue
            for place, spot in enumerate(here.tolist()):  # a row's number is part of the name that it gets
                one = taken.slice(place, 1)
                yield [spot], migrate(one, self.name, columns=names, first_row=int(wanted[spot]))


@contextmanager
def open_file(location: Location, name: str, *, dictionaries: Iterable[str] = ()) -> Iterator[LedgerFile]:
    """Open the file `name`.

    A bare file handle is read: a folder name such as `year=2026` above it must not become a column.

    Args:
        location: The ledger's place.
        name: The file's name there.
        dictionaries: Text columns to keep as dictionaries while they are decoded, where the file is not small.

    Raises:
        OSError, pa.ArrowException: if it is gone, damaged or not a Parquet file.
    """
    with location.filesystem.open_input_file(location.child(name)) as handle:
        local = location.folder is not None
        if handle.size() <= _AT_ONCE:  # one request instead of one per column
            handle, local, dictionaries = pa.BufferReader(handle.read()), True, ()
        wanted = set(dictionaries)
        metadata = pq.read_metadata(handle) if wanted else None
        leaves = [metadata.schema.column(number) for number in range(metadata.num_columns)] if metadata else []
        encoded = [
            leaf.path for leaf in leaves if leaf.path.partition(".")[0] in wanted and leaf.physical_type == "BYTE_ARRAY"
        ]
        yield LedgerFile(pq.ParquetFile(handle, metadata=metadata, read_dictionary=encoded, pre_buffer=not local), name)


def write_table(table: pa.Table, path: str, location: Location, *, row_group: int = ROW_GROUP) -> None:
    """Write rows of `LEDGER_SCHEMA` as one Parquet file at `path` inside the location's filesystem."""
    dictionaries = [*REPEATING, *_ALSO_DICTIONARIES, *(f"{name}.list.element" for name in REPEATING_IN_LISTS)]
    pq.write_table(
        table,
        path,
        filesystem=location.filesystem,
        compression="zstd",
        row_group_size=row_group,
        use_dictionary=dictionaries,
    )


def to_dicts(table: pa.Table) -> list[dict[str, Any]]:
    """The table's rows as dictionaries: `Table.to_pylist`, several times as fast where lists and repeats are many."""
    columns = [[value for chunk in column.chunks for value in _values(chunk)] for column in table.columns]
    names = table.column_names
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(array: pa.Array) -> list[Any]:
    kind = array.type
    if pa.types.is_list(kind):
        offsets = array.offsets.to_numpy()
        flat = _values(array.values.slice(offsets[0], offsets[-1] - offsets[0])) if len(array) else []
        values: list[Any] = [flat[start:end] for start, end in pairwise((offsets - offsets[0]).tolist())]
        return _with_nulls(values, array)
    if pa.types.is_dictionary(kind):
        words = np.array([*array.dictionary.to_pylist(), None], dtype=object)
        codes = array.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
        return list(words[codes].tolist())
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        filled = array.fill_null(0) if array.null_count else array
        return _with_nulls(filled.to_numpy(zero_copy_only=False).tolist(), array)
    return list(array.to_pylist())


def _with_nulls(values: list[Any], array: pa.Array) -> list[Any]:
    if array.null_count:
        for place in np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)).tolist():
            values[place] = None
    return values


def _with_rows(table: pa.Table, rows: int) -> pa.Table:
    """A table read with no columns has lost its number of rows; give it one column to keep it."""
    return table if table.num_columns else pa.table({"schema_version": pa.nulls(rows, pa.int32())})
