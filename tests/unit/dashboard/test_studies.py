"""A study's event log as the dashboard reads it: while it is written, damaged, begun again; and what settings mattered."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from fewgood.execution.events import EventLog
from fewgood_dashboard import figures
from fewgood_dashboard.searched import front, importances
from fewgood_dashboard.studies import StudyLog, Trial, study_names


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "studies" / "first"
    made.mkdir(parents=True)
    (made / "study.json").write_text(json.dumps({"study": {"select_on": "test"}}))
    return made


def test_events_become_trials_as_they_arrive(folder):
    log, seen = EventLog(folder / "events.jsonl"), StudyLog(folder)
    assert seen.update().planned is None
    log.write("sweep_started", study="first", cells=["a", "b"], trials_left=[2, 1])
    log.write("trial_started", cell="a", trial="t1", settings={"x": 1})
    log.write("progress", cell="a", trial="t1", stage="generator", done=3, total=9, note="")
    state = seen.update()
    assert (state.planned, state.running, state.select_on, state.cells) == (3, True, "test", ("a", "b"))
    assert state.trials["a", "t1"].progress == "generator 3/9"
    log.write("trial_finished", cell="a", trial="t1", settings={"x": 1}, objective=0.5, seconds=2.0, runs=["r"])
    log.write("trial_started", cell="b", trial="t2", settings={"x": 2})
    log.write("trial_failed", cell="b", trial="t2", settings={"x": 2}, error="no luck")
    log.write("sweep_finished", study="first")
    state = seen.update()
    assert [(trial.name, trial.state, trial.objective) for trial in state.of("a")] == [("t1", "finished", 0.5)]
    assert state.of("b")[0].error == "no luck"
    assert not state.running
    assert state == StudyLog(folder).update(), "read in pieces or at once: the same"


def test_a_line_that_is_being_written_waits_and_a_damaged_one_is_left_out(folder):
    path = folder / "events.jsonl"
    path.write_text(
        '{"event": "sweep_started", "cells": ["a"], "trials_left": [1]}\nnot json\n[1]\n{"event": "trial_sta'
    )
    seen = StudyLog(folder)
    state = seen.update()
    assert (state.planned, len(state.trials), seen.damaged) == (1, 0, 2)
    with path.open("a") as handle:
        handle.write('rted", "cell": "a", "trial": "t", "settings": {}}\n')
    assert len(seen.update().trials) == 1


@pytest.mark.parametrize(
    "event",
    [
        {"event": "sweep_started", "cells": None},
        {"event": "sweep_started", "cells": ["a"], "trials_left": ["x"]},
        {"event": "trial_started", "cell": "a", "trial": "t", "settings": ["x"]},
        {"event": "trial_finished", "cell": "a", "trial": "t", "objective": 10**400},
        {"event": "trial_finished", "cell": "a", "trial": "t", "objective": 0.5, "runs": 7},
        {"event": "run_finished", "cell": "a", "trial": "t", "seconds": 2.0},
        {"utc": "2026-01-01"},
        None,
    ],
)
def test_an_event_of_the_wrong_shape_is_left_out(folder, event):
    path = folder / "events.jsonl"
    good = {"event": "sweep_started", "cells": ["a"], "trials_left": [1], "utc": "2026-01-01T00:00:00"}
    path.write_text(f"{json.dumps(event)}\n{json.dumps(good)}\n")
    seen = StudyLog(folder)
    assert seen.update().planned == 1
    assert seen.damaged == 1
    assert seen.update().silent_seconds() > 0, "a time without a zone is read as UTC"


def test_many_readers_of_one_log_see_each_line_once(folder):
    log, seen = EventLog(folder / "events.jsonl"), StudyLog(folder)
    log.write("sweep_started", study="first", cells=["a"], trials_left=[600])
    stop = threading.Event()
    wrong = []

    def read():
        while not stop.is_set():
            state = seen.update()
            try:
                wrong.extend(name for name in state.trials if state.trials[name].cell != "a")
            except RuntimeError as error:
                wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(600):
        log.write("trial_started", cell="a", trial=str(number), settings={"x": number})
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(seen.update().trials) == 600
    assert seen.damaged == 0


def test_a_second_start_forgets_what_was_killed_and_counts_what_was_finished(folder):
    log = EventLog(folder / "events.jsonl")
    log.write("sweep_started", study="first", cells=["a"], trials_left=[3])
    log.write("trial_finished", cell="a", trial="done", settings={}, objective=float("nan"), seconds=1.0)
    log.write("trial_started", cell="a", trial="killed", settings={})
    log.write("sweep_started", study="first", cells=["a"], trials_left=[2])
    state = StudyLog(folder).update()
    assert [trial.name for trial in state.of("a")] == ["done"]
    assert state.planned == 3
    assert state.of("a")[0].objective is None
    later = datetime.fromisoformat(state.last_event) + timedelta(minutes=5)
    assert state.silent_seconds(later.astimezone(UTC)) == 300


def test_stopped_and_interrupted_trials_are_states_of_their_own(folder):
    log, seen = EventLog(folder / "events.jsonl"), StudyLog(folder)
    log.write("sweep_started", study="first", cells=["a"], trials_left=[3], resumed=False, concurrent=1)
    for name in ("one", "two", "three"):
        log.write("trial_started", cell="a", trial=name, settings={"x": name})
    log.write("run_finished", cell="a", trial="one", arm="generate", seed=0, run="r0", seconds=2.0, cached=False)
    log.write("run_finished", cell="a", trial="one", arm="generate", seed=0, run="r0", seconds=0.0, cached=True)
    log.write("trial_stopped", cell="a", trial="one", settings={"x": "one"}, objective=0.4, cost=12.5, seeds=1)
    log.write("run_finished", cell="a", trial="two", arm="generate", seed=0, run="r1", seconds=2.0, cached=False)
    log.write("trial_interrupted", cell="a", trial="two", settings={"x": "two"})
    log.write("host_rested", cell="a", trial="four", settings={})
    state = seen.update()
    one, two, three = state.of("a")
    assert (one.state, one.objective, one.cost, one.runs) == ("stopped", 0.4, 12.5, ("r0",))
    assert (two.state, two.runs) == ("interrupted", ("r1",))
    assert three.state == "running"
    assert seen.damaged == 0, "a kind that is not known is no damage, and makes no trial"
    log.write("trial_started", cell="a", trial="two", settings={"x": "two"})
    assert seen.update().of("a")[1].runs == (), "what the dead worker did is begun again"
    log.write(
        "trial_finished", cell="a", trial="two", settings={"x": "two"}, objective=0.6, cost=9.0, runs=["r1", "r2"]
    )
    two = seen.update().of("a")[1]
    assert (two.state, two.objective, two.cost, two.runs) == ("finished", 0.6, 9.0, ("r1", "r2"))


def test_a_resumed_study_counts_every_trial_once(folder):
    log, seen = EventLog(folder / "events.jsonl"), StudyLog(folder)
    log.write("sweep_started", study="first", cells=["a"], trials_left=[5])
    log.write("trial_stopped", cell="a", trial="weak", settings={}, objective=0.1, cost=1.0, seeds=1)
    log.write("trial_failed", cell="a", trial="unlucky", settings={}, error="no luck")
    log.write("trial_finished", cell="a", trial="good", settings={}, objective=0.7, cost=1.0)
    log.write("trial_started", cell="a", trial="killed", settings={})
    log.write("trial_interrupted", cell="a", trial="lost", settings={})
    log.write("sweep_started", study="first", cells=["a"], trials_left=[2], resumed=True)
    state = seen.update()
    assert [trial.name for trial in state.of("a")] == ["weak", "unlucky", "good"]
    assert state.planned == 5
    # `fewgood resume --retry-failed` has the failed one among those that are left.
    log.write("sweep_started", study="first", cells=["a"], trials_left=[3], resumed=True)
    log.write("trial_started", cell="a", trial="unlucky", settings={})
    state = seen.update()
    assert state.planned == 5
    assert state.of("a", state="running")[0].error is None


def test_objectives_come_from_the_study(folder):
    assert StudyLog(folder).update().objectives == ("gain",)
    document = {"study": {"objectives": ["gain", "cost"], "datasets": []}, "spaces": {"a": {}}}
    (folder / "study.json").write_text(json.dumps(document))
    assert StudyLog(folder).update().objectives == ("gain", "cost")


def test_a_study_that_was_removed_and_made_again_is_read_from_its_start(folder):
    log = EventLog(folder / "events.jsonl")
    log.write("sweep_started", study="first", cells=["a"], trials_left=[1])
    seen = StudyLog(folder)
    assert seen.update().cells == ("a",)
    (folder / "events.jsonl").unlink()
    EventLog(folder / "events.jsonl").write("sweep_started", study="first", cells=["b"], trials_left=[1])
    assert seen.update().cells == ("b",)


def test_studies_are_listed_latest_first(folder):
    assert study_names(folder.parent / "nowhere") == []
    (folder.parent / "second").mkdir()
    EventLog(folder / "events.jsonl").write("x")
    assert study_names(folder.parent) == ["first", "second"]


def trial(objective, **settings):
    return Trial("a", str(settings), settings=settings, state="finished", objective=objective)


def test_importances_find_the_setting_that_matters():
    found = importances(
        [trial(x / 4 + 0.001 * y, x=x, y=y, kind="k", mode=m) for x in range(4) for y in range(3) for m in "ab"]
    )
    assert max(found, key=found.get) == "x"
    assert found["x"] > 0.8
    assert "kind" not in found, "a setting that never changes has no importance"
    assert sum(found.values()) == pytest.approx(1)


def test_too_little_gives_no_importances():
    assert importances([]) is None
    assert importances([trial(0.1 * n, x=n) for n in range(7)]) is None
    assert importances([trial(0.5, x=n) for n in range(20)]) is None
    assert importances([trial(0.1 * n, x=1) for n in range(20)]) is None


def test_the_front_holds_what_nothing_beats():
    def costing(name, objective, cost, state="finished"):
        return Trial("a", name, settings={}, state=state, objective=objective, cost=cost)

    trials = [costing("cheap", 0.6, 1.0), costing("good", 0.8, 5.0), costing("worse", 0.7, 6.0)]
    trials += [costing("same", 0.6, 1.0), costing("early", 0.9, 0.5, "stopped"), costing("unknown", 0.9, None)]
    assert front(trials) == {"cheap", "good"}
    assert front([]) == set()


def test_charts_draw_stopped_and_failed_trials_apart():
    trials = [trial(0.5, x=1), trial(0.7, x=2), trial(0.6, x=3), trial(None, x=4)]
    trials[2].state, trials[3].state = "stopped", "failed"
    drawn = {trace.name: list(trace.x) for trace in figures.history(trials, scheme="light", objective="o").data}
    assert drawn == {"best so far": [1, 2], "finished": [1, 2], "stopped early": [3], "failed": [4]}
    for item in trials:
        item.cost = 3.0
    labels = [axis.label for axis in figures.parallel(trials, objective="objective").data[0].dimensions]
    assert labels == ["x", "cost, seconds", "objective"]
