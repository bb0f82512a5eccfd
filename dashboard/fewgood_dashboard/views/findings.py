"""Findings: what the data supports about kinds of products, defects, shots, the variance and the integrator."""

from __future__ import annotations

import html
from dataclasses import replace

import streamlit as st

from fewgood.leaderboard.contrast_arms import GENERATING, variance_candidates, variance_pairs
from fewgood.leaderboard.contrasts import findings
from fewgood.leaderboard.formats import plain_text
from fewgood.leaderboard.runs import Run, group_rankings, read_runs
from fewgood.leaderboard.saturation import Saturation, saturation
from fewgood_dashboard import address, measures, parts, queries
from fewgood_dashboard.queries import Filter, RankingLine
from fewgood_dashboard.source import Source

__all__ = ["family", "render"]


def render(source: Source) -> None:
    """Each question with a sentence, what the data does not support, and a chart; the saturation curve of a cell first."""
    line = parts.pick_ranking(source)
    _saturation(source, line)
    with st.spinner("Reading the runs that these questions need"):
        found = source.kept(("findings", line.digest), lambda: findings(family(source, line)))
    for finding in found:
        st.subheader(plain_text(finding.title))
        _say(finding.sentence, finding.limits)
        parts.charts([finding.chart], columns=1)


def _saturation(source: Source, line: RankingLine) -> None:
    st.subheader("How many generated images")
    cells = queries.cells(source.index, line.digest)
    cell = address.choose("Category", list(cells), "cell", show=plain_text)

    def compute() -> Saturation | None:
        rows = measures.narrow_rows(source, cells[cell])
        arms = ("none", "augment", "generate", "generate-random")
        return saturation(measures.whole_runs(source, [run for run in read_runs(rows) if run.arm in arms]), cell)

    found = source.kept(("saturation", line.digest, cell), compute)
    if found is None:
        st.info(
            "A curve needs two numbers of added images: sweep selection.count, or compare with --set selection.count=8, "
            "and again with 16."
        )
        return
    _say(found.sentence, found.limits)
    parts.charts([found.chart], columns=1)


def family(source: Source, line: RankingLine) -> list[Run]:
    """Whole runs of all numbers of shots of a ranking that otherwise share everything.

    They are those of the configurations that are compared, and the pairs that differ in the generator's variance alone.
    """
    fixed = ("baseline", "backbone", "backbone_digest", "image_size", "select_on", "options")
    found: dict[str, Run] = {}
    for member in measures.alike(source, line, fixed):
        found |= {run.run_id: run for run in measures.picked_runs(source, Filter(ranking=member.digest))}
        found |= {run.run_id: run for run in measures.whole_runs(source, _variance_runs(source, member))}
    return measures.focused(found.values(), groups=True)


def _variance_runs(source: Source, line: RankingLine) -> list[Run]:
    """The runs of the pairs of configurations of a ranking that differ in the generator's variance alone."""
    within = Filter(ranking=line.digest, equal={"arm": GENERATING})
    hashes = {
        config_hash
        for runs in _cells(measures.one_run_each(source, within))
        for config_hash in variance_candidates(runs)
    }
    if not hashes:
        return []
    rows = measures.narrow_rows(source, replace(within, equal={**within.equal, "config_hash": sorted(hashes)}))
    pairs = [pair for runs in _cells(read_runs(rows)) for pair in variance_pairs(runs).values()]
    return [run for pair in pairs for item in pair for run in item.runs]


def _cells(runs: list[Run]) -> list[list[Run]]:
    return [members for cells in group_rankings(runs).values() for members in cells.values()]


def _say(sentence: str, limits: str) -> None:
    more = f'<p class="limits">{html.escape(plain_text(limits))}</p>' if limits else ""
    parts.marked(f'<div class="finding"><p>{html.escape(plain_text(sentence))}</p>{more}</div>')
