"""The report: complete in one file, honest in its sentences, harmless whatever the ledger holds."""

from __future__ import annotations

import random
import re
from html.parser import HTMLParser

import pytest

from fewgood.leaderboard import compare, read_runs
from fewgood.leaderboard.charts import Dot, Series, dot_chart, point_chart, ticks
from fewgood.leaderboard.headline import cautions, headline
from fewgood.leaderboard.report import CellPictures, render_report
from fewgood.leaderboard.report_charts import rank_correlation

VOID = {"meta", "img", "br", "line", "path", "circle", "rect", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks nesting and collects what a browser would fetch or run."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links, self.handlers = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, tag


def many(make_row):
    rows = []
    for seed in (0, 1, 2):
        rows.append(make_row("none", seed))
        for count in (4, 8, 16):
            rows.append(make_row("augment", seed, count=count, lift=count / 60))
            rows.append(make_row("generate", seed, count=count, lift=count / 15, prompt="a photo of a flawless bolt"))
    return rows


def test_the_report_is_complete_in_itself_and_well_formed(make_row, make_cell):
    pictures = CellPictures(
        label="mvtec_ad/bolt",
        support=[b"support"],
        generated=[(b"made", "score 0.3")],
        rejected=[(b"left", "score 0.1")],
        detections=[(b"image", b"heat", b"mask", "scratch"), (b"image", b"heat", None, "good")],
    )
    failed = make_row(
        "noise", 0, count=8, status="failed", error="BaselineError: no", command="fewgood run --arm noise"
    )
    text = render_report([*many(make_row), *make_cell("tile"), failed], title="Report", pictures=[pictures])
    page = Page(text)
    assert page.open == []
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert text.count("data:image/png;base64,") == 1 + 1 + 1 + 5
    for words in (
        "Gain over the number of added images",
        "How well the proxy ranked",
        "Search on",
        "BaselineError: no",
    ):
        assert words in text
    assert page.tags.count("figure") >= page.tags.count("details") / 2


def test_every_chart_has_its_data_as_a_table(make_row):
    text = render_report(many(make_row), title="Report")
    figures = re.findall(r'<figure class="chart">.*?</figure>', text, re.DOTALL)
    assert len(figures) >= 6
    assert all("<svg" in figure and "<details>" in figure and "<td>" in figure for figure in figures)


def test_the_order_of_rows_does_not_change_a_byte(make_row):
    rows = many(make_row)
    shuffled = random.Random(1).sample(rows, len(rows))
    assert render_report(rows, title="t") == render_report(shuffled, title="t")


def test_hostile_text_is_escaped(make_cell):
    evil = '</title><script>alert("x")</script><img src=http://evil onerror=alert(1)>'
    rows = make_cell(evil, prompt=evil, command=evil, hardware=evil, versions_json='{"<b>": "<script>"}')
    rows.append({**rows[0], "run_id": "f", "seed": 9, "status": "failed", "error": evil})
    text = render_report(rows, title=evil, pictures=[CellPictures(label=evil, generated=[(b"x", evil)])])
    page = Page(text)
    assert "script" not in page.tags
    assert page.handlers == []
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)


def test_an_empty_ledger_says_how_to_fill_it():
    text = render_report([], title="Nothing")
    assert Page(text).open == []
    assert "fewgood evaluate" in text


def said(rows):
    (ranking,) = compare(read_runs(rows))
    return headline(ranking), cautions(ranking)


def test_headline_of_a_clear_gain(make_cell):
    (first, _), _ = said(make_cell(seeds=5, lift=1.5))
    assert "generation helps on mvtec_ad/bolt" in first
    assert "95 % interval +" in first


def test_headline_of_no_gain_claims_none(make_cell):
    (first, _), _ = said(make_cell(seeds=3, lift=0.0))
    assert "is not shown to help or to hurt" in first
    assert "includes zero" in first


def test_headline_of_one_seed_claims_nothing(make_cell):
    rows = make_cell(seeds=1, lift=3.0)
    (first, _), notes = said(rows)
    assert "one seed only" in first
    assert "helps" not in first
    assert any("one seed" in note for note in notes)
    (first, _), _ = said(rows + make_cell("tile", seeds=1, lift=3.0))
    assert "no evidence" in first
    assert "helps" not in first


def test_headline_of_two_cells(make_cell):
    (first, _), _ = said(make_cell("bolt", seeds=5, lift=1.5) + make_cell("tile", seeds=5, lift=0.0))
    assert "helps on 1 of 2 cells; the interval includes zero on the other" in first


def test_headline_of_a_loss(make_cell):
    (first, _), _ = said(make_cell("bolt", seeds=5, lift=-1.2) + make_cell("tile", seeds=5, lift=0.0))
    assert "hurts on 1 of 2 cells" in first
    assert "helps" not in first


def test_headline_without_generation(make_row):
    (first, _), _ = said([make_row("none", 0)])
    assert first.startswith("Nothing can be said yet")


def test_choosing_on_test_scores_is_announced(make_cell):
    _, notes = said(make_cell(select_on="test"))
    assert "too good" in notes[0]


def test_rank_correlation():
    assert rank_correlation([1, 2, 3], [10, 20, 30]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert rank_correlation([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9486833)  # ties share their mean rank
    assert rank_correlation([1, 1], [1, 2]) is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (-0.02, 0.07, [-0.02, 0, 0.02, 0.04, 0.06, 0.08])],
)
def test_ticks_are_round_and_enclose(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_dots_lie_where_their_values_say():
    chart = dot_chart(
        [Dot(label="a", mean=0.1, low=0.0, high=0.2), Dot(label="b", mean=None), Dot(label="c", mean=-0.1)],
        title="t",
        caption="c",
        axis="x",
        signed=True,
    )
    dot, zero = (
        float(re.search(pattern, chart.svg)[1]) for pattern in (r'<circle[^>]* cx="([\d.]+)"', r'"zero" x1="([\d.]+)"')
    )
    diamond = float(re.search(r'<path class="hollow neutral" d="M([\d.]+)', chart.svg)[1]) + 6
    assert dot - zero == pytest.approx(zero - diamond, abs=0.3)
    assert chart.rows[1][1:4] == ("-", "-", "-")


def test_points_of_equal_values_do_not_divide_by_zero():
    series = [Series(name="s", points=[(1.0, 0.5, None, None), (1.0, 0.5, None, None)])]
    chart = point_chart(series, title="t", caption="c", x_axis="x", y_axis="y")
    assert "nan" not in chart.svg
    assert len(chart.rows) == 2
