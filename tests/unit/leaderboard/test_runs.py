"""Rows as runs: the columns of schema 2, rows of older schemas, and rows that were read without their large columns."""

from __future__ import annotations

import json

import pytest

from fewgood.leaderboard.runs import Run, read_runs

LARGE = ("spec_json", "support_files", "test_names", "test_labels", "test_scores", "versions_json", "stages_json")


def test_columns_of_schema_2(make_row):
    stages = {"pool": {"seconds": 3.5, "cached": False, "artifacts": ["a"]}, "odd": "not a mapping"}
    run = Run.from_row(
        make_row(
            "generate",
            entry="row-1",
            gpu_seconds=4.0,
            reused_seconds=9.5,
            latency_ms=12.5,
            prompt="a photo of a bolt",
            stages_json=json.dumps(stages),
        )
    )
    assert (run.entry, run.gpu_seconds, run.reused_seconds, run.latency_ms) == ("row-1", 4.0, 9.5, 12.5)
    assert run.stages == {"pool": stages["pool"]}
    assert run.prompt == "a photo of a bolt"


def test_what_an_older_row_lacks_is_none_and_not_zero(make_row):
    run = Run.from_row(make_row(stages_json=None))
    assert (run.entry, run.gpu_seconds, run.reused_seconds, run.latency_ms, run.stages) == ("", None, None, None, {})


def test_options_and_size_prefer_their_columns_to_the_spec(make_row):
    old = Run.from_row(make_row("generate", count=8))
    assert (old.options, old.count) == ('{"coreset":0.1}', 8)
    new = Run.from_row(make_row("generate", count=8) | {"baseline_options": '{"coreset":0.5}', "count": 32})
    assert (new.options, new.count) == ('{"coreset":0.5}', 32)
    empty = Run.from_row(make_row("generate", count=8) | {"baseline_options": None, "count": None})
    assert (empty.options, empty.count) == (old.options, old.count)


@pytest.mark.parametrize("arm", ["none", "full"])
def test_arms_that_add_nothing_have_no_size(make_row, arm):
    assert Run.from_row(make_row(arm) | {"count": 16}).count is None


def test_a_narrow_row_gives_the_same_run_with_its_large_fields_empty(make_cell):
    rows = [row | {"baseline_options": '{"coreset":0.1}', "count": row["added"]} for row in make_cell()]
    narrow = [{name: value for name, value in row.items() if name not in LARGE} for row in rows]
    for full, short in zip(read_runs(rows), read_runs(narrow), strict=True):
        assert (short.run_id, short.ranking, short.cell, short.arm, short.seed) == (
            full.run_id,
            full.ranking,
            full.cell,
            full.arm,
            full.seed,
        )
        assert (short.metrics, short.count, short.proxy_score) == (full.metrics, full.count, full.proxy_score)
        assert (short.spec, short.scores, short.support_files, short.stages) == ({}, (), (), {})


def test_of_two_rows_of_one_run_narrow_and_full_reading_keep_the_same(make_row):
    rows = [make_row(entry=entry, test_scores=[float(index)] * 40) for index, entry in enumerate(("b", "a"))]
    narrow = [{name: value for name, value in row.items() if name not in LARGE} for row in rows]
    assert [run.entry for run in read_runs(rows)] == [run.entry for run in read_runs(narrow)] == ["b"]
