"""What the finished trials of a cell show: those that nothing beats in gain and cost, and how much each setting mattered."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from fewgood_dashboard.studies import Trial

__all__ = ["front", "importances"]

_MANY = 8
"""Finished trials from which importances are computed."""


def front(trials: Sequence[Trial]) -> set[str]:
    """Names of the finished trials of one cell that no other beats in both objective and cost."""
    known = [
        (trial.cost, -trial.objective, trial.name)
        for trial in trials
        if trial.state == "finished" and trial.objective is not None and trial.cost is not None
    ]
    found: set[str] = set()
    best = math.inf
    for _, worse, name in sorted(known):
        if worse < best:
            found.add(name)
            best = worse
    return found


def importances(trials: Sequence[Trial]) -> dict[str, float] | None:
    """How much each setting moved the objective, summing to 1: Optuna's fANOVA over the finished trials of one cell.

    Returns:
        Setting -> importance, or None with fewer than eight finished trials, a constant objective, or no setting that
        takes two values.
    """
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    done = [trial for trial in trials if trial.state == "finished" and trial.objective is not None]
    shared = set.intersection(*(set(trial.settings) for trial in done)) if done else set()
    if len(done) < _MANY or len({trial.objective for trial in done}) < 2:
        return None
    distributions: dict[str, BaseDistribution] = {}
    for name in sorted(shared):
        values = [trial.settings[name] for trial in done]
        if len({json.dumps(value, sort_keys=True) for value in values}) < 2:
            continue
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            distributions[name] = FloatDistribution(float(min(values)), float(max(values)))
        else:
            choices = sorted({json.dumps(value, sort_keys=True) for value in values})
            distributions[name] = CategoricalDistribution(choices)
    if not distributions:
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for trial in done:
        params = {
            name: float(trial.settings[name])
            if isinstance(kind, FloatDistribution)
            else json.dumps(trial.settings[name], sort_keys=True)
            for name, kind in distributions.items()
        }
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=trial.objective))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
