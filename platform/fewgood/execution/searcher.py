"""A Ray Tune searcher for many cells: one Optuna study per cell, and suggestions that go round the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

__all__ = ["OBJECTIVE", "CellSearcher"]

OBJECTIVE = "objective"
"""The metric that trials report; larger is better."""

_TPE_ATTEMPTS = 4
"""Suggestions of TPE that may repeat a known configuration before random ones are drawn."""
_RANDOM_ATTEMPTS = 500
"""Random draws that may repeat a known configuration before a cell's space counts as used up."""
_STARTUP = 4
"""Random configurations of a cell before TPE takes over."""


class CellSearcher(Searcher):
    """Routes Tune's requests to one Optuna study (TPE) per cell, `trials[i]` suggestions for cell i.

    Cells take turns, so that trials which run at once need different generators. `seen[i]` are configurations that cell i
    had in an earlier start; none is suggested twice, since a repeated one would only be read from the store again.
    """

    def __init__(
        self,
        labels: Sequence[str],
        space: Space,
        *,
        trials: Sequence[int],
        seen: Sequence[Sequence[Mapping[str, Any]]],
        seed: int,
        storage: Path,
    ) -> None:
        super().__init__(metric=OBJECTIVE, mode="max")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._distributions = space.distributions()
        self._left = list(trials)
        self._seen = [{canonical_json(settings) for settings in cell} for cell in seen]
        self._asked: dict[str, tuple[int, optuna.Trial]] = {}
        self._turn = 0
        backend = JournalStorage(JournalFileBackend(str(storage), lock_obj=JournalFileOpenLock(str(storage))))
        self._studies: list[optuna.Study] = []
        self._random: list[optuna.Study] = []
        for label in labels:
            number = stream_seed(seed, label) % 2**32
            self._studies.append(
                optuna.create_study(
                    storage=backend,
                    study_name=label,
                    direction="maximize",
                    sampler=optuna.samplers.TPESampler(seed=number, n_startup_trials=_STARTUP),
                    load_if_exists=True,
                )
            )
            self._random.append(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number)))

    def suggest(self, trial_id: str) -> Any:
        """The next configuration, `{"cell": index, "settings": {...}}`, or FINISHED."""
        for _ in self._studies:
            cell = self._turn
            self._turn = (self._turn + 1) % len(self._studies)
            trial = self._unseen(cell) if self._left[cell] > 0 else None
            if trial is None:
                self._left[cell] = 0
                continue
            self._left[cell] -= 1
            self._asked[trial_id] = (cell, trial)
            return {"cell": cell, "settings": dict(trial.params)}
        return Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the trial's own Optuna study how it ended."""
        if trial_id not in self._asked:
            return
        cell, trial = self._asked.pop(trial_id)
        if error or not result or OBJECTIVE not in result:
            self._studies[cell].tell(trial, state=TrialState.FAIL)
        else:
            self._studies[cell].tell(trial, float(result[OBJECTIVE]))

    def _unseen(self, cell: int) -> optuna.Trial | None:
        """A configuration that this cell has not had: TPE's, else a random one; None once its space seems used up."""
        study = self._studies[cell]
        for _ in range(_TPE_ATTEMPTS):
            trial = study.ask(self._distributions)
            if self._is_new(cell, trial.params):
                return trial
            study.tell(trial, state=TrialState.FAIL)
        for _ in range(_RANDOM_ATTEMPTS):
            drawn = self._random[cell].ask(self._distributions).params
            if self._is_new(cell, drawn):
                study.enqueue_trial(drawn)
                return study.ask(self._distributions)
        return None

    def _is_new(self, cell: int, settings: Mapping[str, Any]) -> bool:
        name = canonical_json(dict(settings))
        if name in self._seen[cell]:
            return False
        self._seen[cell].add(name)
        return True

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the Optuna storage holds every finished trial."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the Optuna storage holds every finished trial."""
