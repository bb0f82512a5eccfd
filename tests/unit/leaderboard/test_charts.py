"""The critical difference diagram: who is joined, and that it stays inside its frame."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewgood.leaderboard.charts import WIDTH, critical_difference_chart

DEMSAR = {"C4.5": 3.143, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}


def draw(ranks, critical_difference, **options):
    return critical_difference_chart(ranks, critical_difference, title="Ranks", caption="How to read.", **options)


def test_figure_1_of_demsar():
    # Demsar 2006, figure 1(a), p = 0.10: C4.5 and C4.5+cf are joined, and C4.5+cf with the two better ones.
    chart = draw(DEMSAR, 1.12)
    assert str(chart.svg).count('class="bar') == 2
    assert chart.rows == (
        ("C4.5+m+cf", "1.964", "C4.5+m, C4.5+cf"),
        ("C4.5+m", "2.000", "C4.5+m+cf, C4.5+cf"),
        ("C4.5+cf", "2.893", "C4.5+m+cf, C4.5+m, C4.5"),
        ("C4.5", "3.143", "C4.5+cf"),
    )
    # At 5 % the paper finds no difference at all.
    assert str(draw(DEMSAR, 1.25).svg).count('class="bar') == 1


def test_groups_can_be_given():
    chart = draw(DEMSAR, 1.12, groups=[["C4.5", "C4.5+cf"], ["C4.5+m"]], quantity="variant")
    assert chart.headers[0] == "variant"
    assert [row[2] for row in chart.rows] == ["-", "-", "C4.5", "C4.5+cf"]


def test_names_are_escaped_and_long_ones_shortened():
    chart = draw({"<b>&": 1.2, "n" * 60: 1.9, "z": 2.9}, 0.5)
    assert "<b>" not in str(chart.svg)
    assert "n" * 60 in str(chart.svg)  # in the title that a pointer shows
    assert all("n" * 30 not in text for text in re.findall(r'class="label"[^>]*>([^<]*)', str(chart.svg)))


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 10), st.data())
def test_everything_is_drawn_inside_the_frame(size, data):
    values = data.draw(st.lists(st.floats(1, size), min_size=size, max_size=size))
    width = data.draw(st.floats(0.05, size + 2))
    chart = draw({f"entrant {index}": value for index, value in enumerate(values)}, width)
    root = ElementTree.fromstring(str(chart.svg))
    height = float(root.get("viewBox").split()[3])
    for node in root.iter():
        for name in ("x", "x1", "x2", "cx"):
            assert 0 <= float(node.get(name, 0)) <= WIDTH
        for name in ("y", "y1", "y2", "cy"):
            assert 0 <= float(node.get(name, 0)) <= height
        if path := node.get("d"):
            assert max(map(float, re.findall(r"V([\d.]+)", path))) <= height - 5
    rows = [node.get("y") for node in root.iter() if node.get("class") == "label"]
    assert len(rows) == len(set(rows)) == size


@pytest.mark.parametrize("size", [3, 10])
def test_labels_fit_beside_the_axis(size):
    chart = draw({f"a quite long entrant number {index}": 1.0 + index for index in range(size)}, 1.0)
    for x, anchor, text in re.findall(
        r'class="label" x="([\d.]+)" y="[\d.]+" text-anchor="(\w+)">([^<]*)', str(chart.svg)
    ):
        room = float(x) if anchor == "end" else WIDTH - float(x)
        assert len(text) * 7.6 <= room  # 7.6 units is a wide mean of this font at 13 px
