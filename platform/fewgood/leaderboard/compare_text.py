"""The comparison of one cell as plain text: what `fewgood compare` prints for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fewgood.leaderboard.formats import format_interval
from fewgood.leaderboard.runs import METRICS

__all__ = ["format_compare"]


def format_compare(document: Mapping[str, Any]) -> str:
    """`compare_document`'s result as two aligned tables, arms and paired differences, and its notes.

    Only metrics that some arm has are shown. An interval is 95 %; without one there is a note that says why.
    """
    metrics = [name for name in METRICS if any(name in values for values in document["arms"].values())]
    arms = [["arm", "seeds", *metrics]]
    for arm, values in document["arms"].items():
        seeds = max((len(values[name]["values"]) for name in metrics if name in values), default=0)
        arms.append([arm, str(seeds), *(_cell(values.get(name), signed=False) for name in metrics)])
    pairs = [["difference", *metrics]]
    for entry in document["differences"]:
        label = f"{entry['arm']} - {entry['against']}"
        pairs.append([label, *(_cell(entry.get(name), signed=True) for name in metrics)])
    blocks = [_aligned(arms)]
    if len(pairs) > 1:
        blocks.append(_aligned(pairs))
    blocks.append("\n".join(f"note: {note}" for note in document["notes"]))
    return "\n\n".join(block for block in blocks if block)


def _cell(entry: Mapping[str, Any] | None, *, signed: bool) -> str:
    if entry is None:
        return "-"
    return format_interval(entry["mean"], entry["low"], entry["high"], signed=signed)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)
