"""Studies as the dashboard sees them: a study's definition and its event log, read while it runs and never written."""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["StudyLog", "StudyState", "Trial", "importances", "study_names"]

_HEAD = 256
"""Bytes by which a log is known again; the first line holds the time of the first start."""

_MANY = 8
"""Finished trials of a cell from which importances are computed."""


@dataclass
class Trial:
    """One configuration in one cell, as far as it got."""

    cell: str
    name: str
    settings: dict[str, Any]
    state: str = "running"
    """running, finished or failed."""
    objective: float | None = None
    seconds: float | None = None
    error: str | None = None
    started: str = ""
    ended: str = ""
    progress: str = ""
    """The stage that is running, and how far it is."""
    runs: tuple[str, ...] = ()


@dataclass
class StudyState:
    """What a study's files say."""

    name: str
    cells: tuple[str, ...] = ()
    planned: int | None = None
    """Trials that the last start set out to run."""
    running: bool = False
    last_event: str = ""
    select_on: str = "proxy"
    trials: dict[tuple[str, str], Trial] = field(default_factory=dict)
    order: list[tuple[str, str]] = field(default_factory=list)
    """Keys of `trials` in the order of their first start."""

    def of(self, cell: str, *, state: str | None = None) -> list[Trial]:
        """The trials of a cell in the order of their start."""
        found = [self.trials[key] for key in self.order if key[0] == cell]
        return [trial for trial in found if state is None or trial.state == state]

    def count(self, state: str) -> int:
        """How many trials are in a state."""
        return sum(trial.state == state for trial in self.trials.values())

    def silent_seconds(self, now: datetime | None = None) -> float | None:
        """Seconds since the last event; None when there is none."""
        try:
            last = datetime.fromisoformat(self.last_event)
        except ValueError:
            return None
        last = last if last.tzinfo else last.replace(tzinfo=UTC)
        return max(0.0, ((now or datetime.now(UTC)) - last).total_seconds())


class StudyLog:
    """Follows one study's `events.jsonl`; a line that is still being written waits, a damaged one is counted and left out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offset = 0
        self._head = b""
        self.damaged = 0
        self.state = StudyState(folder.name)
        self._lock = threading.Lock()

    def update(self) -> StudyState:
        """The study's state now, as a copy; reads only what was appended since the last call. Any thread may ask."""
        with self._lock:
            self._catch_up()
            return deepcopy(self.state)

    def _catch_up(self) -> None:
        try:
            with (self._folder / "events.jsonl").open("rb") as handle:
                head = handle.read(_HEAD)
                size = handle.seek(0, os.SEEK_END)
                if size < self._offset or not head.startswith(self._head):
                    # Another log under the same name: the study was removed and begun again.
                    self._offset, self.damaged = 0, 0
                    self.state = StudyState(self._folder.name)
                self._head = head
                if self._offset == 0:
                    self._define()
                handle.seek(self._offset)
                for line in handle:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    self._take(line)
        except OSError:
            self._define()

    def _define(self) -> None:
        try:
            study = json.loads((self._folder / "study.json").read_text())["study"]
            self.state.select_on = str(study.get("select_on", "proxy"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return

    def _take(self, line: bytes) -> None:
        try:
            self._apply(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            self.damaged += 1

    def _apply(self, event: Mapping[str, Any]) -> None:
        kind = str(event["event"])
        self.state.last_event = str(event.get("utc", ""))
        if kind == "sweep_started":
            self.state.cells = tuple(str(cell) for cell in event.get("cells", ()))
            done = self.state.count("finished")
            self.state.planned = done + sum(int(left) for left in event.get("trials_left", ()))
            self.state.running = True
            # What an earlier start left half done was killed with it.
            for key, trial in list(self.state.trials.items()):
                if trial.state == "running":
                    del self.state.trials[key]
                    self.state.order.remove(key)
        elif kind == "sweep_finished":
            self.state.running = False
        elif "cell" in event and "trial" in event:
            self._trial(kind, event)

    def _trial(self, kind: str, event: Mapping[str, Any]) -> None:
        # All that can be wrong with an event is found before anything is changed by it.
        key = (str(event["cell"]), str(event["trial"]))
        settings = dict(event.get("settings") or {})
        value = event.get("objective")
        objective = float(value) if isinstance(value, int | float) and math.isfinite(value) else None
        runs = tuple(str(run) for run in event.get("runs") or ())
        if key not in self.state.trials:
            self.state.trials[key] = Trial(*key, settings=settings)
            self.state.order.append(key)
            if key[0] not in self.state.cells:
                self.state.cells = (*self.state.cells, key[0])
        trial = self.state.trials[key]
        if kind == "trial_started":
            trial.state, trial.started, trial.error = "running", str(event.get("utc", "")), None
            trial.settings = settings or trial.settings
        elif kind == "progress":
            trial.progress = f"{event.get('stage', '')} {event.get('done', '')}/{event.get('total', '')}"
        elif kind == "trial_finished":
            trial.state, trial.progress, trial.ended = "finished", "", str(event.get("utc", ""))
            trial.objective, trial.runs, trial.seconds = objective, runs, event.get("seconds")
        elif kind == "trial_failed":
            trial.state, trial.progress, trial.ended = "failed", "", str(event.get("utc", ""))
            trial.error = str(event.get("error", "no message was recorded"))


def study_names(folder: Path) -> list[str]:
    """The studies under a home's `studies` folder, the one with the latest event first."""
    try:
        found = [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []

    def latest(path: Path) -> float:
        try:
            return (path / "events.jsonl").stat().st_mtime
        except OSError:
            return 0.0

    return [path.name for path in sorted(found, key=lambda path: (-latest(path), path.name))]


def importances(trials: Sequence[Trial]) -> dict[str, float] | None:
    """How much each setting moved the objective, summing to 1: Optuna's fANOVA over the finished trials of one cell.

    Returns:
        Setting -> importance, or None with fewer than eight finished trials, a constant objective, or no setting that
        takes two values.
    """
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    done = [trial for trial in trials if trial.state == "finished" and trial.objective is not None]
    shared = set.intersection(*(set(trial.settings) for trial in done)) if done else set()
    if len(done) < _MANY or len({trial.objective for trial in done}) < 2:
        return None
    distributions: dict[str, BaseDistribution] = {}
    for name in sorted(shared):
        values = [trial.settings[name] for trial in done]
        if len({json.dumps(value, sort_keys=True) for value in values}) < 2:
            continue
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            distributions[name] = FloatDistribution(float(min(values)), float(max(values)))
        else:
            choices = sorted({json.dumps(value, sort_keys=True) for value in values})
            distributions[name] = CategoricalDistribution(choices)
    if not distributions:
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for trial in done:
        params = {
            name: float(trial.settings[name])
            if isinstance(kind, FloatDistribution)
            else json.dumps(trial.settings[name], sort_keys=True)
            for name, kind in distributions.items()
        }
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=trial.objective))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
