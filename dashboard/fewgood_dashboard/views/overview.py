"""Overview: the answer in one screen."""

from __future__ import annotations

import streamlit as st

from fewgood.leaderboard.compare import RankingComparison
from fewgood.leaderboard.cost import cost_against_gain
from fewgood.leaderboard.headline import cautions, headline
from fewgood.leaderboard.report import answer_tone, gain_tile
from fewgood.leaderboard.report_charts import gain_chart
from fewgood_dashboard import measures, parts, queries
from fewgood_dashboard.source import Source

__all__ = ["render"]


def render(source: Source) -> None:
    """Does generation help, by how much, how sure is that, and what was it measured on."""
    line = parts.pick_ranking(source)
    found = measures.answer(source, line.digest)
    if found is None:
        st.info("No run of this ranking has finished yet.")
    else:
        first, second = headline(found)
        parts.answer(first, [second], tone=answer_tone(found))
        for text in cautions(found):
            st.warning(text)
        gaps = {
            control: found.differences.get(("generate", control), {}).get("image_auroc")
            for control in ("none", "augment")
        }
        shown = [gain_tile(f"gain against {control}, image AUROC", gap) for control, gap in gaps.items()]
        shown.append(_paid(found))
        cells = f"{line.seeds} seeds, {line.finished:,} runs, {line.failed:,} failed"
        shown.append(("cells compared", str(len(found.cells)), cells))
        parts.tiles(shown)
        parts.charts([gain_chart(found, "none"), gain_chart(found, "augment")])
        st.caption(f"{parts.stands(line)} An augmented control of another size stands in where none has the same.")
    _everything(source)


def _paid(found: RankingComparison) -> tuple[str, str, str]:
    """The tile that says what generation costs beyond plain augmentation."""
    spent = cost_against_gain([found])
    seconds = spent[0].extra_seconds if spent else None
    value = "-" if seconds is None else f"{seconds:+,.1f} s"
    return ("extra seconds of a run", value, "generate against augment, as they were spent")


def _everything(source: Source) -> None:
    st.subheader("All that was measured")
    total = source.kept(("totals",), lambda: queries.totals(source.index))
    parts.tiles(
        [
            ("finished runs", f"{total['finished']:,}", f"{total['failed']:,} failed"),
            ("categories", str(total["categories"]), f"{total['cells']} cells with detector and shots"),
            ("rankings", str(total["rankings"]), "sets of runs that may be compared"),
            (
                "hours of runs",
                f"{total['hours'] or 0:,.1f}",
                f"last start {(total['last'] or 'not known')[:16].replace('T', ' ')}",
            ),
        ]
    )
    st.caption(
        "A ranking holds the runs of one detector, backbone, image size, number of shots and way of choosing a "
        "configuration. Numbers of different rankings must not be compared; detectors are, where all else is equal, on "
        "the Leaderboard."
    )
    parts.table(
        [
            {
                "ranking": line.label,
                "digest": line.digest,
                "datasets": ", ".join(line.datasets),
                "cells": line.cells,
                "with generation": line.generated_cells,
                "seeds": line.seeds,
                "finished": line.finished,
                "failed": line.failed,
                "last start": line.last,
            }
            for line in measures.rankings(source)
        ],
        key="rankings-table",
    )
