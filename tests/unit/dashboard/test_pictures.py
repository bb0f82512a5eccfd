"""Zoom, exports and chart pictures."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fewgood.leaderboard import format_leaderboard, leaderboard
from fewgood_dashboard.exports import FORMATS, export
from fewgood_dashboard.parts import escaped
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


def test_markdown_in_a_name_is_shown_as_it_is():
    assert escaped("**a** <b> $x$ [l](u)") == r"\*\*a\*\* \<b\> \$x\$ \[l\]\(u\)"
