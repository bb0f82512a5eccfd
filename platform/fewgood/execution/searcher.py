"""A Ray Tune searcher for many cells: one Optuna study per cell, and suggestions that go round the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from fewgood.execution.space import Space
from fewgood.seeds import stream_seed
from fewgood.specs import canonical_json

__all__ = ["OBJECTIVE", "CellSearcher"]

OBJECTIVE = "objective"
"""The metric that trials report; larger is better."""


_ATTEMPTS = 64
"""Suggestions that may repeat a known configuration before a cell's space counts as used up."""


class CellSearcher(Searcher):
    """Routes Tune's requests to one `OptunaSearch` (TPE) per cell, `trials[i]` suggestions for cell i.

    `seen[i]` are configurations that cell i had in an earlier start; none is suggested twice.

    Cells take turns, so that trials which run at once need different generators.
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
        self._left = list(trials)
        self._asked: dict[str, tuple[int, str]] = {}
        self._seen = [{canonical_json(settings) for settings in cell} for cell in seen]
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
            settings = self._unseen(cell, trial_id) if self._left[cell] > 0 else None
            if settings is None:
                self._left[cell] = 0
                continue
            self._left[cell] -= 1
            return {"cell": cell, "settings": settings}
        return Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the trial's own Optuna study how it ended."""
        cell, name = self._asked.pop(trial_id, (None, ""))
        if cell is not None:
            self._searchers[cell].on_trial_complete(name, result=result, error=error)

    def _unseen(self, cell: int, trial_id: str) -> dict[str, Any] | None:
        """A configuration that this cell has not had; None once a small space seems used up.

        TPE likes to repeat itself on a grid, and a repeated configuration would only be read from the store again.
        """
        searcher = self._searchers[cell]
        for attempt in range(_ATTEMPTS):
            name = f"{trial_id}-{attempt}"
            settings = searcher.suggest(name)
            known = canonical_json(settings)
            if known not in self._seen[cell]:
                self._seen[cell].add(known)
                self._asked[trial_id] = (cell, name)
                return dict(settings)
            searcher.on_trial_complete(name, error=True)
        return None

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the Optuna storage holds every finished trial."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the Optuna storage holds every finished trial."""
