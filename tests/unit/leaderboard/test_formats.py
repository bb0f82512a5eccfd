"""The leaderboard in every format: golden bytes, hostile text, narrow terminals, an empty ledger."""

from __future__ import annotations

import csv
import io
import json
import random
from html.parser import HTMLParser
from typing import ClassVar

import pytest

from fewgood.errors import SpecError
from fewgood.leaderboard import EMPTY, FORMATS, format_leaderboard, leaderboard
from fewgood.leaderboard.formats import format_interval, plain_text

HOSTILE = '=cmd|"/c calc"!A1 <script>alert(1)</script> | & % $ # _ { } ~ ^ \\ \x1b[31m\u202e `x`\n[bold]'


@pytest.fixture
def hostile(make_cell):
    return leaderboard(make_cell(HOSTILE, dataset="=1+1"))


@pytest.mark.parametrize("style", sorted(FORMATS))
def test_the_order_of_rows_does_not_change_a_byte(make_cell, style):
    rows = make_cell("bolt") + make_cell("tile", lift=0.1)
    shuffled = random.Random(4).sample(rows, len(rows))
    assert format_leaderboard(leaderboard(rows), style) == format_leaderboard(leaderboard(shuffled), style)


@pytest.mark.parametrize("style", sorted(FORMATS))
def test_hostile_text_is_harmless(hostile, style):
    text = format_leaderboard(hostile, style)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.endswith("\n")


def test_hostile_csv_has_no_formula(hostile):
    lines = list(csv.reader(io.StringIO(format_leaderboard(hostile, "csv"))))
    assert {len(line) for line in lines} == {len(lines[0])}
    assert lines[1][0] == "'=1+1"
    assert lines[1][1].startswith("'=cmd|")
    for line in lines[1:]:
        for cell in line:
            assert not cell.startswith(("=", "@", "+", "\t"))
            assert not cell.startswith("-") or float(cell) < 0


def test_hostile_html_has_only_the_tags_of_a_table(hostile):
    class Tags(HTMLParser):
        seen: ClassVar[set[str]] = set()

        def handle_starttag(self, tag, attrs):
            self.seen.add(tag)

    parser = Tags()
    parser.feed(format_leaderboard(hostile, "html"))
    assert parser.seen == {"table", "caption", "thead", "tbody", "tr", "th", "td"}


def test_hostile_markdown_keeps_its_columns(hostile):
    text = format_leaderboard(hostile, "md")
    assert "<script" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {12}


def test_hostile_latex_is_escaped(hostile):
    caption = next(line for line in format_leaderboard(hostile, "latex").splitlines() if line.startswith(r"\caption"))
    assert r"\& \% \$ \# \_ \{ \} \textasciitilde{} \textasciicircum{} \textbackslash{}" in caption
    assert caption.count("{") == caption.count("}")


def test_json_is_exact_and_has_every_column(make_cell):
    rows = leaderboard(make_cell())
    document = json.loads(format_leaderboard(rows, "json"))
    assert document["rows"] == [row.to_dict() for row in rows]


def test_golden_markdown(make_cell):
    text = format_leaderboard(leaderboard(make_cell(seeds=1)), "md")
    lines = text.splitlines()
    title = "### mvtec\\_ad/bolt: patchcore on lite0 at 224 px, 1-shot, chosen by proxy "
    assert lines[0].startswith(title)
    assert lines[2] == (
        "| arm | config | added | seeds | image AUROC | gain vs none | gain vs augment | pixel AUROC | AUPRO | seconds "
        "| coverage |"
    )
    assert lines[4].startswith("| generate | generate | 16 | 1 | 0.")
    assert "\\[" not in lines[4]  # one seed: no interval
    assert lines[6].startswith("| none | none-Non | - | 1 | 0.")
    assert lines[6].endswith("| 2.0 | ok |")


def test_a_narrow_table_drops_columns_but_not_gaps(make_cell, make_row):
    rows = leaderboard(make_cell())
    wide, narrow = (format_leaderboard(rows, "table", width=width) for width in (200, 90))
    assert "AUPRO" in wide
    assert "AUPRO" not in narrow
    assert "coverage" not in narrow
    assert max(map(len, narrow.splitlines())) <= 90
    failed = make_row("generate", 3, count=16, status="failed", error="boom")
    assert "coverage" in format_leaderboard(leaderboard([*make_cell(), failed]), "table", width=90)


@pytest.mark.parametrize("style", ["table", "md", "json", "html"])
def test_an_empty_ledger_says_how_to_fill_it(style):
    text = format_leaderboard([], style)
    assert EMPTY in text
    assert "fewgood" in text


def test_an_empty_csv_has_its_header():
    assert format_leaderboard([], "csv").startswith("dataset,category,")


def test_unknown_format():
    with pytest.raises(SpecError, match="--format is 'xml', allowed is one of table"):
        format_leaderboard([], "xml")


def test_a_failed_cell_without_numbers_is_shown(make_row):
    rows = leaderboard([make_row(status="failed", image_auroc=None, error="boom")])
    assert (rows[0].image_auroc, rows[0].failed) == (None, 1)
    for style in FORMATS:
        assert "nan" not in format_leaderboard(rows, style).lower()


@pytest.mark.parametrize(
    ("numbers", "signed", "text"),
    [
        ((0.7124, 0.69, 0.734), False, "0.712 [0.690, 0.734]"),
        ((0.01, -0.02, 0.04), True, "+0.010 [-0.020, +0.040]"),
        ((-0.0001, None, None), True, "0.000"),
        ((None, None, None), True, "-"),
    ],
)
def test_format_interval(numbers, signed, text):
    assert format_interval(*numbers, signed=signed) == text


def test_plain_text_is_one_line():
    assert plain_text("a\n b\x00\u200bc") == "a bc"
