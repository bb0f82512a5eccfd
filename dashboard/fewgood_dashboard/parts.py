"""Pieces that several pages share: a chart with its numbers, a table, tiles, and what is said when something is missing."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import streamlit as st

from fewgood.errors import StoreError
from fewgood.leaderboard import EMPTY
from fewgood.leaderboard.charts import Chart
from fewgood.leaderboard.figure import chart_html, charts_css
from fewgood.leaderboard.formats import plain_text
from fewgood_dashboard import address, measures
from fewgood_dashboard.queries import RankingLine
from fewgood_dashboard.source import Source

__all__ = [
    "answer",
    "charts",
    "columns",
    "empty",
    "escaped",
    "marked",
    "pick_ranking",
    "problems",
    "scheme",
    "sheet",
    "stands",
    "table",
    "tiles",
]


def scheme() -> str:
    """`light` or `dark`, as the reader's browser shows the app."""
    return "dark" if getattr(st.context.theme, "type", None) == "dark" else "light"


def sheet() -> None:
    """The style sheet of the charts, and of the few things Streamlit has no element for."""
    st.html(f"<style>{charts_css()}{_OWN}</style>")


def charts(found: Iterable[Chart | None], *, columns: int = 2) -> None:
    """Charts side by side, each with its numbers as a table to unfold."""
    known = [chart for chart in found if chart is not None]
    for start in range(0, len(known), columns):
        for place, chart in zip(st.columns(columns), known[start : start + columns], strict=False):
            with place:
                marked(str(chart_html(chart)))


def marked(body: str) -> None:
    """HTML that this package made; what comes from a ledger must have been escaped.

    Streamlit takes inline SVG out of HTML, so every drawing becomes a picture with the same style sheet inside.
    """
    colours = scheme()
    drawn = re.sub(r"<svg\b.*?</svg>", lambda found: _picture(found.group(), colours), body, flags=re.DOTALL)
    st.html(f'<div class="fewgood {colours}">{drawn}</div>')


def _picture(svg: str, colours: str) -> str:
    """An inline SVG as an `<img>`, with its accessible name as the alternative text."""
    head = svg[: svg.index(">")]
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)
    name = re.search(r'aria-label="([^"]*)"', head)
    width, height = box.groups() if box else ("1", "1")
    inner = re.sub(
        r"<svg\b",
        '<svg xmlns="http://www.w3.org/2000/svg"',
        svg.replace(' xmlns="http://www.w3.org/2000/svg"', ""),
        count=1,
    )
    whole = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<style>{charts_css()}</style><g class="fewgood {colours}">{inner}</g></svg>'
    )
    data = base64.b64encode(whole.encode()).decode()
    css = "drawn" if name else "mark"
    alt = name.group(1) if name else ""
    source = f"data:image/svg+xml;base64,{data}"
    return f'<img class="{css}" width="{width}" height="{height}" alt="{alt}" src="{source}">'


def answer(lead: str, more: Sequence[str], *, tone: str) -> None:
    """The sentence that a page is about, on a coloured card: `good`, `bad` or `open`."""
    rest = "".join(f"<p>{html.escape(plain_text(text))}</p>" for text in more)
    marked(f'<div class="answer {tone}"><p class="lead">{html.escape(plain_text(lead))}</p>{rest}</div>')


def tiles(items: Sequence[tuple[str, str, str]]) -> None:
    """(label, value, detail) as a row of large numbers."""
    body = "".join(
        f'<div class="tile"><span>{html.escape(plain_text(label))}</span><b>{html.escape(plain_text(value))}</b>'
        f"<span>{html.escape(plain_text(detail))}</span></div>"
        for label, value, detail in items
    )
    marked(f'<div class="tiles">{body}</div>')


def table(rows: Sequence[Mapping[str, Any]], *, key: str) -> None:
    """Rows as a table; every cell is shown as text or number, never as markup."""
    if not rows:
        st.caption("Nothing to show.")
        return
    height = min(36 * (len(rows) + 1) + 2, 940)
    st.dataframe(columns(rows), hide_index=True, width="stretch", height=height, key=key, placeholder="-")


def columns(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as Arrow columns: all that any row has, in the order of appearance; values of mixed kinds become text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({plain_text(name) or "-": _column([row.get(name) for row in rows]) for name in names})


def _column(values: Sequence[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or kinds == {bool}:
        return pa.array(values, pa.bool_() if kinds == {bool} else pa.float64() if float in kinds else pa.int64())
    return pa.array([None if value is None else plain_text(str(value)) for value in values], pa.string())


def escaped(text: str) -> str:
    """Text for an element that reads Markdown: every character that means something there is shown as itself."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|~<>$:&^=])", r"\\\1", plain_text(text))


def pick_ranking(source: Source) -> RankingLine:
    """The ranking that a page is about, from the address, else the one chosen before; the ledger has runs.

    Raises:
        StoreError: if the runs went away while the page was drawn.
    """
    known = measures.rankings(source)
    if not known:
        raise StoreError(f"the ledger {source.settings.shown} has no runs any more: check the folder")
    by_digest = {line.digest: line for line in known}
    chosen = address.choose(
        "Ranking",
        list(by_digest),
        "ranking",
        default=address.remembered("ranking"),
        show=lambda digest: plain_text(f"{by_digest[digest].label} ({by_digest[digest].cells} cells)"),
        hint="Runs that may be compared: one detector, backbone, image size, number of shots and way of choosing.",
    )
    address.remember("ranking", chosen)
    if by_digest[chosen].key.select_on == "test":
        st.warning(
            "The configurations of this ranking were chosen by their score on the test images: its values and gains are "
            "too good for that reason, and it is never mixed with another ranking."
        )
    return by_digest[chosen]


def stands(line: RankingLine) -> str:
    """How the configuration was chosen that stands for an arm, as a sentence."""
    return _STANDS.get(line.key.select_on, _STANDS["fixed"])


def empty(source: Source) -> None:
    """What an empty ledger says: where it was looked for, and how it is filled."""
    st.info(EMPTY)
    st.text(f"Ledger: {plain_text(source.settings.shown)}")
    st.code(
        "fewgood evaluate --dataset sample --category washer --arm none\n"
        "fewgood compare --dataset sample --category brick --seeds 0,1,2 --arms none,augment,generate\n"
        "fewgood sweep --name first --dataset sample --categories brick --trials 4 --space demo",
        language="sh",
    )


def problems(source: Source) -> None:
    """What is wrong with the ledger, above every page: an unreachable place, and files that cannot be read."""
    if source.error:
        st.error("The ledger cannot be read now. What was read before is shown; the page looks again by itself.")
        st.text(plain_text(source.error))
        return
    found = source.index.problems
    if found:
        with st.expander(f"{len(found)} ledger file{'s' if len(found) > 1 else ''} cannot be read and take no part"):
            table([{"file": name, "what is wrong": text} for name, text in found[:200]], key="problems")
            st.caption("A file that is still being copied is read when it is complete.")


_STANDS = {
    "proxy": "Where an arm has several configurations, the one with the highest proxy score stands for it.",
    "test": "Where an arm has several configurations, the best on the test images stands for it: its value is too good.",
    "fixed": "Where an arm has several configurations, the one with most seeds stands for it, of equals the latest.",
}

_OWN = """
.fewgood .answer { border-left: 6px solid var(--grey); border-radius: 10px; padding: 18px 22px; background: var(--open);
  color: var(--ink); }
.fewgood .answer.good { border-left-color: var(--blue); background: var(--good); }
.fewgood .answer.bad { border-left-color: var(--orange); background: var(--bad); }
.fewgood .answer p { margin: 0 0 8px; overflow-wrap: anywhere; }
.fewgood .answer p:last-child { margin: 0; }
.fewgood .answer .lead { font-size: 1.25rem; line-height: 1.45; font-weight: 600; }
.fewgood .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 14px; }
.fewgood .tile { background: var(--card); color: var(--ink); border: 1px solid var(--faint); border-radius: 8px;
  padding: 12px 16px; }
.fewgood .tile b { display: block; font-size: 1.5rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.fewgood .tile span { display: block; font-size: 0.85rem; color: var(--soft); }
.fewgood img.drawn { display: block; width: 100%; height: auto; max-width: 720px; }
.fewgood img.mark { display: inline; vertical-align: -1px; margin-right: 5px; }
.fewgood .chart { padding: 14px 16px; }
.stMainBlockContainer { padding: 3.2rem 2.4rem 4rem; }
.fewgood .finding { border-left: 4px solid var(--line); padding: 2px 0 2px 14px; margin: 4px 0 10px; color: var(--ink); }
.fewgood .finding p { margin: 0 0 4px; overflow-wrap: anywhere; }
.fewgood .finding .limits { color: var(--soft); font-size: 0.9rem; }
"""
