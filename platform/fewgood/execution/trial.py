"""One configuration of a study in one cell, with all its seeds and control arms: what a Ray Tune trial runs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fewgood.errors import FewgoodError
from fewgood.execution.events import EventLog
from fewgood.execution.searcher import OBJECTIVE
from fewgood.execution.study import Study
from fewgood.pipeline import run
from fewgood.specs import digest
from fewgood.store.home import Home

__all__ = ["configuration_name", "objective", "run_configuration", "trainable"]


def trainable(config: Mapping[str, Any], *, study: Mapping[str, Any], home: str, events: str) -> None:
    """Ray Tune's entry: `config` is what `CellSearcher.suggest` returned."""
    import torch
    from ray import tune

    parsed = Study.model_validate(dict(study))
    torch.set_num_threads(parsed.cpus_per_trial)
    outcome = run_configuration(
        parsed, int(config["cell"]), dict(config["settings"]), home=Home(Path(home)), events=EventLog(Path(events))
    )
    tune.report({OBJECTIVE: outcome[OBJECTIVE]})


def run_configuration(
    study: Study, cell_index: int, settings: Mapping[str, Any], *, home: Home, events: EventLog
) -> dict[str, Any]:
    """Run the searched arm with every seed, then the controls, and say so in the event log.

    Returns:
        `{"objective", "proxy": [...], "runs": [run ids], "seconds", ...}`.

    Raises:
        FewgoodError: the first run's error; the failed run is in the ledger, and the event log has a `trial_failed`.
    """
    cell = study.cells[cell_index]
    name = configuration_name(cell_index, settings)
    events.write("trial_started", cell=cell.label, trial=name, settings=dict(settings))
    started = time.perf_counter()
    scores, runs, generated, generators_cached = [], [], [], []

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "generator":
            events.write("progress", cell=cell.label, trial=name, stage=stage, done=done, total=total, note=note)

    throttled = _throttle(progress)
    try:
        for arm in (study.arm, *study.controls):
            for seed in study.seeds:
                spec = study.spec(cell, arm=arm, seed=seed, settings=settings)
                searched = arm == study.arm
                result = run(
                    spec, home, progress=throttled, study=study.name, select_on=study.select_on, proxy=searched
                )
                runs.append(result.run_id)
                if searched:
                    generated.append(result.run_id)
                    entry = result.to_json()["stages"].get("generator")
                    generators_cached.append(bool(entry and entry["cached"]))
                    value = result.row["proxy_score"] if study.select_on == "proxy" else result.row["image_auroc"]
                    scores.append(float(value))
    except Exception as error:
        text = " ".join(str(error).split()) if isinstance(error, FewgoodError) else f"{type(error).__name__}: {error}"
        events.write("trial_failed", cell=cell.label, trial=name, settings=dict(settings), error=text[:1000])
        raise
    outcome = {
        OBJECTIVE: objective(scores, study.penalty),
        study.select_on: scores,
        "runs": runs,
        "generated_runs": generated,
        "generators_cached": sum(generators_cached),
        "seconds": round(time.perf_counter() - started, 2),
    }
    events.write("trial_finished", cell=cell.label, trial=name, settings=dict(settings), **outcome)
    return outcome


def objective(scores: list[float], penalty: float) -> float:
    """The mean over seeds minus `penalty` standard errors; with one seed the score itself."""
    mean = statistics.fmean(scores)
    if len(scores) < 2:
        return mean
    return mean - penalty * statistics.stdev(scores) / math.sqrt(len(scores))


def configuration_name(cell_index: int, settings: Mapping[str, Any]) -> str:
    """A short name for one configuration in one cell."""
    return digest({"cell": cell_index, "settings": dict(settings)})[:8]


def _throttle(progress: Any, interval: float = 2.0) -> Any:
    last = {"time": 0.0}

    def report(stage: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if now - last["time"] >= interval:
            last["time"] = now
            progress(stage, done, total, note)

    return report
