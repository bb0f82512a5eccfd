"""Numbers for the pages: `fewgood.leaderboard`'s own functions on the rows that a page needs, kept until the ledger changes.

The choice of the configurations that are compared needs no test scores, so it is made on the index's narrow rows; whole
rows are read for the chosen ones only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fewgood.leaderboard.compare import RankingComparison, compare, pick_runs
from fewgood.leaderboard.runs import METRICS, Run, configurations, group_rankings, read_runs
from fewgood.leaderboard.statistics import partner
from fewgood.leaderboard.tables import LeaderboardRow, cell_lines
from fewgood_dashboard import queries
from fewgood_dashboard.queries import Filter, RankingLine
from fewgood_dashboard.source import Source

__all__ = [
    "alike",
    "answer",
    "comparison",
    "focused",
    "known_values",
    "lines",
    "lines_are_known",
    "narrow_rows",
    "one_run_each",
    "picked_runs",
    "rankings",
    "whole_runs",
]


_LINE = ("dataset", "category", "data_fingerprint", "arm", "config_hash")


def rankings(source: Source) -> list[RankingLine]:
    """All rankings of the ledger, in the order of `queries.rankings`."""
    return source.kept(("rankings",), lambda: queries.rankings(source.index))


def alike(source: Source, line: RankingLine, names: Sequence[str]) -> list[RankingLine]:
    """The rankings whose keys agree with a ranking's in these fields; that ranking is one of them."""
    wanted = [getattr(line.key, name) for name in names]
    return [item for item in rankings(source) if [getattr(item.key, name) for name in names] == wanted]


def known_values(source: Source, column: str, chosen: Filter) -> list[str]:
    """What a column can be filtered by among the runs that pass a filter."""
    key = ("distinct", column, chosen.ranking, _frozen(chosen.equal))
    return source.kept(key, lambda: queries.distinct(source.index, column, chosen))


def narrow_rows(
    source: Source, chosen: Filter, extra: str = "TRUE", values: Sequence[Any] = ()
) -> list[dict[str, Any]]:
    """The ledger's rows that pass a filter, without test scores; the first run of each configuration has its spec."""
    rows = queries.narrow_rows(source.index, chosen, extra, values)
    first: dict[tuple[str, ...], dict[str, Any]] = {}
    columns = ("dataset", "category", "data_fingerprint", "arm", "config_hash")
    for row in sorted(rows, key=lambda row: row["seed"] or 0):
        if row["status"] == "ok":
            first.setdefault(tuple(row[name] for name in columns), row)
    found = source.index.rows([row["entry"] for row in first.values()], columns=["entry", "spec_json"])
    specs = {row["entry"]: row["spec_json"] for row in found}
    for row in rows:
        row["spec_json"] = specs.get(row["entry"])
    return rows


def one_run_each(source: Source, chosen: Filter) -> list[Run]:
    """A finished run of each configuration that passes a filter, with its spec and without test scores."""
    entries = queries.one_entry_each(source.index, chosen)
    return read_runs(narrow_rows(source, chosen, "entry IN (SELECT unnest(?))", [entries]))


def whole_runs(source: Source, runs: Iterable[Run]) -> list[Run]:
    """The same runs with their test scores; a failed one has none and stays as it is."""
    held = list(runs)
    found = source.whole([run.entry for run in held if run.ok])
    return [found.get(run.entry, run) for run in held]


def picked_runs(source: Source, chosen: Filter) -> list[Run]:
    """Whole runs of the configurations that stand for their arms in each cell: the choice of `pick_runs`."""

    def compute() -> list[Run]:
        hashes = queries.contenders(source.index, chosen)
        rows = narrow_rows(source, replace(chosen, equal={**chosen.equal, "config_hash": hashes or ["none"]}))
        return whole_runs(source, pick_runs(read_runs(rows))[0])

    return source.kept(("picked", chosen.ranking, _frozen(chosen.equal)), compute)


def comparison(source: Source, ranking: str) -> RankingComparison | None:
    """A ranking's arms compared over its cells; None where nothing of it is there (any more)."""
    return source.kept(("comparison", ranking), lambda: _compared(picked_runs(source, Filter(ranking=ranking))))


def answer(source: Source, ranking: str) -> RankingComparison | None:
    """The same of generation and its two main controls in image AUROC alone: what the first page needs, and quick."""
    chosen = Filter(ranking=ranking, equal={"arm": ("none", "augment", "generate")})

    return source.kept(("answer", ranking), lambda: _compared(focused(picked_runs(source, chosen))))


def focused(runs: Iterable[Run], *, groups: bool = False) -> list[Run]:
    """The runs with image AUROC as their only metric, with `groups` also that of each group of defects.

    Every interval is a bootstrap of its own, so that what nobody looks at is worth leaving out.
    """

    def wanted(name: str) -> bool:
        return name == METRICS[0] or (groups and name.endswith(f".{METRICS[0]}"))

    return [replace(run, metrics={name: value for name, value in run.metrics.items() if wanted(name)}) for run in runs]


def _compared(runs: Sequence[Run]) -> RankingComparison | None:
    found = compare(runs)
    return found[0] if len(found) == 1 else None


def lines(source: Source, page_rows: Sequence[Mapping[str, Any]], ranking: str) -> list[LeaderboardRow]:
    """Leaderboard lines, with intervals and gains, of some rows of `configurations`, in their order."""
    keys = _line_keys(page_rows)

    def compute() -> list[LeaderboardRow]:
        categories = sorted({row["category"] for row in page_rows})
        shown = {row["config_hash"] for row in page_rows}
        rows = narrow_rows(
            source,
            Filter(ranking=ranking, equal={"category": categories}),
            "(config_hash IN (SELECT unnest(?)) OR arm IN ('none', 'augment'))",
            [sorted(shown)],
        )
        seeds = queries.cell_seeds(source.index, ranking, categories)
        found: dict[tuple[str, ...], LeaderboardRow] = {}
        for groups in group_rankings(read_runs(rows)).values():
            for cell, runs in groups.items():
                place = (cell.dataset, cell.category, cell.fingerprint)
                own = {key[4] for key in keys if key[:3] == place}
                opened = _opened(source, runs, own) if own else []
                for config_hash in own:
                    for line in cell_lines(opened, shown={config_hash}, seeds=seeds[place]):
                        found[(*place, line.arm, config_hash)] = line
        return [found[key] for key in keys if key in found]

    return source.kept(("lines", ranking, keys), compute) if page_rows else []


def lines_are_known(source: Source, page_rows: Sequence[Mapping[str, Any]], ranking: str) -> bool:
    """Whether `lines` of these rows has been computed since the ledger last changed."""
    return source.keeps(("lines", ranking, _line_keys(page_rows)))


def _line_keys(page_rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(str(row[name]) for name in _LINE) for row in page_rows)


def _opened(source: Source, runs: Sequence[Run], shown: Collection[str]) -> list[Run]:
    """The runs of a cell, whole where they belong to a shown configuration or to a control that it is compared with."""
    known = configurations(runs)
    wanted: set[str] = set()
    for item in known:
        if item.config_hash in shown:
            wanted |= {run.entry for run in item.runs}
            for control in ("none", "augment"):
                others = [other for other in known if other.arm == control]
                found = partner(item, others, runs[0].select_on) if item.arm != control else None
                wanted |= {run.entry for run in found[0].runs} if found else set()
    whole = {run.entry: run for run in whole_runs(source, [run for run in runs if run.entry in wanted])}
    return [whole.get(run.entry, run) for run in runs]


def _frozen(equal: Mapping[str, str | Sequence[str]]) -> tuple[Any, ...]:
    return tuple((name, value if isinstance(value, str) else tuple(value)) for name, value in sorted(equal.items()))
