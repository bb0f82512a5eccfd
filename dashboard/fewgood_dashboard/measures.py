"""Numbers for the pages: `fewgood.leaderboard`'s own functions on the rows that a page needs, kept until the ledger changes.

The choice of the configurations that are compared needs no test scores, so it is made on the index's narrow rows; whole
rows are read for the chosen ones only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fewgood.leaderboard.compare import RankingComparison, compare, pick_runs
from fewgood.leaderboard.runs import Run, read_runs
from fewgood.leaderboard.tables import LeaderboardRow, leaderboard
from fewgood_dashboard import queries
from fewgood_dashboard.queries import Filter, entries_of
from fewgood_dashboard.source import Source

__all__ = ["Comparison", "comparison", "known_values", "lines", "narrow_rows", "picked_runs", "whole_runs"]

_LIST_COLUMNS = ("test_names", "test_labels", "test_scores", "support_files")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A ranking's cells and arms compared, and how the configurations were chosen."""

    ranking: RankingComparison
    remarks: tuple[str, ...]
    runs: tuple[Run, ...]


def known_values(source: Source, column: str, chosen: Filter) -> list[str]:
    """What a column can be filtered by among the runs that pass a filter."""
    key = ("distinct", column, chosen.ranking, _frozen(chosen.equal))
    return source.kept(key, lambda: queries.distinct(source.index, column, chosen))


def narrow_rows(source: Source, chosen: Filter) -> list[dict[str, Any]]:
    """The ledger's rows that pass a filter, without test scores; one row of each configuration has its spec."""
    rows = entries_of(source.index, chosen)
    first: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["seed"] or 0):
        if row["status"] == "ok":
            first.setdefault((row["dataset"], row["category"], row["arm"], row["config_hash"]), row)
    found = source.index.rows([row["entry"] for row in first.values()], columns=["entry", "spec_json"])
    specs = {row["entry"]: row["spec_json"] for row in found}
    for row in rows:
        row["spec_json"] = specs.get(row["entry"])
    return rows


def whole_runs(source: Source, runs: Iterable[Run]) -> list[Run]:
    """The same runs with everything that the ledger holds of them."""
    return read_runs(source.index.rows([run.entry for run in runs]))


def picked_runs(source: Source, chosen: Filter) -> tuple[list[Run], tuple[str, ...]]:
    """Whole runs of the configurations that stand for their arms in each cell, and the remarks on their choice."""

    def compute() -> tuple[list[Run], tuple[str, ...]]:
        picked, remarks = pick_runs(read_runs(narrow_rows(source, chosen)))
        texts = tuple(f"{cell.label}: {text}" for (_, cell), found in remarks.items() for text in found)
        return whole_runs(source, picked), texts

    return source.kept(("picked", chosen.ranking, _frozen(chosen.equal)), compute)


def comparison(
    source: Source, ranking: str, equal: Mapping[str, str | Sequence[str]] | None = None
) -> Comparison | None:
    """A ranking's arms compared over its cells (or those that `equal` names); None where nothing is left."""
    chosen = Filter(ranking=ranking, equal=equal or {})

    def compute() -> Comparison | None:
        runs, remarks = picked_runs(source, chosen)
        found = compare(runs)
        return Comparison(ranking=found[0], remarks=remarks, runs=tuple(runs)) if len(found) == 1 else None

    return source.kept(("comparison", ranking, _frozen(chosen.equal)), compute)


def lines(source: Source, page_rows: Sequence[Mapping[str, Any]], ranking: str) -> list[LeaderboardRow]:
    """Leaderboard lines, with intervals and gains, of some rows of `configurations`, in their order."""

    def compute() -> list[LeaderboardRow]:
        cells = {(row["dataset"], row["category"]) for row in page_rows}
        wanted = {(row["dataset"], row["category"], row["arm"], row["config_hash"][:8]) for row in page_rows}
        hashes = {row["config_hash"] for row in page_rows}
        rows = narrow_rows(source, Filter(ranking=ranking, equal={"category": sorted({cell[1] for cell in cells})}))
        needed = [row for row in rows if row["config_hash"] in hashes or row["arm"] in ("none", "augment")]
        whole = {row["entry"]: row for row in source.index.rows([row["entry"] for row in needed])}
        found = leaderboard([whole.get(row["entry"], row) for row in rows])
        place = {
            (row["dataset"], row["category"], row["arm"], row["config_hash"][:8]): n for n, row in enumerate(page_rows)
        }
        kept = [line for line in found if (line.dataset, line.category, line.arm, line.configuration) in wanted]
        return sorted(kept, key=lambda line: place[line.dataset, line.category, line.arm, line.configuration])

    key = tuple((row["dataset"], row["category"], row["arm"], row["config_hash"]) for row in page_rows)
    return source.kept(("lines", ranking, key), compute)


def _frozen(equal: Mapping[str, str | Sequence[str]]) -> tuple[Any, ...]:
    return tuple((name, value if isinstance(value, str) else tuple(value)) for name, value in sorted(equal.items()))
