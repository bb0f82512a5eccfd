"""The leaderboard as text: table, json, csv, md, html and latex; the same rows give the same bytes."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any

from fewgood.errors import SpecError
from fewgood.leaderboard.tables import EMPTY, LeaderboardRow

__all__ = ["CHOSEN", "FORMATS", "format_interval", "format_leaderboard", "plain_text", "shots_word"]

CHOSEN = {"proxy": "chosen by proxy", "test": "CHOSEN ON TEST SCORES", "fixed": "fixed configuration"}
"""How a configuration was chosen -> in words."""


@dataclass(frozen=True)
class _Column:
    """A column of the printed formats: its heading, how a row fills it, and when a narrow table drops it (0: never)."""

    heading: str
    cell: Callable[[LeaderboardRow], str]
    numeric: bool = True
    drop: int = 0


def format_interval(mean: float | None, low: float | None, high: float | None, *, signed: bool = False) -> str:
    """`0.712 [0.690, 0.734]`; without brackets where there is no interval, a dash where there is no mean."""
    if mean is None:
        return "-"
    if low is None or high is None:
        return _decimal(mean, signed)
    return f"{_decimal(mean, signed)} [{_decimal(low, signed)}, {_decimal(high, signed)}]"


def plain_text(text: str) -> str:
    """`text` on one line, without control, bidirectional or other invisible characters that act on a screen."""
    spaced = re.sub(r"\s+", " ", text)
    return "".join(char for char in spaced if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"))


def shots_word(shots: str) -> str:
    """`1-shot`, or `full data`."""
    return f"{shots}-shot" if shots.isdigit() else f"{shots} data"


def _decimal(value: float, signed: bool) -> str:
    text = f"{value:{'+' if signed else ''}.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _coverage(row: LeaderboardRow) -> str:
    parts = [f"{row.failed} failed"] if row.failed else []
    if row.missing_seeds:
        parts.append(f"no seed {row.missing_seeds}")
    return "; ".join(parts) or "ok"


COLUMNS = (
    _Column("arm", lambda row: row.arm, numeric=False),
    _Column("config", lambda row: row.configuration, numeric=False, drop=5),
    _Column("added", lambda row: "-" if row.added is None else str(row.added), drop=1),
    _Column("seeds", lambda row: str(row.seeds)),
    _Column("image AUROC", lambda row: format_interval(row.image_auroc, row.image_auroc_low, row.image_auroc_high)),
    _Column(
        "gain vs none",
        lambda row: format_interval(row.gain_none, row.gain_none_low, row.gain_none_high, signed=True),
    ),
    _Column(
        "gain vs augment",
        lambda row: format_interval(row.gain_augment, row.gain_augment_low, row.gain_augment_high, signed=True),
    ),
    _Column("pixel AUROC", lambda row: _number(row.pixel_auroc), drop=3),
    _Column("AUPRO", lambda row: _number(row.pixel_aupro), drop=4),
    _Column("seconds", lambda row: _number(row.seconds, 1), drop=6),
    _Column("coverage", _coverage, numeric=False, drop=2),
)
"""Columns of table, md, html and latex; json and csv hold every field of `LeaderboardRow`."""

_CELL = ("dataset", "category", "baseline", "backbone", "image_size", "shots", "select_on", "ranking")


def format_leaderboard(rows: Sequence[LeaderboardRow], style: str, *, width: int = 120) -> str:
    """The leaderboard in one of `FORMATS`.

    Args:
        rows: The lines of `leaderboard`.
        style: table, json, csv, md, html or latex.
        width: Columns of the terminal; `table` only. Less important columns go first where it is narrow.

    Returns:
        Text that ends with a line break.

    Raises:
        SpecError: For another style.
    """
    if style not in FORMATS:
        raise SpecError(f"--format is {style!r}, allowed is one of {', '.join(FORMATS)}")
    text = _table(rows, width) if style == "table" else FORMATS[style](rows)
    return text.rstrip("\n") + "\n"


def _cells(rows: Sequence[LeaderboardRow]) -> list[tuple[str, list[LeaderboardRow]]]:
    groups = groupby(rows, key=lambda row: tuple(getattr(row, name) for name in _CELL))
    return [(_title(members[0]), members) for _, group in groups if (members := list(group))]


def _title(row: LeaderboardRow) -> str:
    size = f" at {row.image_size} px" if row.image_size else ""
    backbone = f" on {row.backbone}" if row.backbone else ""
    return plain_text(
        f"{row.dataset}/{row.category}: {row.baseline}{backbone}{size}, {shots_word(row.shots)}, "
        f"{CHOSEN.get(row.select_on, row.select_on)} ({row.ranking})"
    )


def _table(rows: Sequence[LeaderboardRow], width: int = 120) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return EMPTY
    stream = io.StringIO()
    # color_system=None and Text instead of markup: the bytes do not depend on the terminal, nor on what the rows say.
    console = Console(file=stream, width=width, color_system=None, force_terminal=False, legacy_windows=False)
    for title, members in _cells(rows):
        columns = list(COLUMNS)
        # A line with gaps must not look complete because the terminal is narrow.
        kept = {"coverage"} if any(_coverage(row) != "ok" for row in members) else set()
        while sum(_width(column, members) + 3 for column in columns) + 1 > width:
            droppable = [column for column in columns if column.drop and column.heading not in kept]
            if not droppable:
                break
            columns.remove(max(droppable, key=lambda column: column.drop))
        table = Table(title=Text(title), title_justify="left")
        for column in columns:
            table.add_column(Text(column.heading), justify="right" if column.numeric else "left", overflow="fold")
        for row in members:
            table.add_row(*(Text(plain_text(column.cell(row))) for column in columns))
        console.print(table)
    return stream.getvalue()


def _width(column: _Column, rows: Sequence[LeaderboardRow]) -> int:
    return max(len(column.heading), *(len(plain_text(column.cell(row))) for row in rows))


def _json(rows: Sequence[LeaderboardRow]) -> str:
    document: dict[str, Any] = {"rows": [row.to_dict() for row in rows]}
    if not rows:
        document["message"] = EMPTY
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False)


def _csv(rows: Sequence[LeaderboardRow]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([item.name for item in fields(LeaderboardRow)])
    for row in rows:
        writer.writerow([_csv_cell(value) for value in row.to_dict().values()])
    return stream.getvalue()


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return repr(value)
    text = plain_text(value)
    # A spreadsheet runs a cell that starts like a formula; the apostrophe makes it text (OWASP, CSV injection).
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@") else text


def _markdown(rows: Sequence[LeaderboardRow]) -> str:
    if not rows:
        return EMPTY
    parts = []
    for title, members in _cells(rows):
        lines = [f"### {_md(title)}", ""]
        lines.append("| " + " | ".join(column.heading for column in COLUMNS) + " |")
        lines.append("|" + "|".join(" ---: " if column.numeric else " --- " for column in COLUMNS) + "|")
        lines += ["| " + " | ".join(_md(column.cell(row)) for column in COLUMNS) + " |" for row in members]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _md(text: str) -> str:
    escaped = re.sub(r"([\\`*_{}\[\]()#!|~])", r"\\\1", plain_text(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _html(rows: Sequence[LeaderboardRow]) -> str:
    if not rows:
        return f"<p>{html.escape(EMPTY)}</p>"
    parts = []
    for title, members in _cells(rows):
        head = "".join(f'<th scope="col">{html.escape(column.heading)}</th>' for column in COLUMNS)
        lines = ["<tr>" + "".join(_td(column, column.cell(row)) for column in COLUMNS) + "</tr>" for row in members]
        parts.append(
            f"<table>\n<caption>{html.escape(title)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
            + "\n".join(lines)
            + "\n</tbody>\n</table>"
        )
    return "\n".join(parts)


def _td(column: _Column, text: str) -> str:
    css = ' class="number"' if column.numeric else ""
    return f"<td{css}>{html.escape(plain_text(text))}</td>"


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",
    "]": "{]}",
    **{char: "\\" + char for char in "&%$#_{}"},
}


def _latex(rows: Sequence[LeaderboardRow]) -> str:
    if not rows:
        return "% " + _tex(EMPTY)
    parts = [r"% needs \usepackage{booktabs} and \usepackage[T1]{fontenc}"]
    for title, members in _cells(rows):
        parts += [
            r"\begin{table}",
            rf"\caption{{{_tex(title)}}}",
            r"\begin{tabular}{" + "".join("r" if column.numeric else "l" for column in COLUMNS) + "}",
            r"\toprule",
            " & ".join(_tex(column.heading) for column in COLUMNS) + r" \\",
            r"\midrule",
            *(" & ".join(_tex(column.cell(row)) for column in COLUMNS) + r" \\" for row in members),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(parts)


def _tex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in plain_text(text))


FORMATS: dict[str, Callable[[Sequence[LeaderboardRow]], str]] = {
    "table": _table,
    "json": _json,
    "csv": _csv,
    "md": _markdown,
    "html": _html,
    "latex": _latex,
}
"""Style -> how it is written."""
