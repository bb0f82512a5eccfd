"""What the pages ask of the derived tables.

Every table that a page shows is filtered, sorted and cut to its page here, not in the browser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fewgood.leaderboard.compare import FOCUS
from fewgood.leaderboard.runs import RankingKey
from fewgood.store import LedgerIndex
from fewgood.store.index import NARROW
from fewgood_dashboard.derived import CELL, KEYS

__all__ = [
    "SORTS",
    "Filter",
    "Page",
    "RankingLine",
    "configuration_page",
    "contenders",
    "distinct",
    "cell_seeds",
    "cells",
    "data",
    "gallery_runs",
    "latest_entries",
    "machines",
    "narrow_rows",
    "one_entry_each",
    "pictured",
    "rankings",
    "run_of",
    "run_page",
    "spent",
    "totals",
]

_CONTENDERS = f"""
WITH mine AS (SELECT * FROM configurations WHERE {{where}}),
focus_arm AS (
  SELECT ranking, {CELL}, arg_min(arm, (seeds = 0, coalesce(list_position({list(FOCUS)!r}, arm), 99))) AS focus
  FROM (SELECT ranking, {CELL}, arm, max(seeds) AS seeds FROM mine GROUP BY ALL) GROUP BY ranking, {CELL}
), known AS (
  SELECT mine.*, focus, max(seeds) OVER own > 0 AS done, bool_and(proxy_score IS NOT NULL OR seeds = 0) OVER own AS proxied
  FROM mine JOIN focus_arm USING (ranking, {CELL}) WINDOW own AS (PARTITION BY ranking, {CELL}, arm)
), focus AS (
  SELECT *, CASE select_on WHEN 'test' THEN coalesce(image_auroc, 0) WHEN 'proxy' THEN CASE WHEN proxied THEN proxy_score END
    END AS score
  FROM known JOIN (SELECT ranking, select_on FROM rankings) USING (ranking) WHERE arm = focus AND (seeds > 0 OR NOT done)
), leaders AS (
  SELECT ranking, {CELL}, arm, config_hash, "count" FROM focus
  QUALIFY CASE WHEN score IS NOT NULL THEN score >= max(score) OVER (PARTITION BY ranking, {CELL}) - 1e-9
    ELSE rank() OVER (PARTITION BY ranking, {CELL} ORDER BY seeds DESC, finished_utc DESC) = 1 END
), partners AS (
  SELECT known.ranking, known.dataset, known.category, known.data_fingerprint, known.arm, known.config_hash
  FROM known JOIN leaders ON known.ranking = leaders.ranking AND known.dataset = leaders.dataset
    AND known.category = leaders.category AND known.data_fingerprint = leaders.data_fingerprint AND known.arm <> leaders.arm
  QUALIFY rank() OVER (PARTITION BY known.ranking, known.dataset, known.category, known.data_fingerprint, known.arm,
    leaders.config_hash
    ORDER BY known.seeds > 0 DESC, (leaders."count" IS NULL OR leaders."count" = known."count") IS TRUE DESC) = 1
)
SELECT DISTINCT config_hash FROM (
  SELECT ranking, {CELL}, arm, config_hash FROM leaders UNION ALL SELECT * FROM partners)
"""
"""Configurations among which `compare.pick_runs` finds those that stand for their arms: the same choice, from fewer rows."""

_READ = ", ".join(
    f'entries."{name}"'
    for name in NARROW
    if name not in ("entry", "spec_hash", "keyword", "precision", "hardware", "backbone", "backbone_digest")
    and name not in ("image_size", "data_fingerprint")
)

SORTS: Mapping[str, str] = {
    "image AUROC": "image_auroc",
    "gain vs none": "gain_none",
    "pixel AUROC": "pixel_auroc",
    "AUPRO": "pixel_aupro",
    "proxy score": "proxy_score",
    "images added": '"count"',
    "seeds": "seeds",
    "failed runs": "failed",
    "seconds": "seconds",
    "latest": "started_utc",
}
"""What the leaderboard can be sorted by, as people read it -> column of `configurations`."""


@dataclass(frozen=True, kw_only=True)
class RankingLine:
    """One ranking: what its runs share, and how much of it there is."""

    digest: str
    key: RankingKey
    finished: int
    failed: int
    cells: int
    generated_cells: int
    seeds: int
    datasets: tuple[str, ...]
    last: str

    @property
    def label(self) -> str:
        """What people call it."""
        key = self.key
        shots = f"{key.shots}-shot" if key.shots.isdigit() else f"{key.shots} data"
        size = f"{key.image_size} px" if key.image_size else ""
        chosen = {"proxy": "chosen by proxy", "test": "CHOSEN ON TEST SCORES", "fixed": "fixed settings"}
        parts = (key.baseline, key.backbone, size, shots, chosen.get(key.select_on, key.select_on))
        return " \u00b7 ".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which rows of a table: a value per column, empty for all; every value is bound, never pasted into SQL."""

    ranking: str = ""
    equal: Mapping[str, str | Sequence[str]] = field(default_factory=dict)

    def where(self, extra: str = "TRUE") -> tuple[str, list[Any]]:
        """The WHERE clause and its parameters."""
        clauses: list[str] = [extra]
        values: list[Any] = []
        if self.ranking:
            clauses.append("ranking = ?")
            values.append(self.ranking)
        for column, wanted in self.equal.items():
            if column not in _FILTERABLE:
                raise ValueError(f"no filter on {column}")
            chosen = ([wanted] if wanted else []) if isinstance(wanted, str) else list(wanted)
            if chosen:
                clauses.append(f"{column} IN (SELECT unnest(?))")
                values.append(chosen)
        return " AND ".join(clauses), values


_FILTERABLE = frozenset(
    {"dataset", "category", "arm", "kind", "baseline", "shots", "study", "config_hash", "data_fingerprint", "status"}
)


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of a table: its rows, and how many there are in all."""

    rows: tuple[dict[str, Any], ...]
    total: int
    number: int
    size: int

    @property
    def pages(self) -> int:
        """How many pages there are; at least one."""
        return max(1, -(-self.total // self.size))


def totals(index: LedgerIndex) -> dict[str, Any]:
    """How much the ledger holds: runs, failed, cells, rankings, seeds, hours, last start."""
    return dict(
        index.query(
            """SELECT count(*) FILTER (ok) AS finished, count(*) FILTER (NOT ok) AS failed,
            count(DISTINCT (dataset, category, baseline, shots)) AS cells, count(DISTINCT ranking) AS rankings,
            count(DISTINCT (dataset, category)) AS categories, count(DISTINCT seed) FILTER (ok) AS seeds,
            sum(seconds) / 3600 AS hours, max(nullif(started_utc, '')) AS last
            FROM runs"""
        ).to_pylist()[0]
    )


def rankings(index: LedgerIndex) -> list[RankingLine]:
    """All rankings: those with most cells that have generation first, then by runs; chosen on test scores last."""
    found = index.query(
        """SELECT * FROM rankings ORDER BY (select_on = 'test'), generated_cells DESC, finished DESC, ranking"""
    ).to_pylist()
    lines = []
    for row in found:
        lines.append(
            RankingLine(
                digest=row["ranking"],
                key=RankingKey(**{name: row[name] for name in KEYS}),
                datasets=tuple(row["datasets"]),
                **{name: row[name] for name in ("finished", "failed", "cells", "generated_cells", "seeds", "last")},
            )
        )
    return lines


def distinct(index: LedgerIndex, column: str, chosen: Filter) -> list[str]:
    """The values of a column among the runs that pass a filter, in order."""
    if column not in _FILTERABLE:
        raise ValueError(f"no filter on {column}")
    where, values = chosen.where()
    found = index.query(f"SELECT DISTINCT {column} FROM runs WHERE {where} ORDER BY 1", values).to_pylist()
    return [str(row[column]) for row in found if row[column] not in (None, "")]


def configuration_page(
    index: LedgerIndex, chosen: Filter, *, sort: str, descending: bool, number: int, size: int
) -> Page:
    """One page of the leaderboard's lines, as rows of `configurations`; rows without the sorted value come last."""
    order = f"{SORTS[sort]} {'DESC' if descending else 'ASC'} NULLS LAST"
    order += f', {CELL}, arm, "count", config_hash'
    return _page(index, "configurations", chosen.where(), order, number=number, size=size)


def run_page(index: LedgerIndex, chosen: Filter, *, failed_only: bool, number: int, size: int) -> Page:
    """One page of runs, the latest first, as rows of `runs`."""
    where = chosen.where("NOT ok" if failed_only else "TRUE")
    return _page(index, "runs", where, "started_utc DESC, run_id", number=number, size=size)


def _page(
    index: LedgerIndex, table: str, condition: tuple[str, list[Any]], order: str, *, number: int, size: int
) -> Page:
    """The rows of one page, and the page that it is: the last one where there are fewer than was asked for."""
    where, values = condition
    total = index.query(f"SELECT count(*) AS n FROM {table} WHERE {where}", values).to_pylist()[0]["n"]
    number = min(max(1, number), max(1, -(-total // size)))
    rows = index.query(
        f"SELECT * FROM {table} WHERE {where} ORDER BY {order} LIMIT {int(size)} OFFSET {(number - 1) * size}", values
    ).to_pylist()
    return Page(rows=tuple(rows), total=total, number=number, size=size)


def narrow_rows(
    index: LedgerIndex, chosen: Filter, extra: str = "TRUE", values: Sequence[Any] = ()
) -> list[dict[str, Any]]:
    """The ledger's rows that pass a filter and one more condition, in the ledger's own column names, without test scores.

    A failed run has the key that `runs` found for it.
    """
    where, bound = chosen.where(extra)
    found: list[dict[str, Any]] = index.query(
        f"""SELECT entry, {_READ}, try_cast(known.image_size AS INTEGER) AS image_size, known.backbone, known.backbone_digest,
        known.data_fingerprint FROM entries JOIN (
          SELECT entry, image_size, backbone, backbone_digest, data_fingerprint FROM runs WHERE {where}) AS known USING (entry)
        ORDER BY entry""",
        [*values, *bound],
    ).to_pylist()
    return found


def one_entry_each(index: LedgerIndex, chosen: Filter) -> list[str]:
    """The entry of one finished run of each configuration that passes a filter, the one with the smallest seed."""
    where, values = chosen.where("ok")
    found = index.query(
        f"SELECT arg_min(entry, seed) AS entry FROM runs WHERE {where} GROUP BY ranking, {CELL}, arm, config_hash",
        values,
    ).to_pylist()
    return [row["entry"] for row in found]


def contenders(index: LedgerIndex, chosen: Filter) -> list[str]:
    """Hashes of the configurations that can stand for their arm in some cell; `pick_runs` of their runs alone decides."""
    where, values = chosen.where()
    found = index.query(_CONTENDERS.format(where=where), values).to_pylist()
    return sorted(row["config_hash"] for row in found)


def cell_seeds(index: LedgerIndex, ranking: str, categories: Sequence[str]) -> dict[tuple[str, str, str], set[int]]:
    """The seeds of each cell (dataset, category, fingerprint) of a ranking, finished or failed."""
    found = index.query(
        f"""SELECT {CELL}, list(DISTINCT seed) AS seeds FROM runs WHERE ranking = ? AND category IN (SELECT unnest(?))
        GROUP BY {CELL}""",
        [ranking, list(categories)],
    ).to_pylist()
    return {(row["dataset"], row["category"], row["data_fingerprint"]): set(row["seeds"]) for row in found}


def cells(index: LedgerIndex, ranking: str) -> dict[str, Filter]:
    """The cells of a ranking by what people call them, those with generation first: filters that leave one each.

    A category that was measured on different images is as many cells, and the fingerprints tell them apart.
    """
    found = index.query(
        f"""SELECT {CELL}, count(*) FILTER (ok AND arm = 'generate') > 0 AS made FROM runs WHERE ranking = ?
        GROUP BY {CELL} ORDER BY made DESC, {CELL}""",
        [ranking],
    ).to_pylist()
    names = [f"{row['dataset']}/{row['category']}" for row in found]
    labels = [
        name if names.count(name) == 1 else f"{name} ({row['data_fingerprint'][:8] or 'images not known'})"
        for name, row in zip(names, found, strict=True)
    ]
    columns = ("dataset", "category", "data_fingerprint")
    return {
        label: Filter(ranking=ranking, equal={name: [row[name]] for name in columns})
        for label, row in zip(labels, found, strict=True)
    }


def run_of(index: LedgerIndex, entry: str) -> dict[str, Any] | None:
    """The row of `runs` with this entry, or None."""
    found = index.query("SELECT * FROM runs WHERE entry = ?", [entry]).to_pylist()
    return dict(found[0]) if found else None


def machines(index: LedgerIndex) -> list[dict[str, Any]]:
    """Hardware and precision of the runs, and how many there are of each."""
    return list(
        index.query(
            """SELECT coalesce(nullif(hardware, ''), 'not recorded') AS hardware, precision, count(*) AS runs,
            round(sum(seconds) / 3600, 2) AS hours FROM runs GROUP BY ALL ORDER BY runs DESC, hardware LIMIT 100"""
        ).to_pylist()
    )


def data(index: LedgerIndex) -> list[dict[str, Any]]:
    """Categories with the fingerprint of their images."""
    return list(
        index.query(
            """SELECT dataset, category, any_value(kind) AS kind, data_fingerprint AS fingerprint, count(*) AS runs
            FROM runs GROUP BY dataset, category, data_fingerprint ORDER BY dataset, category, fingerprint LIMIT 500"""
        ).to_pylist()
    )


def latest_entries(index: LedgerIndex, limit: int) -> list[str]:
    """The entries of the latest run of each configuration, at most `limit` of them."""
    found = index.query(
        """SELECT arg_max(entry, started_utc) AS entry, max(started_utc) AS last FROM runs
        GROUP BY ranking, config_hash ORDER BY last DESC, entry LIMIT ?""",
        [limit],
    ).to_pylist()
    return [row["entry"] for row in found]


def pictured(index: LedgerIndex) -> list[tuple[str, str]]:
    """(dataset, category) with a finished run, those with generated images first."""
    found = index.query(
        """SELECT dataset, category, bool_or(arm = 'generate') AS made FROM runs WHERE ok
        GROUP BY dataset, category ORDER BY made DESC, dataset, category"""
    ).to_pylist()
    return [(row["dataset"], row["category"]) for row in found]


def gallery_runs(index: LedgerIndex, dataset: str, category: str, limit: int = 200) -> list[dict[str, Any]]:
    """Finished runs of a category: the method's arm with the highest proxy score first."""
    return list(
        index.query(
            """SELECT entry, arm, "count", seed, baseline, shots, config_hash FROM runs
            WHERE ok AND dataset = ? AND category = ?
            ORDER BY arm <> 'generate', arm <> 'generate-random', proxy_score DESC NULLS LAST, seed, run_id LIMIT ?""",
            [dataset, category, limit],
        ).to_pylist()
    )


def spent(index: LedgerIndex, ranking: str) -> dict[str, Any]:
    """Seconds that all runs of a ranking took and saved, and of how many runs each is known."""
    names = ("seconds", "cpu_seconds", "gpu_seconds", "reused_seconds")
    known = ", ".join(
        f"sum({name}) AS {name}, count({name}) AS {name.removesuffix('_seconds')}_known" for name in names
    )
    return dict(index.query(f"SELECT count(*) AS runs, {known} FROM runs WHERE ranking = ?", [ranking]).to_pylist()[0])
