"""The search over cells: cells take turns, no configuration twice, a small grid is used up and then left."""

import optuna
import pytest

from fewgood.execution.searcher import OBJECTIVE, CellSearcher
from fewgood.execution.space import Choice, Space

SPACE = Space("small", 1, {"a": Choice([1, 2]), "b": Choice([1, 2, 3])})


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def ask_all(searcher):
    asked = []
    while True:
        name = f"trial-{len(asked)}"
        config = searcher.suggest(name)
        if config == CellSearcher.FINISHED:
            return asked
        asked.append(config)
        searcher.on_trial_complete(name, result={OBJECTIVE: -config["settings"]["a"]})


def make(tmp_path, trials, seen=((), ())):
    return CellSearcher(["one", "two"], SPACE, trials=trials, seen=seen, seed=0, storage=tmp_path / "optuna.journal")


def test_cells_take_turns_and_nothing_repeats(tmp_path):
    asked = ask_all(make(tmp_path, [5, 5]))
    assert [config["cell"] for config in asked] == [0, 1] * 5
    for cell in (0, 1):
        mine = [tuple(sorted(config["settings"].items())) for config in asked if config["cell"] == cell]
        assert len(set(mine)) == 5


def test_a_small_grid_is_used_up(tmp_path):
    asked = ask_all(make(tmp_path, [20, 0]))
    assert len(asked) == 6


def test_what_an_earlier_start_had_is_not_asked_again(tmp_path):
    known = [{"a": a, "b": b} for a in (1, 2) for b in (1, 2)]
    asked = ask_all(make(tmp_path, [10, 0], seen=[known, []]))
    assert sorted(config["settings"]["a"] for config in asked) == [1, 2]
    assert all(config["settings"]["b"] == 3 for config in asked)


def test_the_same_seed_asks_the_same(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    assert ask_all(make(tmp_path / "x", [4, 4])) == ask_all(make(tmp_path / "y", [4, 4]))
