"""The tables that the dashboard derives from the ledger's index whenever the ledger changed.

`runs` holds one row per result, by the rules of `fewgood.leaderboard.read_runs`; `configurations` one per configuration of
an arm in a cell; `rankings` one per set of runs that may be compared.
"""

from __future__ import annotations

from dataclasses import fields

from fewgood.leaderboard.runs import METRICS, OPEN_KEYS, RankingKey
from fewgood.store import LedgerIndex

__all__ = ["CELL", "KEYS", "derive"]

KEYS = tuple(item.name for item in fields(RankingKey))
KEY = ", ".join(KEYS)
CELL = "dataset, category, data_fingerprint"


def _filled_from(table: str) -> str:
    """What stands for the columns of `clean` that a failed run could not write, where `table` knows them."""
    return ", ".join(f"coalesce({table}.{name}, clean.{name}) AS {name}" for name in OPEN_KEYS)


_CLEAN = f"""
SELECT entry, file_id::BIGINT * 4294967296 + file_row AS place, coalesce(nullif(run_id, ''), entry) AS run_id,
  coalesce(nullif(status, ''), 'failed') = 'ok' AS ok,
  coalesce(study, '') AS study,
  coalesce(nullif(config_hash, ''), coalesce(nullif(arm, ''), 'none') || '-' || coalesce(added::VARCHAR, 'None')) AS config_hash,
  coalesce(dataset, '') AS dataset, coalesce(category, '') AS category, coalesce(nullif(kind, ''), 'unknown') AS kind,
  coalesce(baseline, '') AS baseline, coalesce(backbone, '') AS backbone, coalesce(backbone_digest, '') AS backbone_digest,
  coalesce(image_size::VARCHAR, '') AS image_size, coalesce(shots, '') AS shots,
  coalesce(nullif(arm, ''), 'none') AS arm, coalesce(seed, 0) AS seed, coalesce(nullif(select_on, ''), 'fixed') AS select_on,
  coalesce(nullif(baseline_options, ''), '{{}}') AS options,
  CASE WHEN arm IN ('none', 'full') THEN NULL ELSE coalesce("count", added) END AS "count",
  coalesce(data_fingerprint, '') AS data_fingerprint, coalesce(support_digest, '') AS support_digest,
  {", ".join(METRICS)}, proxy_score, seconds, cpu_seconds, gpu_seconds, reused_seconds, latency_ms,
  coalesce(precision, '') AS precision, coalesce(hardware, '') AS hardware, coalesce(started_utc, '') AS started_utc
FROM entries
"""
"""The ledger's rows with what `Run.from_row` reads for a value that is missing; `place` is unique and small."""

_LATEST = """
CREATE OR REPLACE TABLE latest AS
SELECT arg_max(place, (ok, started_utc, entry)) AS place FROM clean GROUP BY run_id
"""
"""One row per `run_id`: a finished one before a failed one, then the one that started last."""

_JOINED = """
CREATE OR REPLACE TABLE joined AS
WITH failed AS (SELECT * FROM clean SEMI JOIN latest USING (place) WHERE NOT ok AND '' IN
    (backbone, backbone_digest, image_size, data_fingerprint)),
keys AS (
  SELECT DISTINCT dataset, category, baseline, options, shots, select_on, backbone, backbone_digest, image_size, data_fingerprint
  FROM clean SEMI JOIN latest USING (place) WHERE ok
)
SELECT failed.place, any_value(keys.backbone) AS backbone, any_value(keys.backbone_digest) AS backbone_digest,
  any_value(keys.image_size) AS image_size, any_value(keys.data_fingerprint) AS data_fingerprint
FROM failed JOIN keys USING (dataset, category, baseline, options, shots, select_on)
WHERE failed.backbone IN ('', keys.backbone) AND failed.backbone_digest IN ('', keys.backbone_digest)
  AND failed.image_size IN ('', keys.image_size) AND failed.data_fingerprint IN ('', keys.data_fingerprint)
GROUP BY failed.place HAVING count(*) = 1
"""
"""What a failed run could not write, where exactly one ranking of its cell fits."""

_SETTLED = f"""
CREATE OR REPLACE VIEW settled AS
SELECT clean.* REPLACE ({_filled_from("joined")})
FROM clean SEMI JOIN latest USING (place) LEFT JOIN joined USING (place)
"""

_KEPT = f"""
CREATE OR REPLACE TABLE kept AS
WITH found AS (
  SELECT arg_max(place, (ok, started_utc, run_id)) AS place, ranking FROM settled JOIN ranking_keys USING ({KEY})
  GROUP BY ranking, {CELL}, arm, config_hash, seed
)
SELECT found.*, {", ".join(OPEN_KEYS)} FROM found LEFT JOIN joined USING (place)
"""
"""One row per result, with its ranking, and with what `joined` adds."""

_RUNS = f"""
CREATE OR REPLACE VIEW runs AS
SELECT clean.* REPLACE ({_filled_from("kept")}), ranking
FROM clean JOIN kept USING (place)
"""

_CONFIGURATIONS = f"""
CREATE OR REPLACE TABLE configurations AS
WITH grouped AS (
  SELECT ranking, {CELL}, arm, config_hash, max("count") AS "count", max(kind) FILTER (kind <> 'unknown') AS kind,
    count(*) FILTER (ok) AS seeds, count(*) FILTER (NOT ok) AS failed,
    {", ".join(f"avg({name}) FILTER (ok) AS {name}" for name in METRICS)},
    CASE WHEN count(proxy_score) FILTER (ok) = count(*) FILTER (ok) THEN avg(proxy_score) FILTER (ok) END AS proxy_score,
    avg(seconds) FILTER (ok) AS seconds, median(latency_ms) FILTER (ok) AS latency_ms, max(started_utc) AS started_utc,
    max(started_utc) FILTER (ok) AS finished_utc
  FROM runs GROUP BY ranking, {CELL}, arm, config_hash
), controls AS (
  SELECT ranking, {CELL}, arg_max(config_hash, (seeds, started_utc, config_hash)) AS config_hash
  FROM grouped WHERE arm = 'none' AND seeds > 0 GROUP BY ranking, {CELL}
), gains AS (
  SELECT own.ranking, own.dataset, own.category, own.data_fingerprint, own.arm, own.config_hash,
    avg(own.image_auroc - control.image_auroc) AS gain_none
  FROM controls JOIN runs AS control USING (ranking, {CELL}, config_hash)
  JOIN runs AS own ON own.ranking = control.ranking AND own.dataset = control.dataset AND own.category = control.category
    AND own.data_fingerprint = control.data_fingerprint AND own.seed = control.seed
    AND (own.support_digest = control.support_digest OR own.arm = 'full')
  WHERE control.arm = 'none' AND own.arm <> 'none' AND own.ok AND control.ok
  GROUP BY ALL
)
SELECT grouped.* REPLACE (coalesce(grouped.kind, 'unknown') AS kind), gains.gain_none
FROM grouped LEFT JOIN gains USING (ranking, {CELL}, arm, config_hash)
"""

_RANKINGS = """
CREATE OR REPLACE TABLE rankings AS
SELECT ranking, any_value(baseline) AS baseline, any_value(backbone) AS backbone, any_value(image_size) AS image_size,
  any_value(shots) AS shots, any_value(select_on) AS select_on, any_value(backbone_digest) AS backbone_digest,
  any_value(options) AS options, count(*) FILTER (ok) AS finished, count(*) FILTER (NOT ok) AS failed,
  count(DISTINCT (dataset, category, data_fingerprint)) AS cells,
  count(DISTINCT (dataset, category, data_fingerprint)) FILTER (ok AND arm = 'generate') AS generated_cells,
  count(DISTINCT seed) FILTER (ok) AS seeds, list(DISTINCT dataset ORDER BY dataset) AS datasets, max(started_utc) AS last
FROM runs GROUP BY ranking
"""


def derive(index: LedgerIndex) -> None:
    """Make `runs`, `configurations` and `rankings` from the entries that the index holds, in one transaction.

    `runs` is a view: a second copy of every row would double the memory.

    Raises:
        duckdb.Error: if they do not fit the index's memory limit; what was derived before stays.
    """
    found = index.query(f"SELECT DISTINCT {KEY} FROM ({_CLEAN})").to_pylist()
    columns = ", ".join(f"{name} VARCHAR" for name in (*KEYS, "ranking"))
    keys = [
        ("INSERT INTO ranking_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [*row.values(), RankingKey(**row).digest])
        for row in found
    ]
    index.execute(
        f"CREATE OR REPLACE VIEW clean AS {_CLEAN}",
        _LATEST,
        _JOINED,
        _SETTLED,
        f"CREATE OR REPLACE TABLE ranking_keys ({columns})",
        *keys,
        _KEPT,
        _RUNS,
        _CONFIGURATIONS,
        _RANKINGS,
    )
