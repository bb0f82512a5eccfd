"""The search over cells: cells take turns, no configuration twice, fixed ones first, and an earlier start is known."""

import optuna
import pytest
from optuna.trial import TrialState

from fewgood.execution.searcher import COST, OBJECTIVE, PHASE, CellPlan, CellSearcher, Known
from fewgood.execution.space import Choice, IntRange, Space

SPACE = Space("small", 1, {"a": Choice([1, 2]), "b": Choice([1, 2, 3])})
ALL = [{"a": a, "b": b} for a in (1, 2) for b in (1, 2, 3)]


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def result(settings, **changes):
    return {PHASE: "finished", "seeds": 1, OBJECTIVE: -float(settings.get("a", 9)), COST: 1.0, **changes}


def ask_all(searcher, answer=result):
    asked = []
    while True:
        name = f"trial-{len(asked)}"
        config = searcher.suggest(name)
        if config == CellSearcher.FINISHED:
            return asked
        asked.append(config)
        searcher.on_trial_complete(name, result=answer(config["settings"]))


def make(tmp_path, trials, *, objectives=1, restarts=0, may_start=lambda: True, **changes):
    plans = [CellPlan(name, SPACE, left, **changes) for name, left in zip(("one", "two"), trials, strict=True)]
    return CellSearcher(
        plans,
        seed=0,
        storage=tmp_path / "optuna.journal",
        objectives=objectives,
        restarts=restarts,
        may_start=may_start,
    )


def stored(tmp_path, name="one"):
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "optuna.journal"))
    return optuna.load_study(study_name=name, storage=optuna.storages.JournalStorage(backend))


def test_cells_take_turns_and_nothing_repeats(tmp_path):
    asked = ask_all(make(tmp_path, [5, 5]))
    assert [config["cell"] for config in asked] == [0, 1] * 5
    for cell in (0, 1):
        mine = [tuple(sorted(config["settings"].items())) for config in asked if config["cell"] == cell]
        assert len(set(mine)) == 5


def test_a_small_grid_is_used_up(tmp_path):
    assert len(ask_all(make(tmp_path, [20, 0]))) == 6


def test_what_an_earlier_start_had_is_not_asked_again(tmp_path):
    known = [{"a": a, "b": b} for a in (1, 2) for b in (1, 2)]
    asked = ask_all(make(tmp_path, [10, 0], done=known))
    assert sorted(config["settings"]["a"] for config in asked) == [1, 2]
    assert all(config["settings"]["b"] == 3 for config in asked)


def test_the_same_seed_asks_the_same(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    assert ask_all(make(tmp_path / "x", [4, 4])) == ask_all(make(tmp_path / "y", [4, 4]))


def test_interrupted_configurations_come_first(tmp_path):
    asked = ask_all(make(tmp_path, [3, 0], first=[ALL[5], ALL[2]]))
    assert [config["settings"] for config in asked[:2]] == [ALL[5], ALL[2]]
    assert len(asked) == 3


def test_a_list_is_run_in_its_order_and_no_further(tmp_path):
    asked = ask_all(make(tmp_path, [3, 0], first=[ALL[4], {}, ALL[0]], searched=False))
    assert [config["settings"] for config in asked] == [ALL[4], {}, ALL[0]]


def test_trials_of_a_killed_start_are_failed_and_asked_anew(tmp_path):
    first = make(tmp_path, [2, 0])
    running = first.suggest("lost")["settings"]
    asked = ask_all(make(tmp_path, [2, 0], first=[running]))
    assert asked[0]["settings"] == running
    trials = stored(tmp_path).get_trials()
    mine = [trial.state for trial in trials if trial.params == running]
    assert mine[:2] == [TrialState.FAIL, TrialState.COMPLETE]
    assert mine.count(TrialState.COMPLETE) == 1
    states = [trial.state for trial in trials]
    assert TrialState.RUNNING not in states
    assert states.count(TrialState.COMPLETE) == 2


def test_what_the_log_knows_and_optuna_lost_is_told_once(tmp_path):
    known = [Known(ALL[0], 0.5, 3.0), Known({"c": 9}, 0.9, 1.0)]
    for _ in range(2):
        make(tmp_path, [0, 0], known=known, done=[one.settings for one in known])
    trials = stored(tmp_path).get_trials()
    assert [(trial.params, trial.value) for trial in trials] == [(ALL[0], 0.5)], "one that the space lacks is left out"


def test_a_warm_start_informs_and_excludes_nothing(tmp_path):
    wide = Space("wide", 1, {"b": IntRange(0, 99)})

    def asked(folder, warm):
        (tmp_path / folder).mkdir()
        plan = CellPlan("one", wide, 8, warm=warm)
        searcher = CellSearcher([plan], seed=0, storage=tmp_path / folder / "optuna.journal")
        return [searcher.suggest(f"trial-{number}")["settings"]["b"] for number in range(8)]

    warm = [Known({"b": b}, float(b)) for b in range(0, 100, 3)]
    cold_mean, warm_mean = (sum(asked(*one)) / 8 for one in (("cold", ()), ("warm", warm)))
    assert warm_mean > cold_mean + 10, "what was best before draws the search"
    small = [Known(settings, 0.5) for settings in ALL]
    assert len(ask_all(make(tmp_path, [6, 0], warm=small))) == 6, "and may be asked again"


def test_a_stopped_trial_is_pruned_and_a_failed_one_failed(tmp_path):
    answers = iter(["seeds", "failed", "finished"])
    given = [
        config["settings"]
        for config in ask_all(make(tmp_path, [3, 0]), lambda settings: result(settings, **{PHASE: next(answers)}))
    ]
    by_settings = {str(trial.params): trial.state for trial in stored(tmp_path).get_trials()}
    asked = [by_settings[str(settings)] for settings in given]
    assert asked == [TrialState.PRUNED, TrialState.FAIL, TrialState.COMPLETE]


def test_two_objectives(tmp_path):
    ask_all(make(tmp_path, [4, 0], objectives=2), lambda settings: result(settings, **{COST: float(settings["b"])}))
    best = {tuple(trial.params.items()) for trial in stored(tmp_path).best_trials}
    done = stored(tmp_path).get_trials(states=[TrialState.COMPLETE])
    assert len(done) == 4
    assert all(trial.values[1] == trial.params["b"] for trial in done)
    assert best


def test_a_spent_budget_ends_the_search(tmp_path):
    answers = iter([True, True, False])
    assert len(ask_all(make(tmp_path, [5, 5], may_start=lambda: next(answers)))) == 2


def test_a_configuration_whose_worker_died_comes_again_until_it_is_given_up(tmp_path):
    searcher = make(tmp_path, [1, 1], restarts=2)
    first, other = searcher.suggest("t0"), searcher.suggest("t1")
    searcher.on_trial_complete("t1", result=result(other["settings"]))
    assert searcher.suggest("early") is None, "nothing is left, but what runs may come back"
    for number in range(3):
        name = "t0" if number == 0 else f"again-{number}"
        searcher.on_trial_complete(name, error=True)
        assert searcher.gave_up(name) is (number == 2)
        if number < 2:
            assert searcher.suggest(f"again-{number + 1}") == first
    assert searcher.suggest("late") == CellSearcher.FINISHED


def test_a_configuration_that_no_space_holds_comes_again_too(tmp_path):
    searcher = make(tmp_path, [1, 0], first=[{}], searched=False, restarts=1)
    assert searcher.suggest("t0")["settings"] == {}
    searcher.on_trial_complete("t0", error=True)
    assert searcher.suggest("t1")["settings"] == {}
    searcher.on_trial_complete("t1", result=result({}))
    assert searcher.suggest("t2") == CellSearcher.FINISHED


def test_a_configuration_does_not_wait_for_a_generator_that_is_being_trained(tmp_path):
    """Two workers: what shares a running trial's generator comes after what does not, until that trial has finished."""
    order = [(8, 0.1), (8, 0.6), (16, 0.1), (16, 0.6), (16, 2.0)]
    listed = [{"selection.count": count, "generator.variance_weight": weight} for count, weight in order]
    plan = CellPlan("one", SPACE, len(listed), first=listed, searched=False)
    searcher = CellSearcher([plan], seed=0, storage=tmp_path / "optuna.journal")

    def ask(name):
        settings = searcher.suggest(name)["settings"]
        return settings["selection.count"], settings["generator.variance_weight"]

    assert [ask("a"), ask("b")] == [(8, 0.1), (8, 0.6)]
    assert ask("c") == (16, 2.0)
    searcher.on_trial_complete("a", result=result({}))
    assert ask("d") == (16, 0.1)
    assert ask("e") == (16, 0.6)  # nothing else is left: it may wait
    assert searcher.suggest("f") is None
