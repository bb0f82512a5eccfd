"""The leaderboard's lines as files: CSV, Parquet, Markdown, LaTeX and JSON, with the same numbers as on the page."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import fields

import pyarrow as pa
import pyarrow.parquet as pq
import streamlit as st

from fewgood.leaderboard.formats import format_leaderboard
from fewgood.leaderboard.tables import LeaderboardRow
from fewgood_dashboard import measures, queries
from fewgood_dashboard.queries import Filter, RankingLine
from fewgood_dashboard.source import Source

__all__ = ["FORMATS", "LARGEST", "export", "offer"]

FORMATS = {
    "csv": ("CSV", "text/csv", "csv"),
    "parquet": ("Parquet", "application/vnd.apache.parquet", "parquet"),
    "md": ("Markdown", "text/markdown", "md"),
    "latex": ("LaTeX", "application/x-tex", "tex"),
    "json": ("JSON", "application/json", "json"),
}
"""Style -> (what people call it, media type, file ending)."""

_TYPES = {"int": pa.int64(), "float": pa.float64(), "str": pa.string()}
_SCHEMA = pa.schema([(item.name, _TYPES[str(item.type).split(" |")[0]]) for item in fields(LeaderboardRow)])

LARGEST = 1000
"""Lines of one export: every line's intervals are computed for it. The command line has no such limit."""


def export(lines: list[LeaderboardRow], style: str) -> bytes:
    """The lines in one of `FORMATS`; the same lines give the same bytes.

    Markdown and LaTeX have a table for each cell, inside it in the order given; the others keep the order.
    """
    if style in ("md", "latex"):
        lines = sorted(lines, key=lambda line: (line.dataset, line.category, line.ranking))
    if style != "parquet":
        return format_leaderboard(lines, style).encode()
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([line.to_dict() for line in lines], schema=_SCHEMA), stream, compression="zstd")
    return stream.getvalue()


def offer(source: Source, chosen: Filter, line: RankingLine, *, sort: str, descending: bool, total: int) -> None:
    """Buttons that download all lines that pass the filter, not only the page that is shown."""
    if total > LARGEST:
        st.caption(
            f"Up to {LARGEST:,} lines can be downloaded at once and the filter leaves {total:,}: narrow it, or use "
            "`fewgood leaderboard --format csv`."
        )
        return

    def made(style: str) -> Callable[[], bytes]:
        def make() -> bytes:
            page = queries.configuration_page(
                source.index, chosen, sort=sort, descending=descending, number=1, size=LARGEST
            )
            return export(measures.lines(source, page.rows, line.digest), style)

        return make

    for place, (style, (name, media, ending)) in zip(st.columns(len(FORMATS)), FORMATS.items(), strict=True):
        place.download_button(
            name,
            made(style),
            file_name=f"leaderboard-{line.digest}.{ending}",
            mime=media,
            key=f"export-{style}",
            on_click="ignore",
            icon=":material/download:",
            width="stretch",
        )
