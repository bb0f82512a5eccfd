"""Support sets are deterministic blocks, disjoint while there are enough images."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewgood.data import load_category, select_support
from fewgood.data.support import choose_indices
from fewgood.errors import DataError, SpecError


@given(count=st.integers(1, 60), shots=st.integers(1, 60), seed=st.integers(0, 100))
def test_a_support_set_has_its_size_and_is_repeatable(count, shots, seed):
    if shots > count:
        with pytest.raises(DataError):
            choose_indices(count, shots, seed, where="x")
        return
    indices, note = choose_indices(count, shots, seed, where="x")
    assert indices == sorted(set(indices))
    assert len(indices) == shots
    assert all(0 <= index < count for index in indices)
    assert (indices, note) == choose_indices(count, shots, seed, where="x")
    assert (note is None) == (seed < count // shots)


@given(count=st.integers(1, 60), shots=st.integers(1, 8))
def test_blocks_are_disjoint_and_in_order(count, shots):
    blocks = [choose_indices(count, shots, seed, where="x")[0] for seed in range(count // shots)]
    assert list(itertools.chain(*blocks)) == list(range(len(blocks) * shots))


def test_seeds_without_a_block_vary():
    drawn = {tuple(choose_indices(20, 5, seed, where="x")[0]) for seed in range(4, 24)}
    assert len(drawn) > 15


def test_notes_name_the_numbers():
    assert "20 good training images hold 4 blocks of 5" in (choose_indices(20, 5, 4, where="x")[1] or "")
    assert "same support set" in (choose_indices(5, 5, 3, where="x")[1] or "")


@pytest.mark.parametrize("shots", [0, -1, 1.5, True, "all"])
def test_shots_that_cannot_be_meant(shots):
    with pytest.raises(SpecError, match="whole number from 1 to 20"):
        choose_indices(20, shots, 0, where="x")


@pytest.mark.parametrize("seed", [-1, True, 0.5])
def test_seeds_that_cannot_be_meant(seed):
    with pytest.raises(SpecError, match="--seed"):
        choose_indices(20, 1, seed, where="x")


def test_too_many_shots_names_the_remedy():
    with pytest.raises(DataError, match=r"--shots is 30 but folder/x has 20 .*--shots 20 or fewer"):
        choose_indices(20, 30, 0, where="folder/x")


def test_select_support(tmp_path, trees):
    folder = trees["mvtec"](tmp_path / "root")
    category = load_category("folder", "bottle", root=tmp_path / "root", home=tmp_path)
    first, second = select_support(category, 2, 0), select_support(category, 2, 1)
    assert [item.name for item in second.items] == ["train/good/002.png", "train/good/003.png"]
    assert first.digest != second.digest
    full = select_support(category, "full", 7)
    assert full.items == category.train
    assert full.note is None
    trees["image"](folder / "train/good/000.png", 99)
    assert select_support(category, 2, 0).digest != first.digest
    assert select_support(category, 2, 1).digest == second.digest
