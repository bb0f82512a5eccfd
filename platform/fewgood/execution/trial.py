"""One configuration of a study in one cell, with all its seeds and control arms: what a Ray Tune trial runs."""

from __future__ import annotations

import logging
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewgood.errors import FewgoodError
from fewgood.execution.inbox import Reporter
from fewgood.execution.searcher import COST, OBJECTIVE, PHASE
from fewgood.execution.study import Study
from fewgood.execution.study_parts import Cell
from fewgood.hardware import return_free_memory
from fewgood.pipeline import TrialResult, run
from fewgood.specs import GeneratorSpec, digest
from fewgood.stages.context import GeneratorTraining
from fewgood.store import Home, Leases

__all__ = ["Place", "configuration_name", "objective", "run_configuration", "trainable"]

logger = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]

_BACKOFF_SECONDS = 2.0
"""Pause before a failed trial is tried again, doubled each time: a store that was away may be back."""


@dataclass(frozen=True)
class Place:
    """Where a trial works, as the driver describes it to workers on any host."""

    root: str
    """The driver's home folder."""
    store: str | None
    """The shared store; None where every host sees the driver's home."""
    node: str
    """The driver's host, as Ray names it."""

    def home(self) -> Home:
        """The home of the process that asks: the driver's on its own host or without a shared store, else the host's own."""
        import ray

        if self.store is None or ray.get_runtime_context().get_node_id() == self.node:
            return Home(Path(self.root), store=self.store)
        own = os.environ.get("FEWGOOD_HOME")
        return Home.locate(Path(own) if own else None, store=self.store)


def trainable(
    config: Mapping[str, Any],
    *,
    study: Mapping[str, Any],
    cells: list[str],
    place: Place,
    reporter: Reporter,
    leases: Leases | None,
) -> None:
    """Ray Tune's entry: `config` is what `CellSearcher.suggest` returned; `cells` are the searcher's labels."""
    import torch
    from ray import tune

    return_free_memory()  # this process ran other trials before
    parsed = Study.model_validate(dict(study))
    torch.set_num_threads(parsed.resources.cpus_per_trial)
    cell = next(cell for cell in parsed.cells if cell.label == cells[int(config["cell"])])
    settings = dict(config["settings"])
    name = configuration_name(cell.label, settings)
    home = place.home().prepare()

    def tell(event: str, **details: Any) -> None:
        reporter(event, cell=cell.label, trial=name, **details)

    error = ""
    for attempt in range(parsed.retries + 1):
        try:
            run_configuration(
                parsed,
                cell,
                settings,
                home=home,
                report=tune.report,
                tell=tell,
                leases=leases,
                training=_training(parsed, home),
            )
            return
        except FewgoodError as failure:
            error = " ".join(str(failure).split())
        except Exception as failure:
            logger.exception("trial %s of %s failed", name, cell.label)
            error = f"{type(failure).__name__}: {' '.join(str(failure).split())}"
        if attempt < parsed.retries:
            tell("trial_retried", error=error[:1000], attempt=attempt + 1)
            time.sleep(_BACKOFF_SECONDS * 2**attempt)
    tune.report({PHASE: "failed", "seeds": 0, OBJECTIVE: -1.0, COST: 0.0, "error": error[:1000]})


def run_configuration(
    study: Study,
    cell: Cell,
    settings: Mapping[str, Any],
    *,
    home: Home,
    report: Report,
    tell: Reporter,
    leases: Leases | None = None,
    training: Callable[[GeneratorSpec], GeneratorTraining | None] = lambda _: None,
) -> None:
    """Run the searched arm with every seed, then the controls.

    Args:
        study: What the study says.
        cell: One of its cells.
        settings: The configuration.
        home: Where this host keeps everything.
        report: Gets `{"phase": "seeds", "objective", "cost", "seeds"}` after each seed of the searched arm, and at the end the
            same with `"phase": "finished"` and the runs. It may end the process: then the configuration is stopped.
        tell: Gets `progress` and `run_finished` events.
        leases: Who may make an artifact, where several hosts might.
        training: Says for a generator how it is trained; None trains in this process.

    Raises:
        FewgoodError: the first run's error; the failed run is in the ledger.
    """
    started = time.perf_counter()
    outcome = _Outcome(study)
    progress = _throttled(tell)

    def one(arm: str, seed: int) -> TrialResult:
        spec = study.spec(cell, arm=arm, seed=seed, settings=settings)
        result = run(
            spec,
            home,
            progress=progress,
            study=study.name,
            select_on=study.select_on,
            proxy=arm == study.arm,
            leases=leases,
            training=training(spec.generator),
        )
        tell("run_finished", arm=arm, seed=seed, run=result.run_id, **_spent(result))
        return result

    for number, seed in enumerate(study.seeds, start=1):
        outcome.add(one(study.arm, seed))
        report({PHASE: "seeds", "seeds": number, **outcome.values()})
    for arm in study.controls:
        for seed in study.seeds:
            outcome.runs.append(one(arm, seed).run_id)
    report(
        {
            PHASE: "finished",
            "seeds": len(study.seeds),
            **outcome.values(),
            study.select_on: outcome.scores,
            "runs": outcome.runs,
            "generated_runs": outcome.generated,
            "generators_cached": outcome.generators_cached,
            "seconds": round(time.perf_counter() - started, 2),
        }
    )


class _Outcome:
    """What the searched arm's seeds gave so far."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self.scores: list[float] = []
        self.costs: list[float] = []
        self.runs: list[str] = []
        self.generated: list[str] = []
        self.generators_cached = 0

    def add(self, result: TrialResult) -> None:
        row = result.row
        self.runs.append(result.run_id)
        self.generated.append(result.run_id)
        generator = result.to_json()["stages"].get("generator")
        self.generators_cached += bool(generator and generator["cached"])
        self.scores.append(float(row["proxy_score"] if self._study.select_on == "proxy" else row["image_auroc"]))
        self.costs.append(float(row["seconds"]) + float(row["reused_seconds"]))

    def values(self) -> dict[str, float]:
        return {
            OBJECTIVE: objective(self.scores, self._study.penalty),
            COST: round(statistics.fmean(self.costs), 2),
        }


def objective(scores: list[float], penalty: float) -> float:
    """The mean over seeds minus `penalty` standard errors; with one seed the score itself."""
    mean = statistics.fmean(scores)
    if len(scores) < 2:
        return mean
    return mean - penalty * statistics.stdev(scores) / math.sqrt(len(scores))


def configuration_name(label: str, settings: Mapping[str, Any]) -> str:
    """A short name for one configuration in the cell of that label."""
    return digest({"cell": label, "settings": dict(settings)})[:8]


def _spent(result: TrialResult) -> dict[str, Any]:
    stages = result.to_json()["stages"]
    return {
        "seconds": result.row["seconds"],
        "cpu_seconds": result.row["cpu_seconds"],
        "gpu_seconds": result.row["gpu_seconds"],
        "cached": all(entry["cached"] for entry in stages.values()),
    }


def _training(study: Study, home: Home) -> Callable[[GeneratorSpec], GeneratorTraining | None]:
    """How the study says that generators are trained."""
    from fewgood.execution.train import choose_training

    choice, storage = study.training, home.shared("train")

    def training(spec: GeneratorSpec) -> GeneratorTraining | None:
        return choose_training(
            spec,
            mode=choice.mode,
            workers=choice.workers,
            cpus_per_worker=choice.cpus_per_worker,
            gpus_per_worker=choice.gpus_per_worker,
            storage_path=storage.path,
            storage_filesystem=storage.filesystem,
            checkpoint_every=choice.checkpoint_every,
            max_failures=choice.restarts,
            micro_batch=choice.micro_batch,
        )

    return training


def _throttled(tell: Reporter, interval: float = 2.0) -> Any:
    last = {"time": 0.0}

    def report(stage: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if stage == "generator" and now - last["time"] >= interval:
            last["time"] = now
            tell("progress", stage=stage, done=done, total=total, note=note)

    return report
