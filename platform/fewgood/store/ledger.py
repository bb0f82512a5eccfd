"""The ledger: one Parquet row per run, each row its own file, written under a temporary name and renamed."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fewgood.errors import StoreError
from fewgood.store.home import Home, no_space

__all__ = ["LEDGER_SCHEMA", "SCHEMA_VERSION", "Ledger"]

SCHEMA_VERSION = 1

LEDGER_SCHEMA = pa.schema(
    [
        ("schema_version", pa.int32()),
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
        ("backbone", pa.string()),
        ("backbone_digest", pa.string()),
        ("image_size", pa.int32()),
        ("shots", pa.string()),
        ("arm", pa.string()),
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
        ("precision", pa.string()),
        ("hardware", pa.string()),
        ("versions_json", pa.string()),
        ("started_utc", pa.string()),
        ("command", pa.string()),  # repeats the run
    ]
)
"""Every column is nullable but those that name the run; a column that a later version adds reads as null from old files."""

logger = logging.getLogger(__name__)


class Ledger:
    """The runs kept in one home folder."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def append(self, row: Mapping[str, Any]) -> Path:
        """Write one run; the row is in the ledger completely or not at all.

        Args:
            row: Values by column name of `LEDGER_SCHEMA`; columns that are missing become null.

        Raises:
            StoreError: if it cannot be written.
            ValueError: if the row has a column that the schema lacks.
        """
        unknown = sorted(set(row) - set(LEDGER_SCHEMA.names))
        if unknown:
            raise ValueError(f"the ledger has no column {', '.join(unknown)}")
        full = {name: row.get(name) for name in LEDGER_SCHEMA.names} | {"schema_version": SCHEMA_VERSION}
        table = pa.Table.from_pylist([full], schema=LEDGER_SCHEMA)
        target = self._home.ledger / f"{row['run_id']}-{uuid.uuid4().hex[:12]}.parquet"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._home.scratch() as folder:
                pq.write_table(table, folder / "row.parquet", compression="zstd")
                (folder / "row.parquet").rename(target)
        except OSError as error:
            what = "no space left" if no_space(error) else f"cannot write ({error})"
            raise StoreError(f"{what} under {self._home.ledger}: free some space or give another --home") from error
        return target

    def rows(self, *, run_ids: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """The rows as dictionaries, in the order of their file names; with `run_ids`, only those runs' rows.

        A file that cannot be read (half copied, say) is left out with a warning that names it.
        """
        if not self._home.ledger.is_dir():
            return []
        patterns = ["*.parquet"] if run_ids is None else [f"{run_id}-*.parquet" for run_id in dict.fromkeys(run_ids)]
        rows: list[dict[str, Any]] = []
        for path in (path for pattern in patterns for path in sorted(self._home.ledger.glob(pattern))):
            try:
                # A bare file handle: a folder name such as `year=2026` above it must not become a column.
                with path.open("rb") as handle:
                    table = pq.read_table(handle)
            except (OSError, pa.ArrowInvalid) as error:
                logger.warning("ledger file %s cannot be read and is left out: %s", path, str(error).splitlines()[0])
                continue
            for row in table.to_pylist():
                rows.append({name: row.get(name) for name in LEDGER_SCHEMA.names})
        return rows

    def find(self, run_id: str) -> dict[str, Any] | None:
        """The successful row of a run, or None."""
        return next((row for row in self.rows(run_ids=[run_id]) if row["status"] == "ok"), None)
