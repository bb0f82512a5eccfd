"""The leaderboard: one line per configuration of an arm in a cell, with gains against its controls and its coverage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from fewgood.leaderboard.runs import CellKey, Configuration, RankingKey, Run, configurations, group_rankings, read_runs
from fewgood.leaderboard.statistics import Estimate, difference, estimate, partner

__all__ = ["EMPTY", "LeaderboardRow", "cell_lines", "leaderboard", "leaderboard_of"]

EMPTY = (
    "The ledger has no runs yet. Try `fewgood evaluate`, or `fewgood sweep` with a study; every finished run becomes a "
    "line here."
)
"""What every format says instead of an empty table."""


@dataclass(frozen=True, kw_only=True)
class LeaderboardRow:
    """One line. Metrics are means over seeds in [0, 1]; gains are paired differences in [-1, 1]; None is not known."""

    dataset: str
    category: str
    kind: str
    baseline: str
    backbone: str
    image_size: str
    shots: str
    select_on: str
    ranking: str
    """Digest of all that runs of one ranking share; lines that differ in it must not be ranked together."""
    arm: str
    configuration: str
    """First eight characters of the configuration's hash."""
    added: int | None
    """Images asked for beyond the support set."""
    seeds: int
    image_auroc: float | None
    image_auroc_low: float | None
    image_auroc_high: float | None
    interval_over: str
    """What the interval covers: "seeds and test images", "seeds" or "nothing"."""
    gain_none: float | None
    gain_none_low: float | None
    gain_none_high: float | None
    gain_none_pairs: int
    gain_augment: float | None
    gain_augment_low: float | None
    gain_augment_high: float | None
    gain_augment_pairs: int
    pixel_auroc: float | None
    pixel_aupro: float | None
    image_aupr: float | None
    image_f1_max: float | None
    logical_auroc: float | None
    structural_auroc: float | None
    proxy_score: float | None
    seconds: float | None
    """Mean wall-clock seconds per run, stages taken from the cache not counted."""
    failed: int
    missing_seeds: str
    """Seeds that other lines of the cell have and this one neither finished nor failed, separated by spaces."""

    def to_dict(self) -> dict[str, Any]:
        """Column name -> value, in the order of the columns."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def leaderboard(rows: Iterable[Mapping[str, Any]]) -> list[LeaderboardRow]:
    """The leaderboard of ledger rows.

    Args:
        rows: Ledger rows in any order.

    Returns:
        Lines by cell and ranking, inside them from the highest mean image AUROC to the lowest, unfinished ones last.
    """
    return leaderboard_of(read_runs(rows), opened=lambda runs: runs)


def leaderboard_of(runs: Iterable[Run], *, opened: Callable[[Sequence[Run]], Sequence[Run]]) -> list[LeaderboardRow]:
    """The same of runs that were read without their large columns; one cell at a time is opened, so that many fit in memory.

    Args:
        runs: The runs of `read_runs`.
        opened: Gives the runs of one cell with their spec and test scores.
    """
    found: list[LeaderboardRow] = []
    for cells in group_rankings(runs).values():
        for members in cells.values():
            found.extend(cell_lines(opened(members)))
    return sorted(found, key=_place)


def _place(row: LeaderboardRow) -> tuple[Any, ...]:
    value = -1.0 if row.image_auroc is None else row.image_auroc
    shots = (0, int(row.shots), "") if row.shots.isdigit() else (1, 0, row.shots)
    place = (row.dataset, row.category, row.baseline, row.backbone, row.image_size, shots, row.select_on, row.ranking)
    return (*place, -value, row.arm, row.configuration)


def cell_lines(
    runs: Sequence[Run], *, shown: Collection[str] | None = None, seeds: Collection[int] | None = None
) -> list[LeaderboardRow]:
    """The lines of one cell of one ranking, by arm and augmentation size.

    Args:
        runs: Runs of the cell; those of its controls among them, or the gains are missing.
        shown: Hashes of the configurations that are asked for; None for all.
        seeds: The cell's seeds, where `runs` are not all of it.

    Returns:
        One line per configuration.
    """
    found = configurations(runs)
    known = {run.seed for run in runs} if seeds is None else set(seeds)
    kind = next((run.kind for run in runs if run.kind != "unknown"), "unknown")
    return [
        _row(runs[0].ranking, runs[0].cell, kind, item, found, known)
        for item in found
        if shown is None or item.config_hash in shown
    ]


def _row(
    ranking: RankingKey,
    cell: CellKey,
    kind: str,
    item: Configuration,
    others: list[Configuration],
    seeds: set[int],
) -> LeaderboardRow:
    auroc = estimate(item.runs, "image_auroc")
    gains = {control: _gain(item, control, others, ranking.select_on) for control in ("none", "augment")}
    seconds = [run.seconds for run in item.runs if run.seconds is not None]
    missing = seeds - {run.seed for run in (*item.runs, *item.failed)}
    return LeaderboardRow(
        dataset=cell.dataset,
        category=cell.category,
        kind=kind,
        baseline=ranking.baseline,
        backbone=ranking.backbone,
        image_size=ranking.image_size,
        shots=ranking.shots,
        select_on=ranking.select_on,
        ranking=ranking.digest,
        arm=item.arm,
        configuration=item.config_hash[:8],
        added=item.count,
        seeds=len(item.runs),
        image_auroc=auroc.mean,
        image_auroc_low=auroc.low,
        image_auroc_high=auroc.high,
        interval_over=auroc.resampled,
        gain_none=gains["none"].mean,
        gain_none_low=gains["none"].low,
        gain_none_high=gains["none"].high,
        gain_none_pairs=len(gains["none"].values),
        gain_augment=gains["augment"].mean,
        gain_augment_low=gains["augment"].low,
        gain_augment_high=gains["augment"].high,
        gain_augment_pairs=len(gains["augment"].values),
        pixel_auroc=item.mean("pixel_auroc"),
        pixel_aupro=item.mean("pixel_aupro"),
        image_aupr=item.mean("image_aupr"),
        image_f1_max=item.mean("image_f1_max"),
        logical_auroc=item.mean("logical.image_auroc"),
        structural_auroc=item.mean("structural.image_auroc"),
        proxy_score=item.proxy,
        seconds=sum(seconds) / len(seconds) if seconds else None,
        failed=len(item.failed),
        missing_seeds=" ".join(str(seed) for seed in sorted(missing)),
    )


def _gain(item: Configuration, control: str, others: list[Configuration], select_on: str) -> Estimate:
    found = None
    if item.arm != control:
        found = partner(item, [other for other in others if other.arm == control], select_on)
    return difference(item.runs, found[0].runs if found else (), "image_auroc")
