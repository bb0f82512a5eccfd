"""The ledger's columns, and how a row of an older or newer version is read as one of this version."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["LEDGER_SCHEMA", "SCHEMA_VERSION", "complete_row", "loses", "migrate", "sources_of"]

SCHEMA_VERSION = 2
"""2 added `entry`, `baseline_options`, `count`, `gpu_seconds`, `reused_seconds` and `latency_ms`."""

LEDGER_SCHEMA = pa.schema(
    [
        ("schema_version", pa.int32()),
        ("entry", pa.string()),  # names the row itself: rows with the same entry are one row
        ("run_id", pa.string()),  # digest of spec_hash, data fingerprint and stage versions
        ("spec_hash", pa.string()),
        ("config_hash", pa.string()),  # spec_hash without the seed
        ("study", pa.string()),
        ("status", pa.string()),  # ok | failed
        ("error", pa.string()),
        ("dataset", pa.string()),
        ("category", pa.string()),
        ("kind", pa.string()),  # object | texture | unknown
        ("keyword", pa.string()),
        ("baseline", pa.string()),
        ("baseline_options", pa.string()),  # canonical JSON of the spec's baseline.options
        ("backbone", pa.string()),
        ("backbone_digest", pa.string()),
        ("image_size", pa.int32()),
        ("shots", pa.string()),
        ("arm", pa.string()),
        ("count", pa.int32()),  # images asked for (selection.count); null for the arms that add none
        ("seed", pa.int64()),
        ("select_on", pa.string()),  # proxy | test | fixed
        ("spec_json", pa.string()),
        ("data_fingerprint", pa.string()),
        ("support_files", pa.list_(pa.string())),
        ("support_digest", pa.string()),
        ("support_note", pa.string()),
        ("prompt", pa.string()),
        ("image_auroc", pa.float64()),
        ("image_aupr", pa.float64()),
        ("image_f1_max", pa.float64()),
        ("pixel_auroc", pa.float64()),
        ("pixel_aupro", pa.float64()),
        ("group_metrics_json", pa.string()),  # mvtec_loco: logical and structural defects apart
        ("test_names", pa.list_(pa.string())),
        ("test_labels", pa.list_(pa.string())),
        ("test_scores", pa.list_(pa.float64())),
        ("added", pa.int32()),
        ("proxy_score", pa.float64()),
        ("stages_json", pa.string()),
        ("seconds", pa.float64()),
        ("cpu_seconds", pa.float64()),
        ("gpu_seconds", pa.float64()),
        ("reused_seconds", pa.float64()),  # what stages taken from the store had cost when they were made
        ("latency_ms", pa.float64()),  # median time to score one image
        ("precision", pa.string()),
        ("hardware", pa.string()),
        ("versions_json", pa.string()),
        ("started_utc", pa.string()),
        ("command", pa.string()),  # repeats the run
    ]
)
"""Every column is nullable but those that name the run; a column that a later version adds is filled by `migrate`."""

_MADE_FROM: Mapping[str, tuple[str, ...]] = {
    "baseline_options": ("spec_json",),
    "count": ("spec_json", "arm"),
    "gpu_seconds": ("hardware",),
}
"""Columns that a file without them gets from other columns."""

_ADDS_NONE = ("none", "full")

logger = logging.getLogger(__name__)


def complete_row(row: Mapping[str, Any], entry: str) -> dict[str, Any]:
    """A caller's row with every column: what follows from others is filled in, what is missing is null.

    Args:
        row: Values by column name of `LEDGER_SCHEMA`.
        entry: The row's own name.

    Raises:
        ValueError: if the row has a column that the schema lacks.
    """
    unknown = sorted(set(row) - set(LEDGER_SCHEMA.names))
    if unknown:
        raise ValueError(f"the ledger has no column {', '.join(unknown)}")
    options, count = _from_spec(row.get("spec_json"), row.get("arm"))
    full = {name: row.get(name) for name in LEDGER_SCHEMA.names}
    full |= {"schema_version": SCHEMA_VERSION, "entry": entry, "baseline_options": options, "count": count}
    if full["gpu_seconds"] is None and " CPU" in (full["hardware"] or ""):
        full["gpu_seconds"] = 0.0
    return full


def migrate(
    table: pa.Table,
    name: str,
    *,
    columns: Sequence[str] | None = None,
    first_row: int | None = None,
    dictionaries: bool = False,
) -> pa.Table:
    """A ledger file's table, of whatever version, in the order and types of `LEDGER_SCHEMA`.

    Columns that the schema lacks are dropped; a value that cannot be cast without loss makes its column null, with a
    warning. Old rows get `entry` from the file's name, and what follows from their spec and hardware.

    Args:
        table: The file's columns, or some of them (`sources_of` says which are needed).
        name: The file's name, for `entry` and for warnings.
        columns: The columns to return; None for all.
        first_row: Number of the table's first row in the file, if the table is not the whole file.
        dictionaries: Leave text that is dictionary-encoded as it is.

    Returns:
        A table with the named columns and as many rows.
    """
    names = LEDGER_SCHEMA.names if columns is None else list(columns)
    wanted = LEDGER_SCHEMA if columns is None else pa.schema([LEDGER_SCHEMA.field(column) for column in names])
    present = set(table.column_names)
    made = _made(table, [column for column in names if column not in present])
    arrays = []
    for field in wanted:
        if field.name == "schema_version":
            array = pa.array([SCHEMA_VERSION] * table.num_rows, field.type)
        elif field.name in made:
            array = made[field.name]
        else:
            array = _cast(table, field, name, dictionaries=dictionaries)
        if field.name == "entry" and array.null_count:
            array = pc.coalesce(array, _entries(table.num_rows, name, first_row))
        arrays.append(array)
    return pa.table(arrays, names=names) if dictionaries else pa.table(arrays, schema=wanted)


def sources_of(columns: Iterable[str], present: Iterable[str]) -> list[str]:
    """The columns of a file, of those `present`, that `migrate` needs to return `columns`."""
    there = list(present)
    needed = set()
    for column in columns:
        needed |= {column} if column in there else set(_MADE_FROM.get(column, ()))
    return [column for column in dict.fromkeys(there) if column in needed]


def loses(schema: pa.Schema) -> str | None:
    """What `migrate` would drop from a file with this schema, in words; None if it keeps everything."""
    known = set(LEDGER_SCHEMA.names)
    unknown = [name for name in schema.names if name not in known]
    if unknown:
        return f"it has columns that this version does not know: {', '.join(unknown)}"
    for field in schema:
        mine = LEDGER_SCHEMA.field(field.name).type
        if not (field.type.equals(mine) or pa.types.is_null(field.type) or _same_text(field.type, mine)):
            return f"its column {field.name} is {field.type}, not {mine}"
    return None


def _same_text(one: pa.DataType, other: pa.DataType) -> bool:
    value = one.value_type if pa.types.is_dictionary(one) else one
    return bool(pa.types.is_string(other) and (pa.types.is_string(value) or pa.types.is_large_string(value)))


def _encoded(one: pa.DataType, other: pa.DataType) -> bool:
    if pa.types.is_list(one) and pa.types.is_list(other):
        return _encoded(one.value_type, other.value_type)
    return bool(pa.types.is_dictionary(one) and one.value_type.equals(other))


def _cast(table: pa.Table, field: pa.Field, name: str, *, dictionaries: bool = False) -> pa.ChunkedArray | pa.Array:
    places = table.schema.get_all_field_indices(field.name)
    if not places:
        return pa.nulls(table.num_rows, field.type)
    column = table.column(places[0])
    if column.type.equals(field.type) or (dictionaries and _encoded(column.type, field.type)):
        return column
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        logger.warning("ledger file %s: column %s cannot be read as %s: %s", name, field.name, field.type, reason)
        return pa.nulls(table.num_rows, field.type)


def _entries(rows: int, name: str, first_row: int | None) -> pa.Array:
    stem = PurePosixPath(name).stem
    if rows == 1 and first_row is None:
        return pa.array([stem], pa.string())
    return pa.array([f"{stem}.{(first_row or 0) + number}" for number in range(rows)], pa.string())


def _made(table: pa.Table, missing: Sequence[str]) -> dict[str, pa.Array]:
    made: dict[str, pa.Array] = {}
    rows = table.num_rows

    def texts(column: str) -> list[Any]:
        return list(_cast(table, LEDGER_SCHEMA.field(column), column).to_pylist())

    if "baseline_options" in missing or "count" in missing:
        pairs = [_from_spec(spec, arm) for spec, arm in zip(texts("spec_json"), texts("arm"), strict=True)]
        made["baseline_options"] = pa.array([options for options, _ in pairs], pa.string())
        made["count"] = pa.array([count for _, count in pairs], pa.int32())
    if "gpu_seconds" in missing:
        made["gpu_seconds"] = pa.array([0.0 if " CPU" in (text or "") else None for text in texts("hardware")])
        made["gpu_seconds"] = made["gpu_seconds"].cast(pa.float64())
    assert all(len(array) == rows for array in made.values())
    return {column: made[column] for column in missing if column in made}


def _from_spec(spec_json: Any, arm: Any) -> tuple[str, int | None]:
    """A spec's baseline options as canonical JSON, and the augmentation size that it asks for."""
    try:
        spec = json.loads(spec_json) if isinstance(spec_json, str) else {}
    except ValueError:  # a damaged cell costs the row these two columns, not more
        spec = {}
    baseline, selection = (spec.get(part) if isinstance(spec, dict) else None for part in ("baseline", "selection"))
    options = baseline.get("options", {}) if isinstance(baseline, dict) else {}
    count = selection.get("count") if isinstance(selection, dict) else None
    whole = isinstance(count, int) and not isinstance(count, bool) and abs(count) < 2**31
    text = json.dumps(options, sort_keys=True, separators=(",", ":"))
    return text, count if whole and arm not in _ADDS_NONE else None
