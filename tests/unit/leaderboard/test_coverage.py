"""Coverage: what a ranking's cells have, what failed and what is missing."""

from __future__ import annotations

from dataclasses import asdict

from hypothesis import given, settings
from hypothesis import strategies as st

from fewgood.leaderboard import coverage, coverage_summary, read_runs


def test_failed_and_missing_runs_are_counted_and_their_cells_marked(make_cell, make_row):
    rows = make_cell("bolt", seeds=2)
    tile = [row for row in make_cell("tile", seeds=2) if (row["arm"], row["seed"]) != ("augment", 1)]
    tile = [row | {"status": "failed"} if (row["arm"], row["seed"]) == ("none", 0) else row for row in tile]
    wood = [row | {"status": "failed"} for row in make_cell("wood", seeds=1)]
    found = {item.cell.category: item for item in coverage(read_runs([*rows, *tile, *wood]))}
    assert [(item.state, item.ok, item.failed, item.missing, item.partial) for item in found.values()] == [
        ("complete", 6, 0, 0, False),
        ("partial", 4, 1, 1, True),
        ("empty", 0, 3, 3, True),
    ]
    assert list(found["tile"].states.items()) == [
        (("none", 0), "failed"),
        (("none", 1), "ok"),
        (("augment", 0), "ok"),
        (("augment", 1), "missing"),
        (("generate", 0), "ok"),
        (("generate", 1), "ok"),
    ]
    assert asdict(coverage_summary(list(found.values()))) == {
        "cells": 3,
        "complete": 1,
        "partial": 1,
        "empty": 1,
        "ok": 10,
        "failed": 4,
        "missing": 4,
    }


def test_the_ceiling_is_expected_of_no_cell(make_cell, make_row):
    rows = [*make_cell("bolt"), make_row("full", category="bolt"), *make_cell("tile")]
    assert [item.state for item in coverage(read_runs(rows))] == ["complete", "complete"]
    assert coverage(read_runs([make_row("full")])) == []


def test_a_success_counts_although_another_configuration_failed(make_row):
    rows = [make_row("generate", count=4), make_row("generate", count=8, status="failed")]
    assert coverage(read_runs(rows))[0].states == {("generate", 0): "ok"}


def test_rankings_expect_nothing_of_each_other(make_cell):
    rows = make_cell("bolt", seeds=1) + make_cell("tile", seeds=2, shots="4")
    assert [item.state for item in coverage(read_runs(rows))] == ["complete", "complete"]


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 17), st.integers(0, 17))
def test_order_and_duplicates_change_nothing(random, dropped, doubled):
    rows = [row for index, row in enumerate(ROWS) if index != dropped]
    again = [*rows, dict(rows[doubled % len(rows)])]
    random.shuffle(again)
    found = coverage(read_runs(again))
    assert found == coverage(read_runs(rows))
    assert all(item.ok + item.failed + item.missing == len(item.states) for item in found)


def _rows():
    from pathlib import Path
    from runpy import run_path

    build = run_path(str(Path(__file__).parent / "conftest.py"))["build_cell"]
    return build("bolt") + build("tile")


ROWS = _rows()
