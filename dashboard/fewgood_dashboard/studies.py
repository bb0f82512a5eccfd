"""Studies as the dashboard sees them: a study's definition and its event log, read while it runs and never written."""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["ENDED", "StudyLog", "StudyState", "Trial", "study_names"]

_HEAD = 256
"""Bytes by which a log is known again; the first line holds the time of the first start."""


@dataclass
class Trial:
    """One configuration in one cell, as far as it got."""

    cell: str
    name: str
    settings: dict[str, Any]
    state: str = "running"
    """running, finished, stopped (given up between its seeds), failed, or interrupted (its worker died; it comes again)."""
    objective: float | None = None
    """The mean over the seeds that were run; all of them where the trial is finished."""
    cost: float | None = None
    """Seconds that a run of the searched arm takes when nothing is reused."""
    seconds: float | None = None
    error: str | None = None
    started: str = ""
    ended: str = ""
    progress: str = ""
    """The stage that is running, and how far it is."""
    runs: tuple[str, ...] = ()
    """The runs that have ended so far."""


ENDED = ("finished", "stopped", "failed")
"""States that a trial stays in, unless a later start tries it again."""


@dataclass
class StudyState:
    """What a study's files say."""

    name: str
    cells: tuple[str, ...] = ()
    left: int | None = None
    """Trials that the last start set out to run; None before a start."""
    earlier: set[tuple[str, str]] = field(default_factory=set)
    """Keys of the trials that ended before the last start and were not tried again."""
    running: bool = False
    last_event: str = ""
    select_on: str = "proxy"
    objectives: tuple[str, ...] = ("gain",)
    """What the search optimises: gain, or gain and cost."""
    trials: dict[tuple[str, str], Trial] = field(default_factory=dict)
    order: list[tuple[str, str]] = field(default_factory=list)
    """Keys of `trials` in the order of their first start."""

    @property
    def planned(self) -> int | None:
        """Trials that there will be when the last start has ended as it set out to; None before a start."""
        return None if self.left is None else len(self.earlier) + self.left

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
            objectives = study.get("objectives")
            if isinstance(objectives, list) and objectives:
                self.state.objectives = tuple(str(name) for name in objectives)
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
            self.state.left = sum(int(left) for left in event.get("trials_left", ()))
            self.state.running = True
            # What an earlier start left half done was killed with it.
            for key, trial in list(self.state.trials.items()):
                if trial.state not in ENDED:
                    del self.state.trials[key]
                    self.state.order.remove(key)
            self.state.earlier = set(self.state.trials)
        elif kind == "sweep_finished":
            self.state.running = False
        elif kind in _TRIAL_EVENTS:
            self._trial(kind, event)

    def _trial(self, kind: str, event: Mapping[str, Any]) -> None:
        # All that can be wrong with an event is found before anything is changed by it.
        key = (str(event["cell"]), str(event["trial"]))
        settings = dict(event.get("settings") or {})
        objective, cost, seconds = (_number(event.get(name)) for name in ("objective", "cost", "seconds"))
        run = str(event["run"]) if kind == "run_finished" else ""
        runs = tuple(str(run) for run in event.get("runs") or ())
        if key not in self.state.trials:
            self.state.trials[key] = Trial(*key, settings=settings)
            self.state.order.append(key)
            if key[0] not in self.state.cells:
                self.state.cells = (*self.state.cells, key[0])
        trial = self.state.trials[key]
        if kind == "trial_started":
            self.state.earlier.discard(key)
            trial.state, trial.started, trial.error = "running", str(event.get("utc", "")), None
            trial.settings, trial.runs = settings or trial.settings, ()
        elif kind == "progress":
            trial.progress = f"{event.get('stage', '')} {event.get('done', '')}/{event.get('total', '')}"
        elif kind == "run_finished":
            trial.runs = trial.runs if run in trial.runs else (*trial.runs, run)
        elif kind == "trial_interrupted":
            trial.state, trial.progress = "interrupted", ""
        else:
            trial.state, trial.progress, trial.ended = _END_OF[kind], "", str(event.get("utc", ""))
            trial.objective, trial.cost, trial.seconds = objective, cost, seconds
            trial.runs = runs or trial.runs
            if kind == "trial_failed":
                trial.error = str(event.get("error", "no message was recorded"))


_END_OF = {"trial_finished": "finished", "trial_stopped": "stopped", "trial_failed": "failed"}
_TRIAL_EVENTS = frozenset({"trial_started", "progress", "run_finished", "trial_interrupted", *_END_OF})
"""Events about one trial; what a later version writes besides is passed over."""


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


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
