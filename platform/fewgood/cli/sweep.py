"""`fewgood sweep`: a Ray Tune and Optuna search over a study's cells, then the leaderboard and an HTML report."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fewgood.cli.common import (
    HomeOption,
    JsonOption,
    KeywordOption,
    RootOption,
    SetOption,
    begin,
    console,
    print_json,
    split_list,
)
from fewgood.errors import ExecutionError, SpecError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def sweep(
        study_file: Annotated[Path | None, typer.Argument(help="A study as YAML; or use the flags.")] = None,
        name: Annotated[str, typer.Option("--name", help="The study's name.")] = "sweep",
        dataset: Annotated[str, typer.Option("--dataset", help="As for evaluate.")] = "sample",
        root: RootOption = None,
        categories: Annotated[str, typer.Option("--categories", help="Separated by commas.")] = "",
        baselines: Annotated[str, typer.Option("--baselines", help="Separated by commas.")] = "patchcore",
        shots: Annotated[str, typer.Option("--shots", help="Separated by commas.")] = "1",
        seeds: Annotated[str, typer.Option("--seeds", help="Separated by commas.")] = "0",
        controls: Annotated[str, typer.Option("--controls", help="Arms run beside generate.")] = "none,augment",
        trials: Annotated[int, typer.Option("--trials", help="Configurations per cell.")] = 8,
        space: Annotated[str, typer.Option("--space", help="A search space, or a YAML file.")] = "default",
        select_on: Annotated[str, typer.Option("--select-on", help="proxy, or test (marked in every row).")] = "proxy",
        concurrent: Annotated[int | None, typer.Option("--concurrent", help="Trials at once.")] = None,
        keyword: KeywordOption = None,
        settings: SetOption = None,
        address: Annotated[str | None, typer.Option("--address", help="A Ray cluster; none starts one here.")] = None,
        report: Annotated[Path | None, typer.Option("--report", help="Where the HTML report goes.")] = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Search a study's cells; the same command carries on where an earlier start stopped."""
        where = begin(home, json_output=json_output)
        from fewgood.execution.study import load_study, study_from

        if study_file is not None:
            study = load_study(study_file)
        else:
            from fewgood.trials import parse_settings, parse_shots

            if not categories:
                raise SpecError("--categories is empty: name at least one category, or give a study file")
            study = study_from(
                {
                    "name": name,
                    "dataset": dataset,
                    "root": None if root is None else str(root.expanduser().absolute()),
                    "categories": split_list("--categories", categories),
                    "baselines": split_list("--baselines", baselines),
                    "shots": [parse_shots(word) for word in split_list("--shots", shots)],
                    "seeds": split_list("--seeds", seeds),
                    "controls": split_list("--controls", controls),
                    "trials": trials,
                    "space": space,
                    "settings": parse_settings(settings or []),
                    "keyword": keyword,
                    "select_on": select_on,
                    "concurrent": concurrent,
                },
                where="the flags of fewgood sweep",
            )
        # A YAML study may name a space file beside itself.
        space_name = study.space
        if study_file is not None and (study_file.parent / space_name).is_file():
            space_name = str(study_file.parent / space_name)
        from fewgood_spaces import load_space

        loaded = load_space(space_name)
        from fewgood.execution.sweep import check_study, run_sweep

        check_study(study, loaded, where)
        outcome = run_sweep(study, loaded, where, address=address, listener=_Live(study, json_output))
        report_path = report or outcome.folder / "report.html"
        _finish(outcome, where, report_path, json_output=json_output)


class _Live:
    """Prints a study's events as they arrive: people see lines, machines JSON lines, both on stderr."""

    def __init__(self, study: Any, json_output: bool) -> None:
        self._json = json_output
        self._total = study.trials * len(study.cells)
        self._best: dict[str, float] = {}
        self._done = 0
        self._started = time.monotonic()

    def __call__(self, event: Mapping[str, Any]) -> None:
        if self._json:
            sys.stderr.write(json.dumps(dict(event)) + "\n")
            return
        line = self._line(event)
        if line:
            console.print(line, markup=False, soft_wrap=True)

    def _line(self, event: Mapping[str, Any]) -> str | None:
        kind = event["event"]
        if kind == "sweep_started":
            self._total = sum(event["trials_left"])
            return f"{self._total} trials over {len(event['cells'])} cells; Ray is starting its workers"
        if kind == "trial_started":
            return f"  {event['cell']} trial {event['trial']} started: {_settings(event['settings'])}"
        if kind == "progress":
            return f"  {event['cell']} trial {event['trial']}: {event['stage']} {event['done']}/{event['total']} {event['note']}"
        if kind == "trial_failed":
            self._done += 1
            return f"[{self._done}/{self._total}] {event['cell']} trial {event['trial']} FAILED: {event['error']}"
        if kind == "trial_finished":
            self._done += 1
            best = max(self._best.get(event["cell"], -1.0), event["objective"])
            self._best[event["cell"]] = best
            elapsed = time.monotonic() - self._started
            left = elapsed / self._done * (self._total - self._done)
            return (
                f"[{self._done}/{self._total}] {event['cell']} trial {event['trial']} objective "
                f"{event['objective']:.3f} (best {best:.3f}) in {event['seconds']:.0f} s, "
                f"generators reused {event['generators_cached']}/{len(event['generated_runs'])}, about {left:.0f} s left"
            )
        return None


def _finish(outcome: Any, where: Any, report_path: Path, *, json_output: bool) -> None:
    from fewgood.leaderboard import format_leaderboard, leaderboard
    from fewgood.pictures import write_report
    from fewgood.store import Ledger

    wanted = {run for cell in outcome.cells for trial in cell.trials for run in trial["runs"]}
    name = outcome.study.name
    ledger = Ledger(where)
    ledger.compact_if_many()
    rows = [row for row in ledger.rows() if row["run_id"] in wanted or row["study"] == name]
    write_report(rows, where, report_path, title=f"Study {name}")
    document = {
        "status": "ok",
        "study": name,
        "folder": str(outcome.folder),
        "report": str(report_path),
        "cells": [
            {
                "cell": cell.cell.label,
                "trials": len(cell.trials),
                "failed": len(cell.failed),
                "best": None
                if cell.best is None
                else {key: cell.best[key] for key in ("trial", "settings", "objective", "runs")},
            }
            for cell in outcome.cells
        ],
    }
    if json_output:
        print_json(document)
    else:
        typer.echo(format_leaderboard(leaderboard(rows), "table"))
        for cell in outcome.cells:
            if cell.best is not None:
                typer.echo(
                    f"best of {len(cell.trials)} for {cell.cell.label}, chosen on the {outcome.study.select_on}: "
                    f"{_settings(cell.best['settings'])}"
                )
        typer.echo(f"report: {report_path}")
    failed = sum(len(cell.failed) for cell in outcome.cells)
    if failed:
        first = next(event for cell in outcome.cells for event in cell.failed)
        message = f"{failed} configurations failed and are rows of the ledger; the first says: {first['error']}"
        if not any(cell.trials for cell in outcome.cells):
            raise ExecutionError(message)
        console.print(message, markup=False, soft_wrap=True)


def _settings(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(settings.items()))
