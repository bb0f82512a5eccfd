"""The report's sections beside arms and gains: boards, findings, saturation, cost, coverage and published values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fewgood.leaderboard.compare import RankingComparison, pick_runs
from fewgood.leaderboard.contrasts import findings, ranking_families
from fewgood.leaderboard.cost import CostGain, CostLine, cost, cost_against_gain
from fewgood.leaderboard.coverage import CellCoverage, coverage, coverage_summary
from fewgood.leaderboard.effects import spoken
from fewgood.leaderboard.formats import CHOSEN, format_interval, plain_text, shots_word
from fewgood.leaderboard.published import PublishedValue, published
from fewgood.leaderboard.ranks import HOW, Board, BoardKey, Placed, boards
from fewgood.leaderboard.report_charts import board_chart
from fewgood.leaderboard.runs import CellKey, RankingKey, Run
from fewgood.leaderboard.saturation import saturation, saturation_over_cells

__all__ = [
    "board_sections",
    "cost_sections",
    "coverage_section",
    "finding_sections",
    "published_section",
    "ranking_name",
    "saturation_sections",
]


def ranking_name(key: RankingKey | BoardKey) -> str:
    """Detector, backbone, pixels and shots of a ranking, as far as its key has them."""
    parts = [getattr(key, "baseline", ""), key.backbone, f"{key.image_size} px" if key.image_size else ""]
    parts.append(shots_word(key.shots) if key.shots else "")
    return " \u00b7 ".join(plain_text(part) for part in parts if part)


def board_sections(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The rankings of detectors and arms with two competitors and more, with their rank intervals."""
    return [
        {
            "name": f"{ranking_name(board.key)} \u00b7 {CHOSEN.get(board.key.select_on, board.key.select_on)}",
            "cells": f"{len(board.cells)} cell{'' if len(board.cells) == 1 else 's'}: "
            + ", ".join(cell.label for cell in board.cells),
            "how": HOW,
            "lines": [_placed(item) for item in (*board.placed, *board.ceilings)],
            "friedman": _friedman(board),
            "chart": board_chart(board),
            "notes": board.notes,
        }
        for board in boards(runs)
        if len(board.placed) > 1
    ]


def finding_sections(rankings: Sequence[RankingComparison], runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The findings of each family of rankings that differ in shots at most, those without data apart."""
    sections = []
    for key, members in ranking_families(rankings).items():
        keys = {item.key for item in members}
        found = findings([run for run in runs if run.ranking in keys], members)
        sections.append(
            {
                "name": ranking_name(key),
                "found": [item for item in found if item.chart is not None],
                "missing": [item for item in found if item.chart is None],
            }
        )
    return sections


def saturation_sections(
    rankings: Sequence[RankingComparison], groups: Mapping[RankingKey, Mapping[CellKey, Sequence[Run]]]
) -> list[dict[str, Any]]:
    """The saturation curves of each ranking: of its cells together, then of each of them."""
    sections = []
    for ranking in rankings:
        cells = [(cell.label, runs) for cell, runs in groups[ranking.key].items()]
        curves = [saturation_over_cells(cells), *(saturation(runs, label) for label, runs in cells)]
        found = [item for item in curves if item is not None]
        if found:
            sections.append({"name": ranking_name(ranking.key), "curves": found})
    return sections


def coverage_section(runs: Sequence[Run]) -> dict[str, Any]:
    """What the compared cells have, and which of them are partial."""
    cells = coverage(pick_runs(runs)[0])
    counts = coverage_summary(cells)
    sentence = (
        f"{counts.complete} of {counts.cells} cells are complete, {counts.partial} partial and {counts.empty} empty: "
        f"{counts.ok} runs finished, {counts.failed} failed, {counts.missing} missing."
    )
    return {"sentence": sentence, "lines": [_covered(item) for item in cells if item.partial]}


def cost_sections(rankings: Sequence[RankingComparison], runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What each arm of each ranking cost, and what generation costs beyond plain augmentation for its gain."""
    lines = cost(runs)
    gains = {item.ranking: item for item in cost_against_gain(rankings)}
    return [
        {
            "name": ranking_name(ranking.key),
            "lines": [_spent(line) for line in lines if line.ranking == ranking.key],
            "sentence": _paid(gains[ranking.key]) if ranking.key in gains else "",
        }
        for ranking in rankings
    ]


def published_section(runs: Sequence[Run]) -> dict[str, list[list[str]]]:
    """Published values of the data sets that the runs are of, and what is and is not known of each source."""
    found = [item for dataset in sorted({run.dataset for run in runs}) for item in published(dataset)]
    return {
        "lines": [
            [
                item.method,
                f"{item.dataset}, {item.scope}",
                "full data" if item.shots == "full" else f"{item.shots}-shot",
                item.backbone,
                "not stated" if item.image_size is None else str(item.image_size),
                item.metric.replace("_", " ").replace("auroc", "AUROC"),
                f"{item.value:.3f}",
                "with" if item.with_generation else "without",
                f"arXiv {item.arxiv}, {item.year}",
            ]
            for item in found
        ],
        "sources": [list(line) for line in dict.fromkeys(map(_source, found))],
    }


def _source(item: PublishedValue) -> tuple[str, ...]:
    return (f"arXiv {item.arxiv}", item.source, item.protocol, item.unknown)


def _placed(item: Placed) -> list[str]:
    low, high = item.rank_low, item.rank_high
    between = "-" if low is None or high is None else str(low) if low == high else f"{low} to {high}"
    value = format_interval(item.estimate.mean, item.estimate.low, item.estimate.high)
    if item.ceiling:
        return ["ceiling", item.entrant.label, value, "-", "-", "-"]
    counts = f"{item.wins} / {item.ties} / {item.losses}"
    return [str(item.rank), item.entrant.label, value, between, item.groups or "-", counts]


def _friedman(board: Board) -> str:
    if board.friedman is None:
        return "Friedman's test needs three entrants and six cells that all of them have."
    p = board.friedman.p
    claim = "the entrants differ" if p < 0.05 else "the entrants are not shown to differ"
    return f"Friedman's test over {board.friedman.categories} cells: p = {p:.3g}, {claim}."


def _covered(item: CellCoverage) -> list[str]:
    def named(state: str) -> str:
        by_arm: dict[str, list[str]] = {}
        for (arm, seed), found in item.states.items():
            if found == state:
                by_arm.setdefault(arm, []).append(str(seed))
        return "; ".join(f"{arm}: seed {', '.join(seeds)}" for arm, seeds in by_arm.items()) or "-"

    finished = f"{item.ok} of {len(item.states)}"
    return [item.cell.label, ranking_name(item.ranking), item.state, finished, named("failed"), named("missing")]


def _spent(line: CostLine) -> list[str]:
    latency = format_interval(None, None, None)
    if line.latency_ms.median is not None:
        latency = f"{line.latency_ms.median:.1f} [{line.latency_ms.low:.1f}, {line.latency_ms.high:.1f}]"
    return [
        line.arm,
        f"{line.runs} ({line.failed})",
        _seconds(line.seconds.mean),
        _seconds(line.seconds.total),
        _seconds(line.cpu_seconds.total),
        _seconds(line.gpu_seconds.total),
        _seconds(line.reused_seconds.total),
        latency,
    ]


def _paid(item: CostGain) -> str:
    if item.extra_seconds is None:
        return f"What {item.arm} costs beyond {item.against} is not known: no pair of runs has its seconds."
    whole = ""
    if item.extra_seconds_uncached is not None:
        whole = f" ({item.extra_seconds_uncached:+.1f} s had nothing come from the cache)"
    gain = "" if item.gain is None else f", for a change in image AUROC of {spoken(item.gain)}"
    return (
        f"A run of {item.arm} took {item.extra_seconds:+.1f} s against one of {item.against}{whole}, over {item.pairs} "
        f"pairs{gain}."
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
