"""Search spaces: what ships is valid, `extends` inherits, and a mistake is named with its file and line."""

import dataclasses

import pytest

from fewgood.errors import SpecError
from fewgood.trials import make_spec
from fewgood_spaces import list_spaces, load_space


@pytest.mark.parametrize("name", list_spaces())
def test_what_ships_is_valid(name):
    space = load_space(name)
    assert space.distributions()
    for corner in space.corners():
        make_spec(dataset="sample", category="brick", settings=corner)


def test_extends_inherits_and_overrides(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "version: 1\nextends: demo\nparameters:\n  selection.count: {type: int, low: 2, high: 6, step: 2}\n"
    )
    space = load_space(str(path))
    assert set(space.parameters) == set(load_space("demo").parameters)
    assert dataclasses.asdict(space.parameters["selection.count"]) == {"low": 2, "high": 6, "step": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version: 1\nparameters:\n  a.b: {type: int, low: 3, high: 1}\n", r"bad\.yaml:3: .*low 3 is above high 1"),
        ("version: 1\nparameters:\n  a.b: {type: choice, values: []}\n", r"bad\.yaml:3: .*values"),
        ("version: 1\nparametres: {}\n", r"bad\.yaml:2: parametres"),
        ("version: 2\nparameters: {}\n", r"bad\.yaml:1: version"),
        ("version: [\n", "is not YAML"),
        ("version: 1\n", "has no parameters"),
        ("version: 1\nextends: bad.yaml\n", "circle"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, words):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=words):
        load_space(str(path))


def test_an_unknown_name_lists_the_known():
    with pytest.raises(SpecError, match="known are default, demo"):
        load_space("defualt")
