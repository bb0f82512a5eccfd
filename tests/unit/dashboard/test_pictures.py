"""Zoom, exports and chart pictures."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fewgood.leaderboard import format_leaderboard, leaderboard
from fewgood_dashboard.exports import FORMATS, export
from fewgood_dashboard.parts import columns, escaped
from fewgood_dashboard.views.gallery import zoomed


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format="PNG")
    return stream.getvalue()


def test_zoom_enlarges_the_part_that_is_asked_for():
    corners = np.zeros((40, 80, 3), np.uint8)
    corners[30:, 60:] = 255
    with Image.open(io.BytesIO(zoomed(png(corners), 4, 1.0, 1.0))) as part:
        assert part.size == (720, 360)
        assert np.asarray(part).min() == 255
    with Image.open(io.BytesIO(zoomed(png(corners), 4, 0.0, 0.0))) as part:
        assert np.asarray(part).max() == 0
    with Image.open(io.BytesIO(zoomed(png(corners[:2, :3]), 8, 0.5, 0.5))) as part:
        assert max(part.size) == 720


@pytest.mark.parametrize("style", FORMATS)
def test_exports_hold_the_lines(make_cell, style):
    lines = leaderboard(make_cell("bolt") + make_cell("=cmd()"))
    found = export(lines, style)
    assert found == export(list(lines), style), "the same lines give the same bytes"
    if style == "parquet":
        assert pq.read_table(io.BytesIO(found)).to_pylist() == [line.to_dict() for line in lines]
    else:
        assert found.decode() == format_leaderboard(lines, style)


def test_markdown_and_latex_have_one_table_a_cell_whatever_the_order(make_cell):
    lines = sorted(leaderboard(make_cell("bolt") + make_cell("nut")), key=lambda line: line.image_auroc)
    assert export(lines, "md").decode().count("### ") == 2
    assert export(lines, "latex").decode().count(r"\toprule") == 2
    empty = pq.read_schema(io.BytesIO(export([], "parquet")))
    assert empty == pq.read_schema(io.BytesIO(export(lines, "parquet")))


def test_a_table_has_every_row_s_columns_and_mixed_values_are_text():
    table = columns([{"a": 1, "b": None}, {"a": "auto", "b": 2.5, "c": True}, {"a": None, "b": 1}])
    assert table.to_pydict() == {"a": ["1", "auto", None], "b": [None, 2.5, 1.0], "c": [None, True, None]}


def test_markdown_in_a_name_is_shown_as_it_is():
    assert escaped("**a** <b> $x$ [l](u)") == r"\*\*a\*\* \<b\> \$x\$ \[l\]\(u\)"
