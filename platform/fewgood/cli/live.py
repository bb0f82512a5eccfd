"""A study while it runs, for people as lines and for machines as JSON lines, both on stderr; and its end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fewgood.cli.common import console, print_json
from fewgood.errors import ExecutionError

if TYPE_CHECKING:
    from fewgood.execution.sweep import SweepOutcome
    from fewgood.store import Home

__all__ = ["Live", "finish"]


@dataclass
class _Cell:
    """What a cell has come to in this start."""

    left: int
    done: int = 0
    failed: int = 0
    stopped: int = 0
    runs: int = 0
    cached: int = 0
    best: float | None = None


class Live:
    """Prints a study's events as they arrive."""

    def __init__(self, json_output: bool) -> None:
        self._json = json_output
        self._cells: dict[str, _Cell] = {}
        self._started = time.monotonic()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """One event of the study's log."""
        if self._json:
            sys.stderr.write(json.dumps(dict(event)) + "\n")
            return
        for line in self._lines(event):
            console.print(line, markup=False, soft_wrap=True)

    def _lines(self, event: Mapping[str, Any]) -> list[str]:
        kind = event["event"]
        if kind == "sweep_started":
            self._started = time.monotonic()
            self._cells = {label: _Cell(left) for label, left in zip(event["cells"], event["trials_left"], strict=True)}
            return _opening(event)
        if kind == "sweep_finished":
            return (
                [] if event["within_budget"] else ["the budget is used up: a later start with a larger one carries on"]
            )
        cell = self._cells.get(event.get("cell", ""))
        if cell is None:
            return []
        named = f"{event['cell']} trial {event['trial']}"
        if kind == "trial_started":
            return [f"  {named} started: {settings_text(event['settings'])}"]
        if kind == "progress":
            return [f"  {named}: {event['stage']} {event['done']}/{event['total']} {event['note']}"]
        if kind == "run_finished":
            cell.runs += 1
            cell.cached += bool(event["cached"])
            return []
        if kind == "trial_interrupted":
            return [f"  {named} lost its worker or host and starts again"]
        if kind == "trial_retried":
            return [f"  {named} failed and is tried again: {event['error']}"]
        return self._end(kind, event, named, cell)

    def _end(self, kind: str, event: Mapping[str, Any], named: str, cell: _Cell) -> list[str]:
        if kind not in ("trial_finished", "trial_stopped", "trial_failed"):
            return []
        cell.done += 1
        if kind == "trial_failed":
            cell.failed += 1
            what = f"FAILED: {event['error']}"
        elif kind == "trial_stopped":
            cell.stopped += 1
            what = f"stopped after {event['seeds']} seeds at objective {event['objective']:.3f}"
        else:
            better = cell.best is None or event["objective"] > cell.best
            cell.best = event["objective"] if better else cell.best
            reused = f"generators reused {event['generators_cached']}/{len(event['generated_runs'])}"
            what = (
                f"objective {event['objective']:.3f}{' (best)' if better else ''} in {event['seconds']:.0f} s, {reused}"
            )
        return [f"[{self._done()}/{self._total()}] {named} {what}", f"    {self._cell_line(event['cell'], cell)}"]

    def _cell_line(self, label: str, cell: _Cell) -> str:
        parts = [f"{label}: {cell.done}/{cell.left} done"]
        if cell.best is not None:
            parts.append(f"best {cell.best:.3f}")
        if cell.runs:
            parts.append(f"{cell.cached} of {cell.runs} runs read from the store")
        parts += [f"{number} {word}" for number, word in ((cell.stopped, "stopped"), (cell.failed, "failed")) if number]
        elapsed = time.monotonic() - self._started
        left = elapsed / self._done() * (self._total() - self._done())
        parts.append(f"about {_duration(left)} left of all")
        return ", ".join(parts)

    def _done(self) -> int:
        return sum(cell.done for cell in self._cells.values())

    def _total(self) -> int:
        return sum(cell.left for cell in self._cells.values())


def finish(outcome: SweepOutcome, where: Home, report_path: Path, *, json_output: bool) -> None:
    """Write the report, print the leaderboard and each cell's best, and say what failed.

    Raises:
        ExecutionError: if no trial finished.
    """
    from fewgood.leaderboard import format_leaderboard, leaderboard
    from fewgood.pictures import write_report
    from fewgood.store import Ledger

    wanted = {run for cell in outcome.cells for trial in cell.finished for run in trial["runs"]}
    name = outcome.study.name
    ledger = Ledger(where)
    ledger.compact_if_many()
    rows = [row for row in ledger.rows() if row["run_id"] in wanted or row["study"] == name]
    write_report(rows, where, report_path, title=f"Study {name}")
    if json_output:
        print_json(_document(outcome, report_path))
    else:
        typer.echo(format_leaderboard(leaderboard(rows), "table"))
        for cell in outcome.cells:
            if cell.best is not None:
                typer.echo(
                    f"best of {len(cell.finished)} for {cell.cell.label}, chosen on the {outcome.study.select_on}: "
                    f"{settings_text(cell.best['settings'])}"
                )
            if len(outcome.study.objectives) > 1:
                for trial in cell.front:
                    typer.echo(
                        f"  front: objective {trial['objective']:.3f} for {trial['cost']:.0f} s: "
                        f"{settings_text(trial['settings'])}"
                    )
        typer.echo(f"report: {report_path}")
    failed = [event for cell in outcome.cells for event in cell.failed]
    if failed:
        message = (
            f"{len(failed)} configurations failed and are recorded; the first says: {failed[0]['error']} "
            f"(fewgood resume {name} --retry-failed starts them again)"
        )
        if not any(cell.finished for cell in outcome.cells):
            raise ExecutionError(message)
        console.print(message, markup=False, soft_wrap=True)


def settings_text(settings: Mapping[str, Any]) -> str:
    """A configuration as `key=value` words; the empty one is the defaults."""
    return " ".join(f"{key}={value}" for key, value in sorted(settings.items())) or "the defaults"


def _document(outcome: SweepOutcome, report_path: Path) -> dict[str, Any]:
    kept = ("trial", "settings", "objective", "cost", "runs")
    return {
        "status": "ok" if outcome.within_budget else "budget used up",
        "study": outcome.study.name,
        "folder": str(outcome.folder),
        "report": str(report_path),
        "cells": [
            {
                "cell": cell.cell.label,
                "trials": len(cell.finished),
                "stopped": len(cell.stopped),
                "failed": len(cell.failed),
                "best": None if cell.best is None else {key: cell.best[key] for key in kept if key in cell.best},
                "front": [{key: trial[key] for key in kept if key in trial} for trial in cell.front]
                if len(outcome.study.objectives) > 1
                else None,
            }
            for cell in outcome.cells
        ],
    }


def _opening(event: Mapping[str, Any]) -> list[str]:
    hosts = event["hosts"]
    cpus = sum(host["cpus"] for host in hosts)
    total = sum(event["trials_left"])
    again = "carries on: " if event["resumed"] else ""
    lines = [
        f"{again}{total} trials over {len(event['cells'])} cells, {event['concurrent']} at once on {_hosts(len(hosts))} "
        f"with {cpus:g} CPUs; Ray was there after {event['start_seconds']:.0f} s"
    ]
    if event.get("dashboard"):
        lines.append(f"Ray's dashboard: {event['dashboard']}; Prometheus metrics: {event.get('metrics') or 'off'}")
    return lines


def _hosts(number: int) -> str:
    return "this machine" if number == 1 else f"{number} hosts"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
