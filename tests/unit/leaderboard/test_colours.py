"""The charts' colours: readable in light and dark, and told apart by colour-blind readers."""

import itertools
import re

import numpy as np
import pytest

from fewgood.leaderboard.figure import charts_css

# Linear RGB as a dichromat sees it (Vienot, Brettel and Mollon 1999 for protan and deutan).
VISION = {
    "full": np.eye(3),
    "protanopia": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deuteranopia": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


def palettes():
    """The light set, and every dark one."""
    blocks = re.findall(r"\{\s*((?:--[a-z]+:\s*#[0-9a-f]{6};\s*)+)\}", str(charts_css()))
    return [dict(re.findall(r"--([a-z]+):\s*(#[0-9a-f]{6})", block)) for block in blocks]


def linear(colour):
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """WCAG 2 contrast ratio, 1 to 21."""
    light = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (light[1] + 0.05) / (light[0] + 0.05)


def test_there_is_a_light_and_a_dark_set():
    found = palettes()
    assert len(found) == 3
    assert found[1] == found[2], "the system's dark set and the class's are the same"
    assert found[0] != found[1]


@pytest.mark.parametrize("number", [0, 1])
def test_text_and_marks_stand_out(number):
    colours = palettes()[number]
    for ground in ("card", "page", "good", "bad", "open"):
        assert contrast(colours["ink"], colours[ground]) >= 4.5, ground
    assert contrast(colours["soft"], colours["card"]) >= 4.5
    for mark in ("blue", "orange", "grey"):
        assert contrast(colours[mark], colours["card"]) >= 3, mark


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("number", [0, 1])
def test_blue_and_orange_are_told_apart(number, vision):
    colours = palettes()[number]
    seen = {name: VISION[vision] @ linear(colours[name]) for name in ("blue", "orange")}
    for one, other in itertools.combinations(seen.values(), 2):
        assert np.linalg.norm(np.cbrt(one) - np.cbrt(other)) > 0.2
