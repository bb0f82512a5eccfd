"""Leaderboard: detectors and arms with rank intervals and tie groups, and every configuration as a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from fewgood.leaderboard.coverage import coverage, coverage_summary
from fewgood.leaderboard.formats import plain_text
from fewgood.leaderboard.published import published
from fewgood.leaderboard.ranks import HOW, Board, BoardKey, Placed, boards
from fewgood.leaderboard.report_charts import board_chart
from fewgood.leaderboard.report_sections import ranking_name
from fewgood.leaderboard.tables import LeaderboardRow
from fewgood_dashboard import address, exports, measures, parts, queries
from fewgood_dashboard.guard import guarded
from fewgood_dashboard.queries import SORTS, Filter, RankingLine
from fewgood_dashboard.source import Source

__all__ = ["render"]

PAGE_SIZE = 10
"""Lines of a page: each has three bootstrap intervals of its own, which a filter waits for."""

_PENDING = "\u2026"

_FILTERS = ("dataset", "category", "arm")


def render(source: Source) -> None:
    """What may be ranked, ranked; then every configuration as a line; then published values, which are not ranked."""
    line = parts.pick_ranking(source)
    _ranked(source, line)
    _configurations(source, line)
    _published()


@st.fragment
@guarded
def _configurations(source: Source, line: RankingLine) -> None:
    st.subheader("Every configuration")
    within = Filter(ranking=line.digest)
    columns = st.columns([2, 2, 2, 2, 2], vertical_alignment="bottom")
    equal = {
        name: address.choose_many(
            name.capitalize(), measures.known_values(source, name, within), name, where=columns[place]
        )
        for place, name in enumerate(_FILTERS)
    }
    sort = address.choose("Sort by", list(SORTS), "sort", where=columns[3])
    descending = address.switch("Highest first", "down", default=True, where=columns[4])
    chosen = Filter(ranking=line.digest, equal={name: values for name, values in equal.items() if values})
    number = address.page_number("page", str((line.digest, equal, sort, descending)))
    page = queries.configuration_page(
        source.index, chosen, sort=sort, descending=descending, number=number, size=PAGE_SIZE
    )
    st.caption(f"{page.total:,} configurations; page {page.number} of {page.pages:,}.")
    table = st.empty()
    if not measures.lines_are_known(source, page.rows, line.digest):
        with table:  # the means are there at once; the intervals take their place when they are
            parts.table([_means(row) for row in page.rows], key="means")
    found = measures.lines(source, page.rows, line.digest)
    with table:
        parts.table([_shown(item) for item in found], key="lines")
    address.paginate(page.pages, "page")
    st.caption(
        "Means over seeds with 95 % intervals over seeds and test images; gains are paired differences on the same "
        "support files, test images and seeds. Sorting by the gain uses its mean against the arm none."
    )
    exports.offer(source, chosen, line, sort=sort, descending=descending, total=page.total)


def _means(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `configurations` as a line whose intervals are still to come."""
    return _columns({**row, "added": row["count"], "configuration": row["config_hash"][:8]})


def _shown(line: LeaderboardRow) -> dict[str, Any]:
    """A line with what had to be resampled."""

    def interval(low: float | None, high: float | None) -> str | None:
        return None if low is None or high is None else f"{low:+.3f} to {high:+.3f}"

    return _columns(line.to_dict()) | {
        "95 % interval": None
        if line.image_auroc_low is None
        else f"{line.image_auroc_low:.3f} to {line.image_auroc_high:.3f}",
        "none, 95 %": interval(line.gain_none_low, line.gain_none_high),
        "gain vs augment": _round(line.gain_augment),
        "augment, 95 %": interval(line.gain_augment_low, line.gain_augment_high),
        "missing seeds": line.missing_seeds,
    }


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """The table's columns, in their order, with the means; the rest is pending. `values` has fields of `LeaderboardRow`."""
    return {
        "category": f"{values['dataset']}/{values['category']}",
        "arm": values["arm"],
        "added": values["added"],
        "configuration": values["configuration"],
        "seeds": values["seeds"],
        "image AUROC": _round(values["image_auroc"]),
        "95 % interval": _PENDING,
        "gain vs none": _round(values["gain_none"]),
        "none, 95 %": _PENDING,
        "gain vs augment": _PENDING,
        "augment, 95 %": _PENDING,
        "pixel AUROC": _round(values["pixel_auroc"]),
        "AUPRO": _round(values["pixel_aupro"]),
        "proxy": _round(values["proxy_score"]),
        "seconds": None if values["seconds"] is None else round(values["seconds"], 1),
        "failed": values["failed"],
        "missing seeds": _PENDING,
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _ranked(source: Source, line: RankingLine) -> None:
    st.subheader("Detectors and arms, ranked")
    board = board_of(source, line)
    if board is None or not board.placed:
        st.info("Nothing here can be ranked yet: no arm has finished.")
        return
    st.caption(
        parts.escaped(f"{ranking_name(board.key)}, over {len(board.cells)} cells. ")
        + "Detectors share a ranking where backbone, image size, shots and way of choosing are the same. Lines that share "
        "a letter cannot be told apart."
    )
    parts.table([_place(item) for item in (*board.placed, *board.ceilings)], key="board")
    st.caption(parts.stands(line))
    with st.expander("How the rank intervals are made, and what was left out"):
        st.text(HOW)
        for note in board.notes:
            st.text(plain_text(note))
        if board.left_out:
            st.caption("Not ranked, because cells are missing:")
            parts.table(
                [{"detector and arm": entrant.label, "missing cells": count} for entrant, count in board.left_out],
                key="left-out",
            )
    parts.charts([board_chart(board)], columns=1)
    _coverage(source, line)


def _coverage(source: Source, line: RankingLine) -> None:
    cells = coverage(measures.picked_runs(source, Filter(ranking=line.digest)))
    total = coverage_summary(cells)
    with st.expander(
        f"Coverage: {total.complete} of {total.cells} cells complete, {total.partial} partial, {total.empty} empty"
    ):
        st.caption(
            f"Of the compared configurations {total.ok} runs finished, {total.failed} failed and {total.missing} are missing: "
            "an arm and seed that another cell of this ranking has."
        )
        gaps = [
            {"category": item.cell.label, "arm": arm, "seed": seed, "state": state}
            for item in cells
            for (arm, seed), state in item.states.items()
            if state != "ok"
        ]
        parts.table(gaps[:500], key="coverage")


def _place(item: Placed) -> dict[str, Any]:
    low, high = item.estimate.low, item.estimate.high
    return {
        "rank": "ceiling" if item.ceiling else str(item.rank),
        "rank, 95 %": None
        if item.rank_low is None or item.rank_high is None
        else f"{item.rank_low} to {item.rank_high}",
        "tie groups": item.groups or None,
        "detector and arm": item.entrant.label,
        "image AUROC": _round(item.estimate.mean),
        "95 % interval": None if low is None or high is None else f"{low:.3f} to {high:.3f}",
        "wins / ties / losses": None if item.ceiling else f"{item.wins} / {item.ties} / {item.losses}",
    }


def board_of(source: Source, line: RankingLine) -> Board | None:
    """The board that a ranking belongs to: all detectors on its backbone, image size, shots and way of choosing."""
    fixed = ("backbone", "backbone_digest", "image_size", "shots", "select_on")
    wanted = BoardKey(**{name: getattr(line.key, name) for name in fixed})

    def compute() -> Board | None:
        runs = [
            run
            for member in measures.alike(source, line, fixed)
            for run in measures.picked_runs(source, Filter(ranking=member.digest))
        ]
        return next((board for board in boards(runs) if board.key == wanted), None)

    return source.kept(("board", wanted), compute)


def _published() -> None:
    st.subheader("Published values, not ranked with ours")
    st.caption(
        "Not ours, not measured here, and never ranked with ours: each was published with its own data split, backbone, "
        "resolution and seeds. What is known and not known of that stands in its line."
    )
    parts.table(
        [
            {
                "method": item.method,
                "dataset": item.dataset,
                "scope": item.scope,
                "shots": item.shots,
                "metric": item.metric,
                "value": item.value,
                "generated images": "yes" if item.with_generation else "no",
                "backbone": item.backbone,
                "pixels": item.image_size,
                "known of the protocol": item.protocol,
                "not known": item.unknown,
                "source": item.source,
            }
            for item in published()
        ],
        key="published",
    )
