"""The report: complete in one file, honest in its sentences, harmless whatever the ledger holds."""

from __future__ import annotations

import random
import re
from html.parser import HTMLParser

import pytest

from fewgood.leaderboard import compare, read_runs
from fewgood.leaderboard.charts import Dot, Series, dot_chart, point_chart, ticks
from fewgood.leaderboard.figure import chart_html, charts_css
from fewgood.leaderboard.headline import cautions, headline
from fewgood.leaderboard.ranks import boards
from fewgood.leaderboard.report import CellPictures, answer_tone, gain_tile, render_report
from fewgood.leaderboard.report_charts import board_chart, rank_correlation

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


def test_the_sections_come_in_order(make_row, make_cell):
    failed = make_row("noise", 0, count=8, status="failed", error="no")
    pictures = [CellPictures(label="bolt", support=[b"x"])]
    text = render_report([*many(make_row), *make_cell("tile"), failed], title="t", pictures=pictures)
    found = re.findall(r'<section id="(\w+)">', text)
    named = ["answer", "gains", "boards", "cells", "findings", "saturation", "cost", "coverage"]
    named += ["pictures", "published", "method", "failures"]
    assert found == named
    assert set(re.findall(r'<a href="#(\w+)">', text)) == set(named)


def test_published_values_stand_apart_and_only_beside_their_data(make_cell):
    text = render_report(make_cell(), title="t")
    apart = text[text.index('<section id="published">') : text.index('<section id="method">')]
    assert "not ours, not ranked" in apart
    assert "2403.06247" in apart
    assert "2403.06247" not in text.replace(apart, "")
    assert "Published values" not in render_report(make_cell(dataset="mine"), title="t")


def test_one_seed_shows_no_interval_of_ours(make_row):
    rows = [row for row in many(make_row) if row["seed"] == 0]
    text = render_report([*rows, make_row("generate-random", 0, count=16)], title="t")
    assert not re.search(r"\d \[[+-]?\d", text)
    assert "interval +" not in text
    assert "interval -" not in text
    assert not re.search(r'class="interval', text)
    assert "No point can be named" in text


def test_values_that_are_not_numbers_are_left_out(make_row):
    rows = [{**row, "image_auroc": float("nan")} if row["seed"] == 1 else row for row in many(make_row)]
    assert "nan" not in re.sub(r"<style>.*?</style>", "", render_report(rows, title="t"), flags=re.DOTALL).lower()
    nothing = render_report([{**row, "image_auroc": float("nan")} for row in rows], title="t")
    assert "Nothing can be said yet" in nothing


def test_a_partial_cell_is_named(make_row, make_cell):
    rows = make_cell("bolt") + [row for row in make_cell("tile") if (row["arm"], row["seed"]) != ("generate", 2)]
    text = render_report(rows, title="t")
    covered = text[text.index('<section id="coverage">') :]
    assert "1 of 2 cells are complete, 1 partial" in covered
    assert "generate: seed 2" in covered


def test_a_chart_is_one_figure_and_its_style_stays_inside_fewgood():
    evil = "<b>&\u202e"
    chart = dot_chart([Dot(label=evil, mean=0.1)], title=evil, caption=evil, axis=evil)
    page = Page(chart_html(chart))
    assert page.open == []
    assert page.tags[0] == "figure"
    assert "b" not in page.tags
    assert "\u202e" not in chart_html(chart)
    rules = re.sub(r"/\*.*?\*/|@media[^{]*\{", "", charts_css(), flags=re.DOTALL)
    selectors = [one.strip() for many in re.findall(r"([^{}]+)\{", rules) for one in many.split(",")]
    assert len(selectors) > 30
    assert all(one.startswith(".fewgood") for one in selectors)
    assert "<" not in charts_css()


def test_every_class_and_colour_of_a_chart_has_a_rule(make_row, make_cell):
    text = render_report([*many(make_row), *make_cell("tile")], title="t")
    marks = re.findall(r'<(?:line|path|circle|rect) class="([^"]+)"', text)
    used = {name for names in marks for name in names.split()}
    assert {"up", "one", "two", "total"} <= used
    # `neutral` is what a mark is without a colour of its own; `bar` only names a mark.
    assert all(f".{name}" in charts_css() for name in used - {"neutral", "bar"})
    variables = set(re.findall(r"var\((--\w+)\)", text))
    assert all(charts_css().count(f"{name}:") == 3 for name in variables)  # light, the system's dark, and dark


def test_the_answer_has_a_colour_and_large_numbers(make_cell):
    tones = {}
    for lift in (1.5, -1.2, 0.0):
        (ranking,) = compare(read_runs(make_cell(seeds=5, lift=lift)))
        tones[lift] = answer_tone(ranking)
        label, value, detail = gain_tile("gain", ranking.differences["generate", "none"]["image_auroc"])
        assert (label, value[0] == "-") == ("gain", lift < 0) or lift == 0.0
        assert detail.endswith("1 cell")
    assert tones == {1.5: "good", -1.2: "bad", 0.0: "open"}
    assert gain_tile("gain", None) == ("gain", "-", "not measured")


def test_a_board_has_a_chart_of_means_or_of_ranks(make_cell):
    few = [row for name in "ab" for row in make_cell(name, seeds=2)]
    chart = board_chart(boards(read_runs(few))[0])
    assert [row[-1] for row in chart.rows] == ["rank 1", "rank 2", "rank 3"]
    enough = [row for name in "abcdef" for row in make_cell(name, seeds=2)]
    assert board_chart(boards(read_runs(enough))[0]).title == "Mean ranks over 6 cells"


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
