"""A Ray Tune searcher for many cells: one Optuna study per cell, and suggestions that go round the cells."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState
from ray.tune.search import Searcher

from fewgood.execution.space import Space
from fewgood.seeds import stream_seed
from fewgood.specs import canonical_json

__all__ = ["COST", "OBJECTIVE", "PHASE", "CellPlan", "CellSearcher", "Known"]

OBJECTIVE = "objective"
"""The metric that trials report; larger is better."""
COST = "cost"
"""Seconds that a configuration takes with an empty store; smaller is better."""
PHASE = "phase"
"""What a report says: `seeds` while the searched arm's seeds are run, `finished`, or `failed`."""

_TPE_ATTEMPTS = 4
"""Suggestions of TPE that may repeat a known configuration before random ones are drawn."""
_RANDOM_ATTEMPTS = 500
"""Random draws that may repeat a known configuration before a cell's space counts as used up."""
_STARTUP = 4
"""Random configurations of a cell before TPE takes over."""


@dataclass(frozen=True)
class Known:
    """A configuration whose objective is known."""

    settings: Mapping[str, Any]
    objective: float
    cost: float | None = None


@dataclass(frozen=True)
class CellPlan:
    """What is left to do in one cell."""

    label: str
    space: Space
    trials: int
    """Configurations that may still be started."""
    first: Sequence[Mapping[str, Any]] = ()
    """Configurations to start before any other: interrupted ones, and those of a grid or list."""
    searched: bool = True
    """Whether Optuna suggests more after `first`."""
    done: Sequence[Mapping[str, Any]] = ()
    """Configurations that are done, whatever came of them; none is suggested again."""
    known: Sequence[Known] = ()
    """Those of them that finished."""
    warm: Sequence[Known] = ()
    """Finished configurations of earlier studies: they inform the search and may be suggested again."""


@dataclass
class _CellState:
    plan: CellPlan
    study: optuna.Study
    random: optuna.Study
    seen: set[str]
    queue: deque[dict[str, Any]] = field(default_factory=deque)
    left: int = 0
    made: set[str] = field(default_factory=set)
    """Generators that a finished trial has left in the store, by their settings."""


class CellSearcher(Searcher):
    """Routes Tune's requests to one Optuna study (TPE) per cell.

    Cells take turns, and in a cell a configuration whose generator a running trial may be training comes after those that need
    not wait for it, so that trials which run at once need different generators.

    Args:
        cells: What is left in each cell; `suggest` answers with the number of the cell in this sequence.
        seed: Of the samplers.
        storage: Optuna's journal file, beside the study; made if it is not there.
        objectives: 1 for the gain, 2 for gain and cost.
        restarts: Times a configuration is suggested again after its worker or host died. Tune's own restarts leave out a trial
            that dies while it waits for its worker, so they are not used.
        may_start: Asked before each suggestion; False ends the search, and what runs is finished.
    """

    def __init__(
        self,
        cells: Sequence[CellPlan],
        *,
        seed: int,
        storage: Path,
        objectives: int = 1,
        restarts: int = 0,
        may_start: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(metric=OBJECTIVE, mode="max")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._objectives = objectives
        self._restarts = restarts
        self._may_start = may_start
        self._running: dict[str, tuple[int, dict[str, Any]]] = {}
        self._asked: dict[str, optuna.Trial] = {}
        self._losses: Counter[tuple[int, str]] = Counter()
        self._given_up: set[str] = set()
        self._turn = 0
        backend = JournalStorage(JournalFileBackend(str(storage), lock_obj=JournalFileOpenLock(str(storage))))
        self._cells = [self._open(plan, backend, seed) for plan in cells]

    def _open(self, plan: CellPlan, backend: JournalStorage, seed: int) -> _CellState:
        number = stream_seed(seed, plan.label) % 2**32
        directions = ["maximize", "minimize"][: self._objectives]
        study = optuna.create_study(
            storage=backend,
            study_name=plan.label,
            directions=directions,
            sampler=optuna.samplers.TPESampler(seed=number, n_startup_trials=_STARTUP),
            load_if_exists=True,
        )
        for trial in study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING)):
            # Its process is gone: what it was asked for comes again through `first`.
            study.tell(trial.number, state=TrialState.FAIL)
        held = {canonical_json(trial.params) for trial in study.get_trials(states=(TrialState.COMPLETE,))}
        distributions = plan.space.distributions()
        for known in (*plan.known, *plan.warm):
            if canonical_json(dict(known.settings)) not in held and _fits(known, distributions, self._objectives):
                study.add_trial(
                    optuna.trial.create_trial(
                        params=dict(known.settings), distributions=distributions, values=self._values(known)
                    )
                )
        return _CellState(
            plan,
            study,
            optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number)),
            {canonical_json(dict(settings)) for settings in plan.done},
            deque(dict(settings) for settings in plan.first),
            plan.trials,
        )

    def _values(self, known: Known) -> list[float]:
        return [known.objective, known.cost if known.cost is not None else 0.0][: self._objectives]

    def suggest(self, trial_id: str) -> Any:
        """The next configuration, `{"cell": index, "settings": {...}}`; None while what runs may come back; or FINISHED."""
        if not self._may_start():
            return Searcher.FINISHED
        for _ in self._cells:
            index = self._turn
            self._turn = (self._turn + 1) % len(self._cells)
            cell = self._cells[index]
            settings = self._next(cell, trial_id) if cell.left > 0 else None
            if settings is None:
                cell.left = 0
                continue
            cell.left -= 1
            self._running[trial_id] = (index, settings)
            return {"cell": index, "settings": settings}
        return None if self._running else Searcher.FINISHED

    def gave_up(self, trial_id: str) -> bool:
        """Whether a trial that died was the configuration's last try."""
        return trial_id in self._given_up

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the trial's own Optuna study how it ended; one whose worker died is asked for again."""
        if trial_id not in self._running:
            return
        index, settings = self._running.pop(trial_id)
        phase = (result or {}).get(PHASE)
        if error:
            self._lost(trial_id, index, settings)
        elif phase in ("seeds", "finished"):
            self._cells[index].made.add(_generator(settings))
        trial = self._asked.pop(trial_id, None)
        if trial is None:
            return
        study = self._cells[index].study
        if error or not result or phase not in ("seeds", "finished"):
            study.tell(trial, state=TrialState.FAIL)
        elif phase == "seeds":  # stopped between its seeds
            if self._objectives == 1:
                trial.report(float(result[OBJECTIVE]), step=int(result["seeds"]))
            study.tell(trial, state=TrialState.PRUNED if self._objectives == 1 else TrialState.FAIL)
        else:
            study.tell(trial, self._values(Known({}, float(result[OBJECTIVE]), float(result[COST]))))

    def _lost(self, trial_id: str, index: int, settings: dict[str, Any]) -> None:
        name = canonical_json(settings)
        self._losses[index, name] += 1
        if self._losses[index, name] > self._restarts:
            self._given_up.add(trial_id)
            return
        cell = self._cells[index]
        cell.seen.discard(name)
        cell.queue.appendleft(settings)
        cell.left += 1

    def _next(self, cell: _CellState, trial_id: str) -> dict[str, Any] | None:
        """The next settings of a cell, and Optuna's trial noted for them; None when the cell has no more."""
        while cell.queue:
            settings = self._take(cell)
            if self._is_new(cell, settings):
                distributions = cell.plan.space.distributions()
                if _fits(Known(settings, 0.0), distributions, 1):
                    cell.study.enqueue_trial(settings)
                    self._asked[trial_id] = cell.study.ask(distributions)
                return settings
        if not cell.plan.searched:
            return None
        trial = self._unseen(cell)
        if trial is None:
            return None
        self._asked[trial_id] = trial
        return dict(trial.params)

    def _take(self, cell: _CellState) -> dict[str, Any]:
        """The first queued settings that need not wait for a running trial's generator; the first of all if none is."""
        running = {_generator(settings) for index, settings in self._running.values() if self._cells[index] is cell}
        for number, settings in enumerate(cell.queue):
            if _generator(settings) not in running - cell.made:
                del cell.queue[number]
                return settings
        return cell.queue.popleft()

    def _unseen(self, cell: _CellState) -> optuna.Trial | None:
        """A configuration that this cell has not had: TPE's, else a random one; None once its space seems used up."""
        distributions = cell.plan.space.distributions()
        for _ in range(_TPE_ATTEMPTS):
            trial = cell.study.ask(distributions)
            if self._is_new(cell, trial.params):
                return trial
            cell.study.tell(trial, state=TrialState.FAIL)
        for _ in range(_RANDOM_ATTEMPTS):
            drawn = cell.random.ask(distributions).params
            if self._is_new(cell, drawn):
                cell.study.enqueue_trial(drawn)
                return cell.study.ask(distributions)
        return None

    def _is_new(self, cell: _CellState, settings: Mapping[str, Any]) -> bool:
        name = canonical_json(dict(settings))
        if name in cell.seen:
            return False
        cell.seen.add(name)
        return True

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the event log and the Optuna storage hold every finished trial."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the event log and the Optuna storage hold every finished trial."""


def _generator(settings: Mapping[str, Any]) -> str:
    """What tells the generators of a cell's configurations apart."""
    return canonical_json({name: value for name, value in settings.items() if name.startswith("generator.")})


def _fits(known: Known, distributions: Mapping[str, Any], objectives: int) -> bool:
    """Whether a configuration is a point of the space, with every objective that the search has."""
    if set(known.settings) != set(distributions) or (objectives == 2 and known.cost is None):
        return False
    try:
        return all(
            distribution._contains(distribution.to_internal_repr(known.settings[name]))
            for name, distribution in distributions.items()
        )
    except (TypeError, ValueError):
        return False
