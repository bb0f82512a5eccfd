"""Cost: sums, what the cache saved, latency, and what a gain was paid with; unknown is never zero."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewgood.leaderboard import compare, cost, cost_against_gain, read_runs
from fewgood.leaderboard.cost import Latency, Spent


def test_sums_count_failed_runs_and_skip_what_is_unknown(make_row):
    stages = [{"pool": {"seconds": 2.0, "cached": False}}, {"pool": {"seconds": 0.5, "cached": True}}, {}]
    rows = [
        make_row("augment", 0, seconds=10.0, reused_seconds=4.0, latency_ms=5.0, stages_json=json.dumps(stages[0])),
        make_row("augment", 1, seconds=20.0, gpu_seconds=7.0, latency_ms=9.0, stages_json=json.dumps(stages[1])),
        make_row("augment", 2, seconds=None, status="failed", cpu_seconds=None, stages_json=json.dumps(stages[2])),
    ]
    (line,) = cost(read_runs(rows))
    assert (line.arm, line.runs, line.failed) == ("augment", 3, 1)
    assert line.seconds == Spent(total=30.0, mean=15.0, known=2)
    assert line.cpu_seconds == Spent(total=6.0, mean=3.0, known=2)
    assert line.gpu_seconds == Spent(total=7.0, mean=7.0, known=1)
    assert line.reused_seconds == Spent(total=4.0, mean=4.0, known=1)
    assert line.stages == {"pool": Spent(total=2.5, mean=1.25, known=2)}
    assert line.latency_ms == Latency(median=7.0, low=6.0, high=8.0, known=2)


def test_nothing_known_is_none(make_row):
    (line,) = cost(read_runs([make_row(seconds=None, cpu_seconds=None)]))
    assert line.seconds == line.cpu_seconds == line.gpu_seconds == line.reused_seconds
    assert line.seconds == Spent(total=None, mean=None, known=0)
    assert line.latency_ms == Latency(median=None, low=None, high=None, known=0)
    assert line.stages == {}


def test_a_known_zero_stays_zero(make_row):
    (line,) = cost(read_runs([make_row(gpu_seconds=0.0)]))
    assert line.gpu_seconds == Spent(total=0.0, mean=0.0, known=1)


def test_the_median_of_latencies_with_quartiles(make_row):
    rows = [make_row("none", seed, latency_ms=float(value)) for seed, value in enumerate((4, 1, 100, 2, 3))]
    (line,) = cost(read_runs(rows))
    assert line.latency_ms == Latency(median=3.0, low=2.0, high=4.0, known=5)
    (single,) = cost(read_runs(rows[:1]))
    assert single.latency_ms == Latency(median=4.0, low=4.0, high=4.0, known=1)


def test_extra_seconds_stand_next_to_the_gain(make_cell):
    rows = make_cell(seeds=2)
    spent = {"none": 1.0, "augment": 5.0, "generate": 8.0}
    rows = [row | {"seconds": spent[row["arm"]] + row["seed"], "reused_seconds": 2.0} for row in rows]
    # Generation of seed 1 took its generator from the cache: it seems cheaper than it is.
    for row in rows:
        if (row["arm"], row["seed"]) == ("generate", 1):
            row |= {"seconds": 4.0, "reused_seconds": 7.0}
    rankings = compare(read_runs(rows))
    (found,) = cost_against_gain(rankings)
    assert (found.arm, found.against, found.pairs) == ("generate", "augment", 2)
    assert found.extra_seconds == pytest.approx((3.0 - 2.0) / 2)
    assert found.extra_seconds_uncached == pytest.approx(3.0)
    assert found.gain is rankings[0].differences["generate", "augment"]["image_auroc"]
    assert cost_against_gain(rankings, "generate", "noise") == []


def test_what_the_cache_saved_must_be_known_of_every_pair(make_cell):
    rows = make_cell(seeds=2)
    rows[0] |= {"reused_seconds": 1.0}
    (found,) = cost_against_gain(compare(read_runs(rows)))
    assert found.extra_seconds == pytest.approx(0.0)
    assert found.extra_seconds_uncached is None


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 8))
def test_order_and_duplicates_change_nothing(random, doubled):
    again = [*ROWS, dict(ROWS[doubled])]
    random.shuffle(again)
    assert cost(read_runs(again)) == cost(read_runs(ROWS))


def _rows():
    from pathlib import Path
    from runpy import run_path

    return run_path(str(Path(__file__).parent / "conftest.py"))["build_cell"](seconds=0.1, reused_seconds=0.2)


ROWS = _rows()
