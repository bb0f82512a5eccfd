"""Detectors and arms ranked: who may meet, over which cells, how sure a rank is, and letters."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewgood.leaderboard import boards, read_runs
from fewgood.leaderboard.ranks import Entrant, common_cells, letters
from fewgood.leaderboard.runs import CellKey

FOLDER = Path(__file__).parent
LETTERS = json.loads((FOLDER / "cases" / "letters.json").read_text())
build_row = run_path(str(FOLDER / "conftest.py"))["build_row"]


def row(baseline, arm, category, seed, value, **columns):
    """A run with a given AUROC and no scores: its intervals are over seeds alone."""
    name = f"{baseline}-{arm}-{category}-{seed}"
    return build_row(
        arm,
        seed,
        category=category,
        baseline=baseline,
        run_id=name,
        config_hash=f"{baseline}-{arm}-{category}",
        image_auroc=value,
        test_scores=None,
        baseline_options="{}",
        images=4,
        **columns,
    )


def grid(means, cells=4, seeds=4, jitter=0.01, draw=7):
    """Rows of {(baseline, arm): mean AUROC}, the same cells and seeds for all."""
    rng = np.random.default_rng(draw)
    return [
        row(baseline, arm, f"part{cell}", seed, float(np.clip(mean - cell / 50 + rng.normal(0, jitter), 0, 1)))
        for (baseline, arm), mean in means.items()
        for cell in range(cells)
        for seed in range(seeds)
    ]


FOUR = {
    ("patchcore", "generate"): 0.9,
    ("cflow", "generate"): 0.8,
    ("patchcore", "none"): 0.801,
    ("cflow", "none"): 0.6,
}


def board_of(rows):
    found = boards(read_runs(rows))
    assert len(found) == 1
    return found[0]


def summary(board):
    return [(item.entrant.label, item.rank, item.rank_low, item.rank_high, item.groups) for item in board.placed]


def test_detectors_on_one_backbone_are_ranked_with_intervals_and_letters():
    board = board_of(grid(FOUR))
    assert summary(board) == [
        ("patchcore generate", 1, 1, 1, "a"),
        ("patchcore none", 2, 2, 3, "b"),
        ("cflow generate", 3, 2, 3, "b"),
        ("cflow none", 4, 4, 4, "c"),
    ]
    best, *_, last = board.placed
    assert (best.wins, best.ties, best.losses) == (12, 0, 0)
    assert (last.wins, last.ties, last.losses) == (0, 0, 12)
    assert best.estimate.low < best.estimate.mean < best.estimate.high
    assert [cell.label for cell in board.cells] == [f"mvtec_ad/part{cell}" for cell in range(4)]
    assert board.friedman is None
    assert set(board.wilcoxon_holm.values()) == {None}
    assert board.notes == ()


def test_tests_over_cells_appear_from_six_cells_on():
    board = board_of(grid(FOUR, cells=6, seeds=2))
    assert board.friedman.ranks["patchcore generate"] == 1.0
    first, last = board.placed[0].entrant, board.placed[-1].entrant
    assert board.wilcoxon_holm[first, last] == pytest.approx(6 * 2 / 2**6)  # six pairs, the smallest p of six cells


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "resnet18"},
        {"backbone_digest": "other"},
        {"image_size": 320},
        {"shots": "4"},
        {"select_on": "test"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_backbones_sizes_shots_and_selections_have_boards_of_their_own(change):
    rows = grid(FOUR, cells=2, seeds=2)
    others = [item | change | {"run_id": item["run_id"] + "x"} for item in rows if item["baseline"] == "cflow"]
    found = boards(read_runs([item for item in rows if item["baseline"] == "patchcore"] + others))
    assert len({board.key.digest for board in found}) == 2
    assert all(len({item.entrant.baseline for item in board.placed}) == 1 for board in found)


def test_options_make_another_entrant():
    rows = grid({("patchcore", "none"): 0.7}, cells=2, seeds=2)
    others = [item | {"baseline_options": '{"coreset":0.5}', "run_id": item["run_id"] + "x"} for item in rows]
    board = board_of(rows + others)
    assert [item.entrant.label for item in board.placed] == ["patchcore[coreset=0.5] none", "patchcore none"]
    assert [item.rank for item in board.placed] == [1, 1]


def test_results_selected_on_test_images_are_marked():
    board = board_of([item | {"select_on": "test"} for item in grid(FOUR, cells=2, seeds=2)])
    assert any("chosen on the test images" in note for note in board.notes)


def test_an_entrant_without_a_cell_is_left_out_and_named():
    rows = [
        item for item in grid(FOUR) if not (item["category"] == "part3" and item["run_id"].startswith("cflow-none"))
    ]
    board = board_of(rows)
    assert len(board.cells) == 4
    assert [(entrant.label, count) for entrant, count in board.left_out] == [("cflow none", 1)]
    assert any("cflow none is not ranked: it lacks 1 of 4 cells (mvtec_ad/part3)" in note for note in board.notes)
    assert len(board.placed) == 3


def test_failed_runs_do_not_fill_a_cell():
    rows = [
        item | {"status": "failed", "image_auroc": None} if item["run_id"].startswith("cflow-none-part0") else item
        for item in grid(FOUR)
    ]
    assert [entrant.label for entrant, _ in board_of(rows).left_out] == ["cflow none"]


def test_the_ceiling_stands_beside_the_ranking():
    board = board_of(grid(FOUR | {("patchcore", "full"): 0.99}))
    assert "full" not in {item.entrant.arm for item in board.placed}
    assert [(item.entrant.label, item.ceiling) for item in board.ceilings] == [("patchcore full", True)]
    assert board.ceilings[0].estimate.mean == pytest.approx(0.96, abs=0.01)
    assert [item.rank for item in board.placed] == [1, 2, 3, 4]
    only = grid({("patchcore", "full"): 0.99})
    assert boards(read_runs(only)) == []


def test_one_seed_gives_ranks_without_intervals_and_a_note():
    board = board_of(grid(FOUR, seeds=1))
    assert [(item.rank, item.rank_low, item.rank_high, item.groups) for item in board.placed] == [
        (rank, None, None, "") for rank in (1, 2, 3, 4)
    ]
    assert any("one seed only" in note for note in board.notes)


def test_an_entrant_alone_has_the_first_rank():
    assert summary(board_of(grid({("patchcore", "none"): 0.7}))) == [("patchcore none", 1, 1, 1, "a")]


def test_rank_intervals_hold_the_true_ranks():
    """Two entrants are equal in truth and a third is barely worse: true ranks 1 to 2, 1 to 2 and 3."""
    means = {("one", "none"): 0.8, ("two", "none"): 0.8, ("three", "none"): 0.79}
    true = {"one none": {1, 2}, "two none": {1, 2}, "three none": {3}}
    held, sure = dict.fromkeys(true, 0), 0
    for draw in range(80):
        for item in board_of(grid(means, cells=3, seeds=3, draw=draw)).placed:
            held[item.entrant.label] += true[item.entrant.label] <= set(range(item.rank_low, item.rank_high + 1))
            sure += item.rank_low == item.rank_high
    # 95 % is aimed at; four standard errors of 80 draws below it are 85 %. They must not be trivial either.
    assert min(held.values()) / 80 > 0.85
    assert sure > 0


def test_nothing_gives_no_board():
    assert boards([]) == []


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0.3, 0.9), min_size=2, max_size=5),
    st.floats(0.0, 0.1),
    st.integers(2, 3),
    st.randoms(use_true_random=False),
)
def test_ranks_intervals_letters_and_order(means, jitter, seeds, random):
    rows = grid({(f"detector{index}", "none"): mean for index, mean in enumerate(means)}, 2, seeds, jitter)
    board = board_of(rows)
    total = len(board.placed)
    for item in board.placed:
        assert 1 <= item.rank_low <= item.rank <= item.rank_high <= total
        assert item.estimate.low <= item.estimate.mean <= item.estimate.high
        assert item.wins + item.ties + item.losses == 2 * (total - 1)
    values = [item.estimate.mean for item in board.placed]
    assert values == sorted(values, reverse=True)
    # All pairs share the error of the letters, fewer that of a rank interval: who differs there differs here too.
    for one, other in combinations(board.placed, 2):
        if not set(one.groups) & set(other.groups):
            assert one.rank < other.rank
            assert one.rank_high < total
            assert other.rank_low > 1
    again = [*rows, dict(rows[0])]
    random.shuffle(again)
    assert summary(board_of(again)) == summary(board)
    assert board_of(again).notes == board.notes


def cells_of(names):
    return [CellKey(dataset="d", category=name, fingerprint="f") for name in names]


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        (["abc", "abc", "ab"], "abc"),  # one that misses a cell does not shrink the others'
        (["abcdef", "ab", "ab", "ab"], "ab"),  # nor does one that has more than the rest decide
        (["abcd", "abcd", "ab", "ab"], "abcd"),  # half is enough
        (["ab", "bc", "cd"], "ab"),  # no set is common: most cells covered, then the first in order
        (["abc", "d", "", ""], "abc"),  # who has nothing does not count
        ([""], ""),
        ([], ""),
    ],
)
def test_common_cells(sets, expected):
    assert list(common_cells([cells_of(names) for names in sets])) == cells_of(expected)


@pytest.mark.parametrize("case", LETTERS, ids=lambda case: case["reason"][:40])
def test_letters_of_worked_cases(case):
    different = {frozenset(pair) for pair in case["different"]}
    found = letters(case["names"], different)
    assert len(set("".join(found.values()))) == case["letters"]
    assert_letters_say(found, different)
    if "expected" in case:
        assert found == case["expected"]


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 7), st.data())
def test_two_names_share_a_letter_unless_they_differ(size, data):
    names = [f"n{index}" for index in range(size)]
    pairs = [frozenset(pair) for pair in combinations(names, 2)]
    different = data.draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    assert_letters_say(letters(names, different), different)


def assert_letters_say(found, different):
    assert all(found.values())
    for one, other in combinations(found, 2):
        assert bool(set(found[one]) & set(found[other])) is (frozenset((one, other)) not in different)


def test_labels_tell_options_apart():
    plain = Entrant(baseline="patchcore", options="{}", arm="none")
    other = Entrant(baseline="patchcore", options='{"coreset":0.1,"layers":["layer2"]}', arm="none")
    assert plain.label == "patchcore none"
    assert other.label == 'patchcore[coreset=0.1,layers=["layer2"]] none'
