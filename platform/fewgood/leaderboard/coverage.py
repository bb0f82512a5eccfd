"""Which runs a ranking has, which failed and which are missing: partial cells are marked, never passed over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fewgood.leaderboard.runs import CellKey, RankingKey, Run, arm_order, group_rankings

__all__ = ["CellCoverage", "CoverageSummary", "coverage", "coverage_summary"]

_BEYOND = "full"
"""The arm that no cell is expected to have: it costs the most and is not compared by shots."""


@dataclass(frozen=True, kw_only=True)
class CellCoverage:
    """The runs of one cell against those that its ranking leads one to expect.

    Attributes:
        ranking: The ranking.
        cell: The category in it.
        states: (arm, seed) -> "ok", "failed" or "missing", by arm, then seed.
        ok: Runs finished.
        failed: Runs that failed and were not repeated with success.
        missing: Runs that some other cell of the ranking has and this one lacks.
    """

    ranking: RankingKey
    cell: CellKey
    states: Mapping[tuple[str, int], str]
    ok: int
    failed: int
    missing: int

    @property
    def state(self) -> str:
        """One of "complete", "partial", and "empty", where nothing finished."""
        return "complete" if self.ok == len(self.states) else "partial" if self.ok else "empty"

    @property
    def partial(self) -> bool:
        """Whether some run failed or is missing."""
        return self.state != "complete"


@dataclass(frozen=True, kw_only=True)
class CoverageSummary:
    """Counts over cells, and over the runs in them."""

    cells: int
    complete: int
    partial: int
    empty: int
    ok: int
    failed: int
    missing: int


def coverage(runs: Iterable[Run]) -> list[CellCoverage]:
    """What every cell has of the arms and seeds that some cell of its ranking has, `full` aside.

    An arm and seed counts as finished when any configuration of the arm finished it; give the runs of `pick_runs` to
    see the coverage of what is compared.

    Args:
        runs: The runs of `read_runs` or `pick_runs`.

    Returns:
        One entry per ranking and cell, in sorted order; a cell with no arm but `full` has nothing to cover.
    """
    found = []
    for key, cells in group_rankings(runs).items():
        expected = sorted(
            {(run.arm, run.seed) for members in cells.values() for run in members if run.arm != _BEYOND},
            key=lambda pair: (arm_order(pair[0]), pair[1]),
        )
        found += [_cell(key, cell, members, expected) for cell, members in cells.items()]
    return [item for item in found if item.states]


def coverage_summary(cells: Sequence[CellCoverage]) -> CoverageSummary:
    """Count complete, partial and empty cells, and finished, failed and missing runs."""
    states = [item.state for item in cells]
    return CoverageSummary(
        cells=len(cells),
        complete=states.count("complete"),
        partial=states.count("partial"),
        empty=states.count("empty"),
        ok=sum(item.ok for item in cells),
        failed=sum(item.failed for item in cells),
        missing=sum(item.missing for item in cells),
    )


def _cell(key: RankingKey, cell: CellKey, runs: Sequence[Run], expected: Sequence[tuple[str, int]]) -> CellCoverage:
    done = {(run.arm, run.seed) for run in runs if run.ok}
    tried = {(run.arm, run.seed) for run in runs}
    states = {pair: "ok" if pair in done else "failed" if pair in tried else "missing" for pair in expected}
    counts = list(states.values())
    return CellCoverage(
        ranking=key,
        cell=cell,
        states=states,
        ok=counts.count("ok"),
        failed=counts.count("failed"),
        missing=counts.count("missing"),
    )
