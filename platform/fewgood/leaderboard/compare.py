"""Arms against arms: paired differences per cell, and over the cells of a ranking, as one JSON document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fewgood.leaderboard.runs import (
    METRICS,
    CellKey,
    Configuration,
    RankingKey,
    Run,
    arm_order,
    configurations,
    group_rankings,
    read_runs,
)
from fewgood.leaderboard.significance import DeLong, delong, friedman, holm, wilcoxon
from fewgood.leaderboard.statistics import (
    Estimate,
    WinTieLoss,
    choose,
    difference,
    estimate,
    partner,
    pool,
    win_tie_loss,
)

__all__ = ["CellComparison", "Gain", "RankingComparison", "Remarks", "compare", "compare_document", "pick_runs"]

FOCUS = ("generate", "generate-random", "noise", "augment", "duplicate", "none", "full")
"""The arm whose configuration decides which configurations of the others are compared: the first that was run."""

Remarks = Mapping[tuple[RankingKey, CellKey], tuple[str, ...]]
"""How the configurations of a ranking's cell were chosen: sentences, where there was a choice."""

_UNIT = (0.0, 1.0)
_SIGNED = (-1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class CellComparison:
    """One configuration per arm in one cell, and every paired difference `arm - against` between them."""

    key: CellKey
    kind: str
    arms: Mapping[str, Configuration]
    estimates: Mapping[str, Mapping[str, Estimate]]
    differences: Mapping[tuple[str, str], Mapping[str, Estimate]]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One pair of arms over the cells of a ranking, in image AUROC: counts of cells and Wilcoxon's test over them."""

    arm: str
    against: str
    cells: WinTieLoss
    p: float | None
    p_holm: float | None


@dataclass(frozen=True, kw_only=True)
class RankingComparison:
    """The cells that may be compared with each other, and what they say together."""

    key: RankingKey
    cells: tuple[CellComparison, ...]
    estimates: Mapping[str, Mapping[str, Estimate]]
    differences: Mapping[tuple[str, str], Mapping[str, Estimate]]

    @cached_property
    def gains(self) -> Mapping[tuple[str, str], Gain]:
        """Every pair of arms over the cells; made when asked for, since its tests need scipy.stats, a second to import."""
        return _gains(self.cells)


def pick_runs(runs: Iterable[Run]) -> tuple[list[Run], dict[tuple[RankingKey, CellKey], tuple[str, ...]]]:
    """The runs of the configurations that stand for their arms, finished and failed, one configuration per arm.

    The choice needs no test scores and no support files, so that rows read without them tell which rows to read in
    full. Without specs, a partner is the candidate whose prompt, precision and study agree best.

    Args:
        runs: The runs of `read_runs`.

    Returns:
        The runs in the order of rankings and cells, and the remarks on how each cell's were chosen; `compare` of these
        runs gives the numbers that `compare` of all of them gives.
    """
    picked: list[Run] = []
    remarks: dict[tuple[RankingKey, CellKey], tuple[str, ...]] = {}
    for key, cells in group_rankings(runs).items():
        for cell, members in cells.items():
            arms, notes = _pick(members)
            remarks[key, cell] = notes
            picked += [run for item in arms.values() for run in (*item.runs, *item.failed)]
    return picked, remarks


def compare(runs: Iterable[Run], *, remarks: Remarks | None = None) -> list[RankingComparison]:
    """Compare arms inside each ranking: runs of another backbone, image size, option or selection never mix.

    Args:
        runs: The runs of `read_runs`, or of `pick_runs`.
        remarks: What `pick_runs` said of these runs, to stand first among the cells' notes.

    Returns:
        One comparison per ranking, in sorted order.
    """
    found = []
    for key, cells in group_rankings(runs).items():
        compared = tuple(
            _compare_cell(cell, members, (remarks or {}).get((key, cell))) for cell, members in cells.items()
        )
        estimates, differences = _pooled(compared)
        found.append(RankingComparison(key=key, cells=compared, estimates=estimates, differences=differences))
    return found


def compare_document(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The comparison of ledger rows as plain JSON.

    Args:
        rows: Ledger rows.

    Returns:
        `arms`: arm -> metric -> {mean, low, high, values, over, resampled}; `differences`: one entry per pair of arms
        with the same per metric; `notes`: sentences. Of one cell these are its own, of several they are pooled, with
        the cells under `cells` and objects and textures apart under `kinds`. Rankings that must not be mixed leave
        `arms` and `differences` empty and stand one by one under `rankings`.
    """
    rankings = [_ranking_json(item) for item in compare(read_runs(rows))]
    if len(rankings) == 1:
        return rankings[0]
    notes = [
        "these runs belong to different rankings (detector, its options, backbone, image size, shots or selection "
        "differ): they are compared one ranking at a time"
        if rankings
        else "no runs"
    ]
    return {"arms": {}, "differences": [], "cells": [], "notes": notes, "rankings": rankings}


def _pick(runs: Sequence[Run]) -> tuple[dict[str, Configuration], tuple[str, ...]]:
    """One configuration per arm of one cell, in the arms' order, and remarks on how they were chosen."""
    by_arm: dict[str, list[Configuration]] = {}
    for item in configurations(runs):
        by_arm.setdefault(item.arm, []).append(item)
    select_on = runs[0].select_on
    ordered = sorted(by_arm, key=lambda arm: (FOCUS.index(arm) if arm in FOCUS else len(FOCUS), arm))
    finished = [arm for arm in ordered if any(item.runs for item in by_arm[arm])]
    focus_arm = (finished or ordered)[0]
    focus, remark = choose(by_arm[focus_arm], select_on)
    chosen, notes = {focus_arm: focus}, [remark]
    for arm in ordered:
        if arm != focus_arm and (found := partner(focus, by_arm[arm], select_on)):
            chosen[arm] = found[0]
            notes.append(found[1])
    return {arm: chosen[arm] for arm in sorted(chosen, key=arm_order)}, tuple(note for note in notes if note)


def delong_by_seed(one: Sequence[Run], other: Sequence[Run]) -> list[tuple[int, DeLong]]:
    """DeLong's test for each pair of runs with one seed: about the test images alone, which is all that one seed can say.

    Pairs without scores, with other test images, or with fewer than two images of a class are left out.
    """
    found = []
    for first in one:
        for second in other:
            if first.seed != second.seed or first.test_names != second.test_names:
                continue
            defect = np.array(first.defects, dtype=bool)
            if first.scores and second.scores and min(defect.sum(), (~defect).sum()) >= 2:
                found.append((first.seed, delong(defect, np.array(first.scores), np.array(second.scores))))
    return found


def _compare_cell(key: CellKey, runs: Sequence[Run], remarks: tuple[str, ...] | None) -> CellComparison:
    arms, own = _pick(runs)
    # Of the chosen runs alone, so that it makes no difference who chose them.
    chosen = [run for item in arms.values() for run in (*item.runs, *item.failed)]
    metrics = _metrics(chosen)
    differences = {
        (arm, against): {
            metric: gap
            for metric in metrics
            if (gap := difference(arms[arm].runs, arms[against].runs, metric)).mean is not None or metric == METRICS[0]
        }
        for arm, against in _pairs(list(arms))
    }
    return CellComparison(
        key=key,
        kind=next((run.kind for run in chosen if run.kind != "unknown"), "unknown"),
        arms=arms,
        estimates={arm: {metric: estimate(item.runs, metric) for metric in metrics} for arm, item in arms.items()},
        differences=differences,
        notes=(*(own if remarks is None else remarks), *_cell_notes(arms, differences)),
    )


def _cell_notes(
    arms: Mapping[str, Configuration], differences: Mapping[tuple[str, str], Mapping[str, Estimate]]
) -> list[str]:
    notes = [
        f"{arm}: {len(item.failed)} of {len(item.failed) + len(item.runs)} runs failed"
        for arm, item in arms.items()
        if item.failed
    ]
    if any(len(item.runs) == 1 for item in arms.values()):
        notes.append("one seed only: no interval can be given, and a single support image may differ by several points")
    unpaired = [
        f"{arm} and {against} ({gaps[METRICS[0]].unpaired})"
        for (arm, against), gaps in differences.items()
        if gaps[METRICS[0]].unpaired
    ]
    if unpaired:
        notes.append("seeds left out of the differences because they have no partner: " + ", ".join(unpaired))
    return notes


def _pooled(
    cells: Sequence[CellComparison],
) -> tuple[dict[str, dict[str, Estimate]], dict[tuple[str, str], dict[str, Estimate]]]:
    arms = sorted({arm for cell in cells for arm in cell.arms}, key=arm_order)
    metrics = _order({name for cell in cells for values in cell.estimates.values() for name in values})
    absent = estimate([], METRICS[0])

    def of_arm(arm: str, metric: str) -> Estimate:
        return pool([(cell.key.label, cell.estimates.get(arm, {}).get(metric, absent)) for cell in cells], bounds=_UNIT)

    def of_pair(pair: tuple[str, str], metric: str) -> Estimate:
        return pool(
            [(cell.key.label, cell.differences.get(pair, {}).get(metric, absent)) for cell in cells], bounds=_SIGNED
        )

    return (
        {arm: {metric: of_arm(arm, metric) for metric in metrics} for arm in arms},
        {pair: {metric: of_pair(pair, metric) for metric in metrics} for pair in _pairs(arms)},
    )


def _gains(cells: Sequence[CellComparison]) -> dict[tuple[str, str], Gain]:
    metric = METRICS[0]
    pairs = sorted(
        {pair for cell in cells for pair in cell.differences}, key=lambda pair: (arm_order(pair[0]), arm_order(pair[1]))
    )
    gaps = {pair: [cell.differences[pair][metric] for cell in cells if pair in cell.differences] for pair in pairs}
    raw = {pair: wilcoxon([gap.mean for gap in gaps[pair] if gap.mean is not None]) for pair in pairs}
    tested = [(pair, p) for pair, p in raw.items() if p is not None]
    adjusted = dict(zip([pair for pair, _ in tested], holm([p for _, p in tested]), strict=True))
    return {
        pair: Gain(arm=pair[0], against=pair[1], cells=win_tie_loss(gaps[pair]), p=raw[pair], p_holm=adjusted.get(pair))
        for pair in pairs
    }


def _ranking_json(ranking: RankingComparison) -> dict[str, Any]:
    cells = [_cell_json(cell) for cell in ranking.cells]
    key = ranking.key
    document: dict[str, Any] = {
        "ranking": {
            "baseline": key.baseline,
            "backbone": key.backbone,
            "image_size": key.image_size or None,
            "shots": key.shots,
            "select_on": key.select_on,
            "digest": key.digest,
        }
    }
    if len(cells) == 1:
        return {**document, **cells[0], "cells": cells}
    labels = {cell.key.label for cell in ranking.cells}
    notes = [f"{cell['cell']['label']}: {note}" for cell in cells for note in cell["notes"]]
    if len(labels) < len(cells):
        notes.insert(0, "a category occurs with different images (another data fingerprint): its cells stand apart")
    kinds = {cell.kind for cell in ranking.cells}
    document["arms"] = {arm: _estimates_json(values) for arm, values in ranking.estimates.items()}
    document["differences"] = _differences_json(ranking.differences, ranking.gains)
    if len(kinds) > 1:
        document["kinds"] = {
            kind: _differences_json(
                _pooled(members := [cell for cell in ranking.cells if cell.kind == kind])[1], _gains(members)
            )
            for kind in sorted(kinds)
        }
    ranks = _friedman(ranking)
    return {**document, **({"friedman": ranks} if ranks else {}), "cells": cells, "notes": notes}


def _friedman(ranking: RankingComparison) -> dict[str, Any] | None:
    arms = [arm for arm in ranking.estimates if all(arm in cell.arms for cell in ranking.cells)]
    columns: dict[str, list[float]] = {arm: [] for arm in arms}
    for cell in ranking.cells:
        means = {arm: cell.estimates[arm].get(METRICS[0]) for arm in arms}
        for arm, value in means.items():
            if value is None or value.mean is None:
                return None
            columns[arm].append(value.mean)
    found = friedman(dict(columns))
    if found is None:
        return None
    return {"ranks": found.ranks, "p": found.p, "critical_difference": found.critical_difference}


def _cell_json(cell: CellComparison) -> dict[str, Any]:
    differences = _differences_json(cell.differences, {})
    for entry in differences:
        one, other = (cell.arms[entry[name]].runs for name in ("arm", "against"))
        tested = delong_by_seed(one, other) if len(entry[METRICS[0]]["values"]) == 1 else []
        if len(tested) == 1:
            result = tested[0][1]
            entry["delong"] = {"p": result.p, "z": result.z, "covers": "test images only, for this one support set"}
    return {
        "cell": {
            "label": cell.key.label,
            "dataset": cell.key.dataset,
            "category": cell.key.category,
            "kind": cell.kind,
        },
        "arms": {arm: _estimates_json(cell.estimates[arm]) for arm in cell.arms},
        "configurations": {arm: _about(item) for arm, item in cell.arms.items()},
        "differences": differences,
        "notes": list(cell.notes),
    }


def _about(item: Configuration) -> dict[str, Any]:
    return {
        "configuration": item.config_hash,
        "count": item.count,
        "seeds": [run.seed for run in item.runs],
        "failed_seeds": [run.seed for run in item.failed],
    }


def _estimates_json(values: Mapping[str, Estimate]) -> dict[str, Any]:
    return {metric: value.to_json() for metric, value in values.items() if value.mean is not None}


def _differences_json(
    differences: Mapping[tuple[str, str], Mapping[str, Estimate]], gains: Mapping[tuple[str, str], Gain]
) -> list[dict[str, Any]]:
    entries = []
    for (arm, against), values in differences.items():
        entry: dict[str, Any] = {"arm": arm, "against": against}
        entry.update(
            {
                metric: value.to_json()
                for metric, value in values.items()
                if value.mean is not None or metric == METRICS[0]
            }
        )
        entry["unpaired"] = values[METRICS[0]].unpaired if METRICS[0] in values else 0
        if gain := gains.get((arm, against)):
            entry["cells"] = {
                "wins": gain.cells.wins,
                "ties": gain.cells.ties,
                "losses": gain.cells.losses,
                "certain_wins": gain.cells.certain_wins,
                "certain_losses": gain.cells.certain_losses,
                "wilcoxon_p": gain.p,
                "wilcoxon_p_holm": gain.p_holm,
            }
        entries.append(entry)
    return entries


def _pairs(arms: Sequence[str]) -> list[tuple[str, str]]:
    return [(arm, against) for place, arm in enumerate(arms) for against in arms[:place]]


def _metrics(runs: Sequence[Run]) -> list[str]:
    return _order({METRICS[0], *(name for run in runs for name in run.metrics)})


def _order(names: set[str]) -> list[str]:
    return sorted(names, key=lambda name: (METRICS.index(name) if name in METRICS else len(METRICS), name))
