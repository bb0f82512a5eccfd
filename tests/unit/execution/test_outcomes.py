"""The event log and what it says: each configuration has one end, half lines are left out, fronts hold what nothing beats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewgood.execution.events import EventLog
from fewgood.execution.outcomes import CellOutcome, outcomes, spent_seconds
from fewgood.execution.study import study_from
from fewgood.execution.study_parts import Cell

STUDY = study_from({"name": "x", "datasets": [{"name": "sample", "categories": ["brick"]}]}, where="x")
CELL = STUDY.cells[0].label


def event(kind, trial, **details):
    return {"event": kind, "cell": CELL, "trial": trial, "settings": {"a": trial}, **details}


def test_each_configuration_has_one_end():
    log = [
        event("trial_started", "t1"),
        event("trial_finished", "t1", objective=0.5, cost=3.0),
        event("trial_started", "t2"),
        event("trial_failed", "t2", error="first"),
        event("trial_started", "t2"),
        event("trial_finished", "t2", objective=0.7, cost=2.0),
        event("trial_started", "t3"),
        event("trial_interrupted", "t3"),
        event("trial_started", "t4"),
        event("trial_stopped", "t4", objective=0.1, seeds=1),
        event("trial_failed", "t5", error="only"),
        event("trial_finished", "t1", objective=0.9, cost=1.0),
    ]
    (cell,) = outcomes(STUDY, log)
    assert [(trial["trial"], trial["objective"]) for trial in cell.finished] == [("t1", 0.5), ("t2", 0.7)]
    assert [trial["trial"] for trial in cell.stopped] == ["t4"]
    assert [trial["error"] for trial in cell.failed] == ["only"]
    assert cell.interrupted == [{"a": "t3"}]
    assert cell.done == [{"a": name} for name in ("t1", "t2", "t4", "t5")]
    assert cell.best["trial"] == "t2"
    (again,) = outcomes(STUDY, log, retry_failed=True)
    assert again.failed == []
    assert again.interrupted == [{"a": "t3"}, {"a": "t5"}]


def test_a_line_cut_by_a_kill_is_left_out_and_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "events.jsonl"
    EventLog(path).write("sweep_started", study="x")
    with path.open("ab") as handle:
        handle.write(b'{"event": "trial_fini')
    EventLog(path).write("sweep_finished", study="x")
    assert [entry["event"] for entry in EventLog(path).read()] == ["sweep_started", "sweep_finished"]
    assert list(EventLog(tmp_path / "none.jsonl").read()) == []


def test_spent_seconds_count_runs_only():
    log = [
        event("run_finished", "t1", cpu_seconds=2.0, gpu_seconds=1.0),
        event("run_finished", "t1", cpu_seconds=3.5, gpu_seconds=None),
        event("trial_finished", "t1", seconds=100.0),
    ]
    assert spent_seconds(log) == {"cpu_seconds": 5.5, "gpu_seconds": 1.0}


points = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@given(points)
def test_the_front_holds_what_nothing_beats(found):
    trials = [
        {"trial": f"t{number}", "objective": gain / 5, "cost": float(cost), "settings": {}}
        for number, (gain, cost) in enumerate(found)
    ]
    cell = CellOutcome(Cell(dataset="sample", category="brick", baseline="patchcore", shots=1), trials)
    front = {(trial["objective"], trial["cost"]) for trial in cell.front}
    every = {(trial["objective"], trial["cost"]) for trial in trials}
    unbeaten = {
        one for one in every if not any(other != one and other[0] >= one[0] and other[1] <= one[1] for other in every)
    }
    assert front == unbeaten
    assert cell.best["objective"] == pytest.approx(max(gain for gain, _ in found) / 5)
