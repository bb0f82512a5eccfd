"""Rows of every version are read as rows of this one."""

import json
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fewgood.store import LEDGER_SCHEMA, SCHEMA_VERSION, Ledger, LedgerIndex
from fewgood.store.schema import complete_row, loses, migrate

NEW_IN_V2 = {"entry", "baseline_options", "count", "gpu_seconds", "reused_seconds", "latency_ms"}
V1_SCHEMA = pa.schema([field for field in LEDGER_SCHEMA if field.name not in NEW_IN_V2])


def v1_table(*rows):
    return pa.Table.from_pylist([{"schema_version": 1, **row} for row in rows], schema=V1_SCHEMA)


def test_a_v1_row_gets_what_follows_from_it(make_row):
    table = migrate(v1_table(make_row(7)), "0007-abc.parquet")
    assert table.schema.equals(LEDGER_SCHEMA)
    (row,) = table.to_pylist()
    assert row["schema_version"] == SCHEMA_VERSION
    assert row["entry"] == "0007-abc"
    assert row["baseline_options"] == '{"a":[0.5],"b":1}'
    assert row["count"] == 16
    assert row["gpu_seconds"] == 0.0
    assert row["reused_seconds"] is None
    assert row["test_scores"] == [0.5, 7.0]


@pytest.mark.parametrize("arm", ["none", "full"])
def test_an_arm_that_adds_nothing_has_no_count(make_row, arm):
    assert migrate(v1_table(make_row(arm=arm)), "x.parquet")["count"].to_pylist() == [None]
    assert complete_row(make_row(arm=arm), "x")["count"] is None


@pytest.mark.parametrize("spec", [None, "", "{", "[]", '{"baseline": 3, "selection": {"count": true}}'])
def test_a_damaged_spec_costs_only_its_columns(make_row, spec):
    (row,) = migrate(v1_table(make_row(spec_json=spec, hardware="NVIDIA X (CUDA 12)")), "x.parquet").to_pylist()
    assert (row["baseline_options"], row["count"], row["gpu_seconds"]) == ("{}", None, None)
    assert row["image_auroc"] == 0.0


def test_append_and_migrate_agree(make_row):
    new = complete_row(make_row(3), "0003-x")
    assert migrate(v1_table(make_row(3)), "0003-x.parquet").to_pylist() == [new]


def test_rows_of_an_old_file_with_many_have_names_of_their_own(make_row):
    table = v1_table(make_row(1), make_row(2))
    assert migrate(table, "old.parquet")["entry"].to_pylist() == ["old.0", "old.1"]
    assert migrate(table.slice(1), "old.parquet", first_row=1)["entry"].to_pylist() == ["old.1"]


def test_types_are_cast_where_nothing_is_lost(caplog):
    table = pa.table(
        {
            "run_id": pa.array(["a"]).dictionary_encode(),
            "seed": pa.array([3], pa.int8()),
            "image_auroc": pa.array(["not a number"]),
            "image_size": pa.array([2.5]),
            "later": pa.array([1]),
        }
    )
    with caplog.at_level(logging.WARNING):
        (row,) = migrate(table, "x.parquet").to_pylist()
    assert (row["run_id"], row["seed"], row["image_auroc"], row["image_size"]) == ("a", 3, None, None)
    assert "later" not in row
    assert "column image_auroc" in caplog.text
    assert "column image_size" in caplog.text


def test_only_what_would_be_lost_is_named():
    assert loses(V1_SCHEMA) is None
    assert loses(LEDGER_SCHEMA) is None
    assert "later" in loses(LEDGER_SCHEMA.append(pa.field("later", pa.int32())))
    assert "seed" in loses(pa.schema([("seed", pa.string())]))


def test_old_and_newer_files_are_read_together(home, make_row):
    """Files written by hand: one with the first schema, one of a version to come."""
    ledger = Ledger(home)
    pq.write_table(v1_table(make_row(1)), home.ledger / f"{1:032x}-old.parquet")
    newer = pa.Table.from_pylist([complete_row(make_row(2), "n")], schema=LEDGER_SCHEMA)
    newer = newer.append_column("later", pa.array([1]))
    pq.write_table(newer, home.ledger / f"{2:032x}-new.parquet")
    ledger.append(make_row(3))
    assert [row["seed"] for row in ledger.rows()] == [1, 3, 2]
    assert ledger.find(f"{1:032x}")["count"] == 16
    index = LedgerIndex(ledger.location)
    assert index.refresh()
    found = index.query("SELECT seed, baseline_options FROM entries ORDER BY seed").to_pylist()
    assert [row["seed"] for row in found] == [1, 2, 3]
    assert {row["baseline_options"] for row in found} == {'{"a":[0.5],"b":1}'}
    assert json.loads(found[0]["baseline_options"]) == {"a": [0.5], "b": 1}
    done = ledger.compact()
    assert [name for name, _ in done.left_out] == [f"{2:032x}-new.parquet"]
    assert "later" in done.left_out[0][1]
    assert [row["seed"] for row in ledger.rows()] == [1, 3, 2]


def test_a_large_old_file(home, make_row):
    """Row groups are read apart, and the names that rows get stay the same."""
    pq.write_table(v1_table(*map(make_row, range(50))), home.ledger / "old.parquet", row_group_size=7)
    index = LedgerIndex(Ledger(home).location)
    index.refresh()
    wanted = ["old.49", "old.0", "old.13"]
    assert [row["seed"] for row in index.rows(wanted)] == [49, 0, 13]
    assert [row["seed"] for row in Ledger(home).rows(run_ids=[f"{13:032x}", f"{2:032x}"])] == [13, 2]
