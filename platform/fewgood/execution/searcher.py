"""A Ray Tune searcher for many cells: one Optuna study per cell, and suggestions that go round the cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from fewgood.execution.space import Space
from fewgood.seeds import stream_seed

__all__ = ["OBJECTIVE", "CellSearcher"]

OBJECTIVE = "objective"
"""The metric that trials report; larger is better."""


class CellSearcher(Searcher):
    """Routes Tune's requests to one `OptunaSearch` (TPE) per cell, `trials[i]` suggestions for cell i.

    Cells take turns, so that trials which run at once need different generators.
    """

    def __init__(self, labels: Sequence[str], space: Space, *, trials: Sequence[int], seed: int, storage: Path) -> None:
        super().__init__(metric=OBJECTIVE, mode="max")
        self._left = list(trials)
        self._cell_of: dict[str, int] = {}
        backend = JournalStorage(JournalFileBackend(str(storage), lock_obj=JournalFileOpenLock(str(storage))))
        self._searchers = [
            OptunaSearch(
                space=space.distributions(),
                metric=OBJECTIVE,
                mode="max",
                study_name=label,
                storage=backend,
                sampler=optuna.samplers.TPESampler(seed=stream_seed(seed, label) % 2**32, n_startup_trials=4),
            )
            for label in labels
        ]
        self._turn = 0

    def suggest(self, trial_id: str) -> Any:
        """The next configuration, `{"cell": index, "settings": {...}}`, or FINISHED."""
        for _ in self._searchers:
            cell = self._turn
            self._turn = (self._turn + 1) % len(self._searchers)
            if self._left[cell] > 0:
                self._left[cell] -= 1
                self._cell_of[trial_id] = cell
                return {"cell": cell, "settings": self._searchers[cell].suggest(trial_id)}
        return Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the trial's own Optuna study how it ended."""
        cell = self._cell_of.pop(trial_id, None)
        if cell is not None:
            self._searchers[cell].on_trial_complete(trial_id, result=result, error=error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the Optuna storage holds every finished trial."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the Optuna storage holds every finished trial."""
