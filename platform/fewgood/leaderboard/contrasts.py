"""What the ledger says about the contrasts that readers ask for.

Kinds of part, kinds of defect, number of shots, the generator's variance, and the integrator: each a chart with
intervals, a sentence that the intervals support, and what they do not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from fewgood.leaderboard.compare import CellComparison, RankingComparison, compare
from fewgood.leaderboard.contrast_arms import integrator, variance
from fewgood.leaderboard.contrast_groups import groups, kinds, paired_over_cells
from fewgood.leaderboard.effects import judged
from fewgood.leaderboard.finding import (
    BASELINES,
    Finding,
    contrast_chart,
    gain_of,
    missing,
    pooled_gain,
    with_limits,
)
from fewgood.leaderboard.formats import shots_word
from fewgood.leaderboard.runs import CellKey, RankingKey, Run
from fewgood.leaderboard.statistics import Estimate

__all__ = ["Finding", "findings", "ranking_families"]

_SHOTS = "Number of support images"
_SHOTS_COMMAND = "fewgood compare --category CATEGORY --arms none,augment,generate --shots 1, and again with --shots 5."


def ranking_families(rankings: Iterable[RankingComparison]) -> dict[RankingKey, list[RankingComparison]]:
    """Rankings that differ in the number of shots at most, fewest shots first; the key has no shots."""
    families: dict[RankingKey, list[RankingComparison]] = defaultdict(list)
    for ranking in rankings:
        families[replace(ranking.key, shots="")].append(ranking)
    return {key: sorted(families[key], key=_shots_order) for key in sorted(families)}


def findings(runs: Sequence[Run], rankings: Sequence[RankingComparison] | None = None) -> list[Finding]:
    """The findings of one family: one detector with its options, backbone, image size and way of choosing.

    Args:
        runs: The runs of `read_runs` that share everything of a `RankingKey` but the shots; at least one.
        rankings: `compare(runs)`, where it is at hand.

    Returns:
        kinds, groups, shots, variance and integrator, in this order. Where several numbers of shots have data for a
        contrast, it has one finding for each; where none has, one finding that says how to fill it.
    """
    compared = sorted(compare(runs) if rankings is None else rankings, key=_shots_order)
    return [
        *_by_shots([(item, kinds(item)) for item in compared]),
        *_by_shots([(item, groups(item)) for item in compared]),
        _shots(compared),
        *_by_shots([(item, variance([run for run in runs if run.ranking == item.key])) for item in compared]),
        *_by_shots([(item, integrator(item)) for item in compared]),
    ]


def _by_shots(found: Sequence[tuple[RankingComparison, Finding]]) -> list[Finding]:
    filled = [(item, finding) for item, finding in found if finding.chart is not None]
    if not filled:
        return [finding for _, finding in found[:1]]
    if len(found) == 1:
        return [filled[0][1]]
    return [
        replace(finding, key=f"{finding.key}-{item.key.shots}", title=f"{finding.title}, {shots_word(item.key.shots)}")
        for item, finding in filled
    ]


def _shots_order(ranking: RankingComparison) -> tuple[int, int, str]:
    shots = ranking.key.shots
    return (0, int(shots), "") if shots.isdigit() else (1, 0, shots)


def _shots(rankings: Sequence[RankingComparison]) -> Finding:
    """How the gain changes with the number of support images, on the cells that all numbers share."""
    estimates: dict[str, Estimate] = {}
    rows: list[tuple[str, Estimate, bool]] = []
    sentences: list[str] = []
    used: set[CellKey] = set()
    for control, words in BASELINES.items():
        levels = {
            item.key.shots: {cell.key: cell for cell in item.cells if gain_of(cell, control).mean is not None}
            for item in rankings
        }
        levels = {shots: cells for shots, cells in levels.items() if cells}
        shared = sorted(set.intersection(*map(set, levels.values()))) if levels else []
        if len(levels) < 2 or not shared:
            continue
        used |= set(shared)
        gains = {shots: pooled_gain([cells[key] for key in shared], control) for shots, cells in levels.items()}
        steps = _steps(levels, shared, control)
        estimates |= {f"{control}/{shots}": gap for shots, gap in gains.items()}
        estimates |= {f"{control}/{first} - {shots}": gap for (first, shots), gap in steps.items()}
        rows += [(f"{shots_word(shots)} vs {control}", gap, False) for shots, gap in gains.items()]
        rows += [(f"{first} - {shots} vs {control}", gap, True) for (first, shots), gap in steps.items()]
        sentences.append(_shots_sentence(words, gains, steps))
    if not rows:
        what = "no cell has generate and a control at the same seed for two numbers of shots"
        return missing("shots", _SHOTS, what, _SHOTS_COMMAND)
    number = f"{len(used)} cell{'' if len(used) == 1 else 's'}"
    return Finding(
        key="shots",
        title=_SHOTS,
        sentence=" ".join(sentences),
        limits=with_limits(
            estimates,
            f"Measured on the {number} that all numbers of shots share. Each number has its own support images: a "
            "difference between numbers is paired by seed and test images, not by support images.",
        ),
        chart=contrast_chart(
            rows,
            title="Gain over the number of support images",
            caption=f"Mean gain over {number} at each number of shots, and the gain at the fewest shots minus that at more.",
            axis="change in image AUROC (generate - control)",
            quantity="shots",
        ),
        estimates=estimates,
    )


def _steps(
    levels: Mapping[str, Mapping[CellKey, CellComparison]], shared: Sequence[CellKey], control: str
) -> dict[tuple[str, str], Estimate]:
    """(fewest shots, more shots) -> how much higher the gain is at the fewest."""
    first, *others = levels
    return {
        (first, shots): paired_over_cells(
            [(key, gain_of(levels[first][key], control), gain_of(levels[shots][key], control)) for key in shared]
        )
        for shots in others
    }


def _shots_sentence(words: str, gains: Mapping[str, Estimate], steps: Mapping[tuple[str, str], Estimate]) -> str:
    claims = {
        "higher": "is above zero",
        "lower": "is below zero",
        "unclear": "is not shown to differ from zero",
        "no interval": "has no interval (one seed)",
    }
    by_claim: dict[str, list[str]] = defaultdict(list)
    for shots, gap in gains.items():
        by_claim[gap.verdict].append(shots_word(shots))
    parts = [f"{claim} at {' and '.join(by_claim[verdict])}" for verdict, claim in claims.items() if by_claim[verdict]]
    (first, last), gap = list(steps.items())[-1]
    change = judged(
        gap,
        f"the gain is higher at {shots_word(first)} than at {shots_word(last)}",
        f"the gain is lower at {shots_word(first)} than at {shots_word(last)}",
        f"the gain at {shots_word(first)} is not shown to differ from that at {shots_word(last)}",
    )
    return f"Against {words}, the gain {', and '.join(parts)}; {change}."
