"""What a study would run, what of it is there already, and about how long the rest takes, from times measured here."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewgood.data import load_category
from fewgood.execution.outcomes import outcomes
from fewgood.execution.space import Space
from fewgood.execution.study import Study
from fewgood.execution.study_folder import StudyFolder
from fewgood.execution.study_parts import Cell
from fewgood.execution.sweep import planned_configurations
from fewgood.pipeline import open_context, run_id
from fewgood.specs import GENERATING_ARMS, TrialSpec
from fewgood.stages.generator import generator_node
from fewgood.store import Home, Ledger

__all__ = ["CellForecast", "StudyForecast", "plan_study", "plan_text"]


@dataclass(frozen=True)
class CellForecast:
    """What one cell would take."""

    cell: str
    trials: int
    """Configurations of the study; for a search its budget, at most the size of its space."""
    done: int
    """Of them at an end already."""
    runs: int
    """Single runs of all trials: every arm and seed; at most, where arms ignore the searched settings and repeat."""
    runs_cached: int | None
    """Of them in the ledger; None for a search, which has not chosen yet."""
    generators: int
    """Different generators, at most."""
    generators_cached: int
    """Of them in the store."""
    seconds: float | None
    """CPU time of what is left, from runs measured in this home; None when there are none to go by."""


@dataclass(frozen=True)
class StudyForecast:
    """What a study would take."""

    study: str
    search: str
    cells: tuple[CellForecast, ...]
    concurrent: int
    basis: str
    """Where the times come from."""

    @property
    def seconds(self) -> float | None:
        """Wall seconds of the whole study; None when a cell has no times to go by."""
        parts = [cell.seconds for cell in self.cells]
        return None if None in parts else sum(part or 0.0 for part in parts) / self.concurrent

    def to_json(self) -> dict[str, Any]:
        """The document that `fewgood plan --json` prints."""
        return {**dataclasses.asdict(self), "seconds": self.seconds}


def plan_study(
    study: Study, spaces: Mapping[str, Space], home: Home, *, concurrent: int | None = None
) -> StudyForecast:
    """Look up what is there and add up what is not; nothing is computed and nothing written but the sample set.

    Raises:
        FewgoodError: for data, settings or spaces that cannot be used.
    """
    folder = StudyFolder(home, study.name)
    found = outcomes(study, folder.log.read())
    rows = Ledger(home).rows()
    known = {row["run_id"] for row in rows if row["status"] == "ok"}
    times = _Times(rows)
    cells = tuple(_cell(study, one.cell, spaces[one.cell.label], home, known, times, len(one.done)) for one in found)
    here = max(1, (os.cpu_count() or 1) // study.resources.cpus_per_trial)
    return StudyForecast(
        study.name, study.search, cells, concurrent or study.resources.concurrent or here, times.basis()
    )


def plan_text(plan: StudyForecast) -> str:
    """The plan as a table for people."""
    rows = [("cell", "trials", "done", "runs", "in ledger", "generators", "in store", "time left")]
    for cell in plan.cells:
        rows.append(
            (
                cell.cell,
                str(cell.trials),
                str(cell.done),
                str(cell.runs),
                "?" if cell.runs_cached is None else str(cell.runs_cached),
                str(cell.generators),
                str(cell.generators_cached),
                "?" if cell.seconds is None else f"{cell.seconds / 60:.1f} min",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    trials = sum(cell.trials - min(cell.done, cell.trials) for cell in plan.cells)
    total = "unknown" if plan.seconds is None else f"about {plan.seconds / 60:.0f} min"
    lines.append(
        f"{trials} trials left ({plan.search}), {plan.concurrent} at once on a machine like this one: {total}; {plan.basis}"
    )
    return "\n".join(lines)


def _cell(
    study: Study, cell: Cell, space: Space, home: Home, known: set[str], times: _Times, done: int
) -> CellForecast:
    root = study.dataset_of(cell).root
    category = load_category(cell.dataset, cell.category, root=None if root is None else Path(root), home=home.root)
    fixed = planned_configurations(study, space)
    trials = min(study.budget.trials, space.size() or study.budget.trials) if fixed is None else len(fixed)
    arms = (study.arm, *study.controls)
    specs = [
        study.spec(cell, arm=arm, seed=seed, settings=settings)
        for settings in (fixed if fixed is not None else itertools.islice(itertools.cycle(space.corners()), trials))
        for arm in arms
        for seed in study.seeds
    ]
    cached = None
    if fixed is not None:
        cached = sum(run_id(spec, category.fingerprint) in known for spec in specs)
    generators = _generators(study, cell, space, fixed, home, category) if GENERATING_ARMS & set(arms) else {}
    missing = sum(not there for there in generators.values())
    left = max(trials - done, 0)
    seconds = times.estimate(specs, share=left / trials if trials else 0.0, generators=missing, cached=cached)
    return CellForecast(
        cell.label, trials, done, len(specs), cached, len(generators), len(generators) - missing, seconds
    )


def _generators(
    study: Study, cell: Cell, space: Space, fixed: list[dict[str, Any]] | None, home: Home, category: Any
) -> dict[str, bool]:
    """The digest of each generator that the cell can need, and whether its artifact is there."""
    if fixed is None:
        keys = space.generator_keys(rounds=int(study.settings.get("selection.rounds", 1)))
        grid = Space(space.name, space.version, {key: space.parameters[key] for key in keys}).grid() if keys else [{}]
        rest = {key: value for key, value in space.corners()[0].items() if key not in keys}
        fixed = [{**rest, **point} for point in grid]
    found: dict[str, bool] = {}
    arm = study.arm if study.arm in GENERATING_ARMS else next(a for a in study.controls if a in GENERATING_ARMS)
    for settings, seed in itertools.product(fixed, study.seeds):
        context = open_context(study.spec(cell, arm=arm, seed=seed, settings=settings), home, category=category)
        key = generator_node(context).key
        found[key.digest] = context.store.find(key) is not None
    return found


class _Times:
    """Seconds per stage as the ledger's runs took them, by baseline; generators per step."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._generator: list[float] = []
        self._rest: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            if row["status"] != "ok":
                continue
            stages = json.loads(row["stages_json"])
            spent = {name: entry["seconds"] + entry["reused_seconds"] for name, entry in stages.items()}
            steps = json.loads(row["spec_json"])["generator"]["steps"]
            if spent.get("generator"):
                self._generator.append(spent["generator"] / steps)
            # What a run pays itself: the test images' features are shared by all of a cell's runs.
            self._rest[row["baseline"]].append(sum(v for k, v in spent.items() if k not in ("generator", "features")))

    def estimate(self, specs: list[TrialSpec], *, share: float, generators: int, cached: int | None) -> float | None:
        """CPU seconds for `share` of the runs and for `generators` trainings; None without a time to go by."""
        if not specs or (share == 0 and generators == 0):
            return 0.0
        spec = specs[0]
        rest = self._rest.get(spec.baseline.name)
        if not rest or (generators and not self._generator):
            return None
        fresh = _different(specs) if cached is None else len(specs) - cached
        training = generators * spec.generator.steps * statistics.median(self._generator) if generators else 0.0
        return training + share * fresh * statistics.median(rest)

    def basis(self) -> str:
        """Where the times come from."""
        runs = sum(len(values) for values in self._rest.values())
        if not runs:
            return "no run was measured in this home yet, so no time is given: evaluate one run of each baseline first"
        return f"times are medians of {runs} runs in this home's ledger, generators per training step"


def _different(specs: list[TrialSpec]) -> int:
    """Runs of a search at most: an arm that ignores the searched settings (`none`) is run once a seed."""
    arms: dict[str, list[TrialSpec]] = defaultdict(list)
    for spec in specs:
        arms[spec.arm].append(spec)
    total = 0
    for mine in arms.values():
        seeds = len({spec.seed for spec in mine})
        total += seeds if len({spec.spec_hash for spec in mine}) == seeds else len(mine)
    return total
