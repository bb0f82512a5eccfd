"""A sweep: one Ray Tune run over all cells of a study, with live events, that carries on where an earlier start stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fewgood.errors import ExecutionError
from fewgood.execution.driver import Driver, Listener, Watch
from fewgood.execution.outcomes import CellOutcome, outcomes, spent_seconds
from fewgood.execution.preflight import check_hosts, check_study
from fewgood.execution.schedule import concurrency
from fewgood.execution.searcher import COST, OBJECTIVE, CellPlan, Known
from fewgood.execution.space import Space
from fewgood.execution.study import Study
from fewgood.execution.study_folder import StudyFolder
from fewgood.specs import canonical_json
from fewgood.store import Home

__all__ = ["SweepOutcome", "planned_configurations", "run_sweep"]


@dataclass(frozen=True)
class SweepOutcome:
    """What a sweep found."""

    study: Study
    folder: Path
    cells: list[CellOutcome]
    within_budget: bool
    """False when time or cost ended it before every trial was started; a later start with more of it carries on."""


def run_sweep(
    study: Study,
    spaces: Mapping[str, Space],
    home: Home,
    *,
    address: str | None,
    listener: Listener,
    retry_failed: bool = False,
) -> SweepOutcome:
    """Run what is left of a study.

    Args:
        study: What to sweep, with its categories named; trials of an earlier start of the same study count.
        spaces: Each cell's search space by its label.
        home: Where everything is kept; with `home.store` every host has a home of its own, else all see this one.
        address: A Ray cluster; None takes `RAY_ADDRESS`, else starts Ray on this machine.
        listener: Called in this process with each event as it arrives.
        retry_failed: Start configurations again that an earlier start recorded as failed.

    Raises:
        ExecutionError: if the study cannot be scheduled on the cluster, or the cluster is lost while it runs.
        FewgoodError: what the checks before the first trial find.
    """
    fingerprints = check_study(study, spaces, home)
    folder = StudyFolder(home, study.name)
    with folder.driven():
        folder.claim(study, spaces)
        before = list(folder.log.read())
        found = outcomes(study, before, retry_failed=retry_failed)
        plans = [_plan(study, spaces[one.cell.label], one) for one in found]
        budget = _Budget(study, spent_seconds(before))
        if any(plan.trials for plan in plans) and budget.may_start():
            plans = [_warmed(plan, study, home) for plan in plans]
            _tune(
                study,
                plans,
                home,
                folder,
                budget,
                fingerprints,
                resumed=bool(before),
                address=address,
                listener=listener,
            )
        after = outcomes(study, folder.log.read())
    return SweepOutcome(study, folder.path, after, budget.left())


def planned_configurations(study: Study, space: Space) -> list[dict[str, Any]] | None:
    """The configurations that a grid or list fixes, at most as many as the budget has trials; None for a search."""
    if study.search == "tpe":
        return None
    configurations = study.configurations if study.search == "list" else space.grid()
    return [dict(settings) for settings in configurations][: study.budget.trials]


def _plan(study: Study, space: Space, found: CellOutcome) -> CellPlan:
    fixed = planned_configurations(study, space)
    names = {canonical_json(settings) for settings in found.done}
    total = min(study.budget.trials, space.size() or study.budget.trials) if fixed is None else len(fixed)
    left = max(total - len(found.done), 0)
    first = [*found.interrupted, *(fixed or ())]
    return CellPlan(
        found.cell.label,
        space,
        left,
        first=[settings for settings in first if canonical_json(settings) not in names],
        searched=fixed is None,
        done=found.done,
        known=[Known(trial["settings"], trial[OBJECTIVE], trial.get(COST)) for trial in found.finished],
    )


def _warmed(plan: CellPlan, study: Study, home: Home) -> CellPlan:
    """The plan with what earlier studies found in the same cell, chosen in the same way.

    Raises:
        SpecError: if an earlier study does not exist.
        ExecutionError: if it was selected on something else.
    """
    warm: list[Known] = []
    for name in study.warm_start:
        folder = StudyFolder(home, name)
        earlier, _ = folder.load()
        if (earlier.select_on, earlier.arm, earlier.penalty) != (study.select_on, study.arm, study.penalty):
            raise ExecutionError(
                f"warm_start {name!r} selected arm {earlier.arm} on {earlier.select_on} with penalty {earlier.penalty:g}, "
                f"this study {study.arm} on {study.select_on} with {study.penalty:g}: their objectives do not compare"
            )
        for found in outcomes(earlier, folder.log.read()):
            if found.cell.label == plan.label:
                warm += [Known(trial["settings"], trial[OBJECTIVE], trial.get(COST)) for trial in found.finished]
    return replace(plan, warm=warm)


class _Budget:
    """Whether another trial may be started."""

    def __init__(self, study: Study, spent: Mapping[str, float]) -> None:
        self._budget = study.budget
        self._spent = dict(spent)
        self._started = time.monotonic()
        self._refused = False

    def add(self, event: Mapping[str, Any]) -> None:
        """Count a finished run."""
        if event["event"] == "run_finished":
            for name in self._spent:
                self._spent[name] += float(event.get(name) or 0.0)

    def may_start(self) -> bool:
        """Ask before each trial."""
        limits = (
            (self._budget.minutes, time.monotonic() - self._started),
            (self._budget.cpu_minutes, self._spent["cpu_seconds"]),
            (self._budget.gpu_minutes, self._spent["gpu_seconds"]),
        )
        if any(limit is not None and seconds >= 60 * limit for limit, seconds in limits):
            self._refused = True
        return not self._refused

    def left(self) -> bool:
        """Whether no trial was refused."""
        return not self._refused


def _tune(
    study: Study,
    plans: Sequence[CellPlan],
    home: Home,
    folder: StudyFolder,
    budget: _Budget,
    fingerprints: Mapping[str, str],
    *,
    resumed: bool,
    address: str | None,
    listener: Listener,
) -> None:
    from ray import tune

    from fewgood.execution.cluster import connected, hosts_before
    from fewgood.execution.inbox import Inbox
    from fewgood.execution.leases import RayLeases
    from fewgood.execution.scheduler import CellScheduler
    from fewgood.execution.searcher import CellSearcher
    from fewgood.execution.trial import Place, trainable

    if (expected := hosts_before(address)) is not None:
        concurrency(study, expected)  # what has no room here is refused before Ray starts
    starting = time.monotonic()
    with connected(address) as cluster:
        hosts = cluster.hosts()
        concurrent = concurrency(study, hosts)
        place = Place(str(home.root), home.store, cluster.here)
        check_hosts(study, cluster, hosts, place, fingerprints)
        inbox = Inbox()
        labels = [plan.label for plan in plans]

        def heard(event: Mapping[str, Any]) -> None:
            budget.add(event)
            listener(event)

        driver = Driver(folder, labels, inbox, heard)
        driver.emit(
            "sweep_started",
            study=study.name,
            cells=labels,
            trials_left=[plan.trials for plan in plans],
            resumed=resumed,
            concurrent=concurrent,
            hosts=[{"address": host.address, "cpus": host.cpus, "gpus": host.gpus} for host in hosts],
            dashboard=cluster.dashboard,
            metrics=cluster.metrics,
            start_seconds=round(time.monotonic() - starting, 1),
        )
        searcher = CellSearcher(
            plans,
            seed=study.search_seed,
            storage=folder.optuna,
            objectives=len(study.objectives),
            restarts=study.resources.restarts,
            may_start=budget.may_start,
        )
        bound = tune.with_parameters(
            trainable,
            study=study.model_dump(mode="json"),
            cells=labels,
            place=place,
            reporter=inbox,
            leases=RayLeases.start(),
        )
        storage = home.shared("studies", study.name, "tune")
        tuner = tune.Tuner(
            tune.with_resources(bound, {"CPU": study.resources.cpus_per_trial, "GPU": study.resources.gpus_per_trial}),
            tune_config=tune.TuneConfig(
                metric=OBJECTIVE,
                mode="max",
                search_alg=searcher,
                scheduler=CellScheduler(len(study.seeds)) if study.stops_early else None,
                num_samples=-1,  # the searcher says when it is finished
                max_concurrent_trials=concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=f"start-{int(time.time())}",
                storage_path=storage.path,
                storage_filesystem=storage.filesystem,
                callbacks=[driver.callback(searcher.gave_up)],
                verbose=0,
            ),
        )
        with driver.following(Watch(study, cluster)):
            tuner.fit()
        driver.emit("sweep_finished", study=study.name, within_budget=budget.left())
        folder.publish()
