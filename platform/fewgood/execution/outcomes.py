"""What a study's event log says of each cell: which configurations finished, were stopped, failed or were interrupted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fewgood.execution.searcher import COST, OBJECTIVE
from fewgood.execution.study import Study
from fewgood.execution.study_parts import Cell

__all__ = ["CellOutcome", "outcomes", "spent_seconds"]

_ENDS = {"trial_finished": "finished", "trial_stopped": "stopped", "trial_failed": "failed"}


@dataclass(frozen=True)
class CellOutcome:
    """What a sweep found in one cell; every configuration is in one of the lists, once."""

    cell: Cell
    finished: list[dict[str, Any]] = field(default_factory=list)
    """The `trial_finished` events, in order of completion."""
    stopped: list[dict[str, Any]] = field(default_factory=list)
    """The `trial_stopped` events: configurations that early stopping gave up between their seeds."""
    failed: list[dict[str, Any]] = field(default_factory=list)
    """The last `trial_failed` event of configurations that never finished."""
    interrupted: list[dict[str, Any]] = field(default_factory=list)
    """Settings of configurations that were started and came to no end."""

    @property
    def done(self) -> list[dict[str, Any]]:
        """Settings of the configurations that came to an end."""
        return [event["settings"] for event in (*self.finished, *self.stopped, *self.failed)]

    @property
    def best(self) -> dict[str, Any] | None:
        """The finished trial with the highest objective; of equals the cheaper one, then the first by name."""
        return min(
            self.finished,
            key=lambda trial: (-trial[OBJECTIVE], trial.get(COST, 0.0), trial["trial"]),
            default=None,
        )

    @property
    def front(self) -> list[dict[str, Any]]:
        """The finished trials that no other beats in both objective and cost, the cheapest first."""
        front: list[dict[str, Any]] = []
        for trial in sorted(self.finished, key=lambda one: (one.get(COST, 0.0), -one[OBJECTIVE], one["trial"])):
            if not front or trial[OBJECTIVE] > front[-1][OBJECTIVE]:
                front.append(trial)
        return front


def outcomes(study: Study, events: Iterable[Mapping[str, Any]], *, retry_failed: bool = False) -> list[CellOutcome]:
    """The state of each cell of a study.

    Args:
        study: The study.
        events: Its log, the oldest first.
        retry_failed: Count failed configurations as interrupted, so that they are started again.
    """
    ends: dict[str, dict[str, dict[str, Any]]] = {}
    started: dict[str, dict[str, dict[str, Any]]] = {}
    for event in events:
        kind = str(event["event"])
        if kind == "trial_started":
            started.setdefault(event["cell"], {})[event["trial"]] = dict(event["settings"])
        elif kind in _ENDS:
            mine = ends.setdefault(event["cell"], {})
            # The first end counts, but for a failure, which a later start may have put right.
            if event["trial"] not in mine or mine[event["trial"]]["event"] == "trial_failed":
                mine[event["trial"]] = dict(event)
    found = []
    for cell in study.cells:
        ended = ends.get(cell.label, {})
        lists: dict[str, list[dict[str, Any]]] = {
            name: [event for event in ended.values() if _ENDS[event["event"]] == name] for name in _ENDS.values()
        }
        interrupted = [settings for name, settings in started.get(cell.label, {}).items() if name not in ended]
        if retry_failed:
            interrupted += [event["settings"] for event in lists["failed"]]
            lists["failed"] = []
        found.append(CellOutcome(cell, lists["finished"], lists["stopped"], lists["failed"], interrupted))
    return found


def spent_seconds(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """CPU and GPU seconds of the runs in a log: `{"cpu_seconds", "gpu_seconds"}`."""
    spent = {"cpu_seconds": 0.0, "gpu_seconds": 0.0}
    for event in events:
        if event["event"] == "run_finished":
            for name in spent:
                spent[name] += float(event.get(name) or 0.0)
    return spent
