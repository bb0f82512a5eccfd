"""A sweep: one Ray Tune run over all cells of a study, with live events, that carries on where an earlier start stopped."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewgood.data import load_category, select_support
from fewgood.errors import ExecutionError, SpecError
from fewgood.execution.events import EventLog
from fewgood.execution.space import Space
from fewgood.execution.study import Cell, Study
from fewgood.store.home import Home

__all__ = ["CellOutcome", "SweepOutcome", "check_study", "run_sweep", "study_folder"]

Listener = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class CellOutcome:
    """What a sweep found in one cell."""

    cell: Cell
    trials: list[dict[str, Any]]
    """The `trial_finished` events, in order of completion, each configuration once."""
    failed: list[dict[str, Any]]
    """The `trial_failed` events of configurations that never finished."""

    @property
    def best(self) -> dict[str, Any] | None:
        """The trial with the highest objective; of equals the first."""
        return max(self.trials, key=lambda trial: trial["objective"], default=None)


@dataclass(frozen=True)
class SweepOutcome:
    """What a sweep found."""

    study: Study
    folder: Path
    cells: list[CellOutcome]


def study_folder(home: Home, study: Study) -> Path:
    """Where a study keeps its file, its Optuna storage and its event log."""
    return home.studies / study.name


def check_study(study: Study, space: Space, home: Home) -> None:
    """Check data, settings and search space before the first trial starts.

    Raises:
        FewgoodError: the first thing that would make every trial of a cell fail.
    """
    for cell in study.cells:
        category = load_category(
            cell.dataset, cell.category, root=None if study.root is None else Path(study.root), home=home.root
        )
        for seed in study.seeds:
            select_support(category, cell.shots, seed)
        if not category.test:
            raise ExecutionError(f"cell {cell.label}: the category has no test images, so a sweep measures nothing")
        for corner in space.corners():
            for arm in (study.arm, *study.controls):
                study.spec(cell, arm=arm, seed=study.seeds[0], settings=corner)
    overlap = sorted(set(space.parameters) & set(study.settings))
    if overlap:
        raise SpecError(
            f"study {study.name!r} fixes {', '.join(overlap)}, which space {space.name!r} searches: "
            "leave it out of the settings, or use another space"
        )


def run_sweep(study: Study, space: Space, home: Home, *, address: str | None, listener: Listener) -> SweepOutcome:
    """Run what is left of a study.

    Args:
        study: What to sweep; trials of an earlier start of the same study count.
        space: The search space.
        home: Where everything is kept; every node must see it.
        address: A Ray cluster; None starts Ray on this machine.
        listener: Called in this process with each event as it arrives.

    Raises:
        ExecutionError: if the study cannot be scheduled on the cluster.
        SpecError: if a study of this name exists with other settings.
    """
    folder = _claim(study, space, home)
    log = EventLog(folder / "events.jsonl")
    known = _outcomes(study, log.path)
    left = [max(study.trials - len(outcome.trials), 0) for outcome in known]
    if sum(left):
        log.skip_to_end()
        log.write("sweep_started", study=study.name, cells=[cell.label for cell in study.cells], trials_left=left)
        seen = [[trial["settings"] for trial in outcome.trials] for outcome in known]
        _tune(study, space, home, log, left, seen, address=address, listener=listener)
        log.write("sweep_finished", study=study.name)
    return SweepOutcome(study, folder, _outcomes(study, log.path))


def _tune(
    study: Study,
    space: Space,
    home: Home,
    log: EventLog,
    left: list[int],
    seen: list[list[dict[str, Any]]],
    *,
    address: str | None,
    listener: Listener,
) -> None:
    from ray import tune

    from fewgood.execution.cluster import connected
    from fewgood.execution.searcher import OBJECTIVE, CellSearcher
    from fewgood.execution.trial import trainable

    with connected(address) as resources:
        concurrent = _concurrency(study, resources)
        searcher = CellSearcher(
            [cell.label for cell in study.cells],
            space,
            trials=left,
            seen=seen,
            seed=study.search_seed,
            storage=log.path.with_name("optuna.journal"),
        )
        bound = tune.with_parameters(
            trainable, study=study.model_dump(mode="json"), home=str(home.root), events=str(log.path)
        )
        tuner = tune.Tuner(
            tune.with_resources(bound, {"CPU": study.cpus_per_trial, "GPU": study.gpus_per_trial}),
            tune_config=tune.TuneConfig(
                metric=OBJECTIVE,
                mode="max",
                search_alg=searcher,
                num_samples=sum(left),
                max_concurrent_trials=concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(name="tune", storage_path=str(log.path.parent / "ray"), verbose=0),
        )
        finished = threading.Event()
        follower = threading.Thread(target=_follow, args=(log, listener, finished), daemon=True)
        follower.start()
        try:
            tuner.fit()
        finally:
            finished.set()
            follower.join(timeout=10)


def _follow(log: EventLog, listener: Listener, finished: threading.Event) -> None:
    while not finished.wait(0.5):
        for event in log.new():
            listener(event)
    for event in log.new():
        listener(event)


def _concurrency(study: Study, resources: Mapping[str, Any]) -> int:
    cpus, gpus = float(resources.get("CPU", 0)), float(resources.get("GPU", 0))
    fits = math.floor(cpus / study.cpus_per_trial)
    if study.gpus_per_trial:
        fits = min(fits, math.floor(gpus / study.gpus_per_trial + 1e-9))
    if fits < 1:
        raise ExecutionError(
            f"a trial asks for {study.cpus_per_trial} CPUs and {study.gpus_per_trial:g} GPUs, the cluster has {cpus:g} "
            f"and {gpus:g}: lower cpus_per_trial or gpus_per_trial in the study, or add a node"
        )
    return min(fits, study.concurrent or fits)


def _claim(study: Study, space: Space, home: Home) -> Path:
    """The study's folder; made with its definition, or found with the same one."""
    folder = study_folder(home, study)
    folder.mkdir(parents=True, exist_ok=True)
    definition = {
        "study": {key: value for key, value in study.model_dump(mode="json").items() if key not in _MAY_CHANGE},
        "space": {key: repr(value) for key, value in space.parameters.items()},
    }
    path = folder / "study.json"
    if path.exists():
        known = json.loads(path.read_text())
        if known != json.loads(json.dumps(definition)):
            raise SpecError(
                f"study {study.name!r} exists in {folder} with other settings: give another --name, "
                "or remove that folder to start over (its runs stay in the ledger)"
            )
        return folder
    partial = folder / ".study.json.partial"
    partial.write_text(json.dumps(definition, indent=1))
    partial.replace(path)
    return folder


_MAY_CHANGE = frozenset({"trials", "concurrent", "cpus_per_trial", "gpus_per_trial", "root"})
"""What a later start of the same study may say differently: more trials, other resources, the same data elsewhere."""


def _outcomes(study: Study, path: Path) -> list[CellOutcome]:
    finished: dict[str, dict[str, dict[str, Any]]] = {}
    failed: dict[str, dict[str, dict[str, Any]]] = {}
    for event in EventLog(path).new():
        if event["event"] == "trial_finished":
            finished.setdefault(event["cell"], {}).setdefault(event["trial"], event)
        elif event["event"] == "trial_failed":
            failed.setdefault(event["cell"], {})[event["trial"]] = event
    return [
        CellOutcome(
            cell,
            list(finished.get(cell.label, {}).values()),
            [event for name, event in failed.get(cell.label, {}).items() if name not in finished.get(cell.label, {})],
        )
        for cell in study.cells
    ]
