"""Early stopping: a configuration below its cell's median stops, another cell's numbers count for nothing."""

from types import SimpleNamespace

from ray.tune.schedulers import TrialScheduler

from fewgood.execution.scheduler import CellScheduler
from fewgood.execution.searcher import OBJECTIVE, PHASE


class Trial(SimpleNamespace):
    __hash__ = object.__hash__


def made(cell):
    return Trial(config={"cell": cell, "settings": {}}, trial_id="t")


def report(value, seeds=1, phase="seeds"):
    return {PHASE: phase, "seeds": seeds, OBJECTIVE: value, "training_iteration": seeds}


def test_a_hopeless_configuration_is_stopped_in_its_own_cell():
    scheduler = CellScheduler(seeds=3)
    for value in (0.8, 0.82, 0.84):
        assert scheduler.on_trial_result(None, made(0), report(value)) == TrialScheduler.CONTINUE
    assert scheduler.on_trial_result(None, made(1), report(0.2)) == TrialScheduler.CONTINUE
    assert scheduler.on_trial_result(None, made(0), report(0.3)) == TrialScheduler.STOP
    assert scheduler.on_trial_result(None, made(0), report(0.9)) == TrialScheduler.CONTINUE


def test_one_that_has_run_all_its_seeds_is_kept():
    scheduler = CellScheduler(seeds=2)
    for value in (0.8, 0.82, 0.84):
        scheduler.on_trial_result(None, made(0), report(value, seeds=1))
    assert scheduler.on_trial_result(None, made(0), report(0.1, seeds=2)) == TrialScheduler.CONTINUE
    assert scheduler.on_trial_result(None, made(0), report(0.1, phase="finished")) == TrialScheduler.CONTINUE
