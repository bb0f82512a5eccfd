"""Early stopping between seeds: Ray's median stopping rule, one per cell, so that cells are never compared."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, MedianStoppingRule, TrialScheduler

from fewgood.execution.searcher import OBJECTIVE, PHASE

__all__ = ["CellScheduler"]

_NEVER = float("inf")
_SAMPLES = 3
"""Other configurations of a cell that must have got as far before one is stopped."""


class CellScheduler(FIFOScheduler):
    """Stops a configuration whose best objective so far is below the median of its cell's at the same number of seeds.

    Only reports between the searched arm's seeds are judged: a configuration that has run all its seeds is kept.
    """

    def __init__(self, seeds: int) -> None:
        super().__init__()
        self._seeds = seeds
        self._rules: dict[int, MedianStoppingRule] = {}

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """CONTINUE or STOP."""
        if result.get(PHASE) != "seeds" or result["seeds"] >= self._seeds:
            return str(TrialScheduler.CONTINUE)
        rule = self._rules.setdefault(int(trial.config["cell"]), self._new_rule())
        return str(rule.on_trial_result(tune_controller, trial, result))

    def _new_rule(self) -> MedianStoppingRule:
        return MedianStoppingRule(
            time_attr="seeds",
            metric=OBJECTIVE,
            mode="max",
            grace_period=1,
            min_samples_required=_SAMPLES,
            min_time_slice=_NEVER,  # it would pause a trial that has too few others to be compared with
        )
