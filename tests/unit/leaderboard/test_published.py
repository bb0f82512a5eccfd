"""Published values: each has a source, a share for a value, and says what is not known of it."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from fewgood.leaderboard import published
from fewgood.leaderboard.published import PublishedValue


def test_every_value_is_a_share_with_a_source_and_its_limits():
    values = published()
    for item in values:
        assert 0 <= item.value <= 1
        assert item.source
        assert item.protocol
        assert item.unknown
        assert item.dataset == "mvtec_ad"
    keys = [(item.arxiv, item.method, item.shots, item.protocol) for item in values]
    assert len(keys) == len(set(keys))


def test_the_values_of_the_paper_as_in_the_method_notes():
    found = {(item.method, item.shots): item.value for item in published() if item.arxiv == "2403.06247"}
    assert found == {
        ("PatchCore", "1"): 0.839,
        ("PatchCore", "few"): 0.914,
        ("PatchCore", "full"): 0.978,
        ("CFlow", "1"): 0.842,
        ("CFlow", "few"): 0.902,
        ("CFlow", "full"): 0.937,
        ("Reverse Distillation", "1"): 0.831,
        ("Reverse Distillation", "few"): 0.842,
        ("Reverse Distillation", "full"): 0.933,
        ("EfficientAd", "1"): 0.713,
        ("EfficientAd", "few"): 0.781,
        ("EfficientAd", "full"): 0.955,
    }
    assert {item.with_generation for item in published() if item.arxiv == "2403.06247"} == {True}


def test_values_are_found_by_dataset_and_shots():
    assert {item.method for item in published("mvtec_ad", 1)} == {
        "PatchCore",
        "CFlow",
        "Reverse Distillation",
        "EfficientAd",
        "WinCLIP+",
        "AnomalyDINO-S",
        "SubspaceAD",
    }
    assert published(shots="1") == published("mvtec_ad", 1)
    assert len(published(shots="full")) == 4
    assert published("btad") == []
    assert published(shots=3) == []


@pytest.mark.parametrize(
    "change",
    [
        {"value": 83.9},
        {"value": -0.1},
        {"value": "0.8"},
        {"value": 1},
        {"source": ""},
        {"unknown": ""},
        {"metric": "accuracy"},
        {"shots": "some"},
        {"year": "2024"},
        {"with_generation": 1},
        {"extra": "field"},
    ],
    ids=str,
)
def test_what_is_not_such_a_value_is_refused(change):
    with pytest.raises(ValueError, match=r"published value|share|metric|shots"):
        PublishedValue.from_json(asdict(published()[0]) | change)


def test_a_missing_field_is_refused():
    document = asdict(published()[0])
    del document["protocol"]
    with pytest.raises(ValueError, match="fields"):
        PublishedValue.from_json(document)
