"""The ledger's rows as frozen `Run`s: duplicates removed, grouped into rankings, cells and configurations."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from typing import Any

from fewgood.leaderboard.values import integer, json_object, number, optional_text, test_images, text
from fewgood.specs import ARMS

__all__ = [
    "METRICS",
    "CellKey",
    "Configuration",
    "RankingKey",
    "Run",
    "arm_order",
    "configurations",
    "group_rankings",
    "read_runs",
    "short_digest",
]

METRICS = ("image_auroc", "image_aupr", "image_f1_max", "pixel_auroc", "pixel_aupro")
"""Columns of the ledger that hold a metric; each lies in [0, 1] and higher is better."""

OPEN_KEYS = ("backbone", "backbone_digest", "image_size", "data_fingerprint")
"""Parts of a ranking's key that a run which failed early could not write."""


@dataclass(frozen=True, kw_only=True, order=True)
class RankingKey:
    """What two runs must share before their numbers may stand in one ranking; absent values are empty strings."""

    baseline: str
    backbone: str
    image_size: str
    shots: str
    select_on: str
    backbone_digest: str
    options: str
    """The baseline's options as canonical JSON."""

    @property
    def digest(self) -> str:
        """Eight hexadecimal characters that tell two rankings apart which print alike."""
        return short_digest([getattr(self, item.name) for item in fields(self)])


_RANKING_FIELDS = tuple(item.name for item in fields(RankingKey))


@dataclass(frozen=True, kw_only=True, order=True)
class CellKey:
    """A dataset's category inside one ranking."""

    dataset: str
    category: str
    fingerprint: str

    @property
    def label(self) -> str:
        """`dataset/category`."""
        return f"{self.dataset}/{self.category}"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One row of the ledger: one seed of one configuration in one cell. Absent and NaN numbers are None.

    A row that was read without its large columns (spec, support files, test images with their scores) gives the same
    run with those fields empty: enough to group runs, to choose among them and for every interval over seeds alone.
    """

    run_id: str
    status: str = "ok"
    error: str | None = None
    study: str | None = None
    spec_hash: str = ""
    config_hash: str = ""
    dataset: str = ""
    category: str = ""
    kind: str = "unknown"
    baseline: str = ""
    backbone: str = ""
    backbone_digest: str = ""
    image_size: str = ""
    shots: str = ""
    arm: str = "none"
    seed: int = 0
    select_on: str = "fixed"
    options: str = "{}"
    count: int | None = None
    """The augmentation size asked for, or the number of images added where the spec does not say."""
    spec: Mapping[str, Any] = field(default_factory=dict, hash=False)
    data_fingerprint: str = ""
    support_files: tuple[str, ...] = ()
    support_digest: str = ""
    support_note: str | None = None
    prompt: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Metric name -> value in [0, 1]; a group's metric is named `logical.image_auroc`."""
    test_names: tuple[str, ...] = ()
    defects: tuple[bool, ...] = ()
    scores: tuple[float, ...] = ()
    """Anomaly scores in the order of `test_names`, which is sorted; empty where a score is not finite."""
    added: int | None = None
    proxy_score: float | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    gpu_seconds: float | None = None
    reused_seconds: float | None = None
    """What the stages that came from the cache had cost when they were made."""
    latency_ms: float | None = None
    """Median milliseconds to score one test image."""
    entry: str = ""
    """Names the ledger's row itself; rows of an older ledger may have none."""
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    """Stage -> {"seconds": float, "cached": bool, "artifacts": list}, and what else the row says of it."""
    precision: str = ""
    hardware: str = ""
    versions: Mapping[str, Any] = field(default_factory=dict, hash=False)
    started_utc: str = ""
    command: str = ""

    @property
    def ok(self) -> bool:
        """Whether the run finished."""
        return self.status == "ok"

    @cached_property
    def ranking(self) -> RankingKey:
        """The ranking that this run belongs to."""
        return _ranking_key(*(getattr(self, name) for name in _RANKING_FIELDS))

    @cached_property
    def cell(self) -> CellKey:
        """The category that this run measures."""
        return _cell_key(self.dataset, self.category, self.data_fingerprint)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Run:
        """Read a ledger row; columns that an older schema lacks, nulls and NaN become the field's default.

        Args:
            row: Column name -> value, as `pyarrow.Table.to_pylist` gives it; any column may be missing. The
                baseline's options and the augmentation size have columns of their own from schema 2 on, and are
                looked for in the spec where these are empty.

        Returns:
            The run, its test images sorted by name.
        """
        spec = json_object(row.get("spec_json"))
        metrics = {name: value for name in METRICS if (value := number(row.get(name))) is not None}
        for group, values in json_object(row.get("group_metrics_json")).items():
            for name, raw in values.items() if isinstance(values, Mapping) else ():
                if (value := number(raw)) is not None:
                    metrics[f"{group}.{name}"] = value
        names, defects, scores = test_images(row)
        added = integer(row.get("added"))
        arm = text(row.get("arm")) or "none"
        asked = _asked(row, spec)
        run = cls(
            run_id=text(row.get("run_id")),
            status=text(row.get("status")) or "failed",
            error=optional_text(row.get("error")),
            study=optional_text(row.get("study")),
            spec_hash=text(row.get("spec_hash")),
            config_hash=text(row.get("config_hash")) or f"{arm}-{added}",
            dataset=text(row.get("dataset")),
            category=text(row.get("category")),
            kind=text(row.get("kind")) or "unknown",
            baseline=text(row.get("baseline")),
            backbone=text(row.get("backbone")),
            backbone_digest=text(row.get("backbone_digest")),
            image_size=text(integer(row.get("image_size"))),
            shots=text(row.get("shots")),
            arm=arm,
            seed=integer(row.get("seed")) or 0,
            select_on=text(row.get("select_on")) or "fixed",
            options=_options(row, spec),
            count=None if arm in ("none", "full") else (asked if asked is not None else added),
            spec=spec,
            data_fingerprint=text(row.get("data_fingerprint")),
            support_files=tuple(str(name) for name in row.get("support_files") or ()),
            support_digest=text(row.get("support_digest")),
            support_note=optional_text(row.get("support_note")),
            prompt=optional_text(row.get("prompt")),
            metrics=metrics,
            test_names=names,
            defects=defects,
            scores=scores,
            added=added,
            proxy_score=number(row.get("proxy_score")),
            seconds=number(row.get("seconds")),
            cpu_seconds=number(row.get("cpu_seconds")),
            gpu_seconds=number(row.get("gpu_seconds")),
            reused_seconds=number(row.get("reused_seconds")),
            latency_ms=number(row.get("latency_ms")),
            entry=text(row.get("entry")),
            stages={
                name: item for name, item in json_object(row.get("stages_json")).items() if isinstance(item, Mapping)
            },
            precision=text(row.get("precision")),
            hardware=text(row.get("hardware")),
            versions=json_object(row.get("versions_json")),
            started_utc=text(row.get("started_utc")),
            command=text(row.get("command")),
        )
        if run.run_id:
            return run
        own = short_digest([run.spec_hash, run.config_hash, run.seed, run.started_utc, run.status])
        return replace(run, run_id=own)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The runs of one configuration of one arm in one cell, the trial: finished seeds in order, and the failed ones."""

    arm: str
    config_hash: str
    count: int | None
    runs: tuple[Run, ...]
    failed: tuple[Run, ...]

    @property
    def proxy(self) -> float | None:
        """The mean proxy score over the seeds, or None when a seed has none."""
        scores = [run.proxy_score for run in self.runs]
        known = [score for score in scores if score is not None]
        return math.fsum(known) / len(known) if known and len(known) == len(scores) else None

    def mean(self, metric: str) -> float | None:
        """The mean of `metric` over the seeds that have it, or None."""
        values = [run.metrics[metric] for run in self.runs if metric in run.metrics]
        return math.fsum(values) / len(values) if values else None


def short_digest(value: Any) -> str:
    """Eight hexadecimal characters of the SHA-256 of `value` as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def arm_order(arm: str) -> tuple[int, str]:
    """Sort key that puts arms in the order of `fewgood.specs.ARMS`, unknown ones last."""
    return (ARMS.index(arm) if arm in ARMS else len(ARMS), arm)


def read_runs(rows: Iterable[Mapping[str, Any]]) -> list[Run]:
    """Read ledger rows and keep one run per result, in an order that does not depend on the rows' order.

    Rows with the same `run_id`, and rows of the same configuration, seed and data, are one result: a finished one is
    kept before a failed one, then the one that started last. A failed run that could not write its backbone joins the
    ranking of its cell where that is unambiguous.

    Args:
        rows: Ledger rows, as mappings of column name to value.

    Returns:
        Runs without duplicates.
    """
    by_id: dict[str, Run] = {}
    for run in map(Run.from_row, rows):
        held = by_id.get(run.run_id)
        by_id[run.run_id] = run if held is None or _precedes(run, held) else held
    written: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    for run in by_id.values():
        if run.ok:
            written[_fixed(run)].add(_open(run))
    results: dict[tuple[Any, ...], Run] = {}
    for run in by_id.values():
        settled = run if run.ok else _join(run, written[_fixed(run)])
        key = (settled.ranking, settled.cell, settled.arm, settled.config_hash, settled.seed)
        held = results.get(key)
        results[key] = settled if held is None or _precedes(settled, held) else held
    groups: dict[tuple[RankingKey, CellKey], list[Run]] = defaultdict(list)
    for run in results.values():
        groups[run.ranking, run.cell].append(run)
    return [
        run
        for key in sorted(groups)
        for run in sorted(groups[key], key=lambda run: (arm_order(run.arm), run.config_hash, run.seed))
    ]


def group_rankings(runs: Iterable[Run]) -> dict[RankingKey, dict[CellKey, list[Run]]]:
    """Runs by ranking, then by cell, both in sorted order; the order of `runs` is kept inside a cell."""
    groups: dict[RankingKey, dict[CellKey, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        groups[run.ranking][run.cell].append(run)
    return {key: {cell: groups[key][cell] for cell in sorted(groups[key])} for key in sorted(groups)}


def configurations(runs: Sequence[Run]) -> list[Configuration]:
    """The configurations among the runs of one cell, by arm, then augmentation size, then hash."""
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.arm, run.config_hash].append(run)
    found = [
        Configuration(
            arm=arm,
            config_hash=config_hash,
            count=next((run.count for run in members if run.count is not None), None),
            runs=tuple(sorted((run for run in members if run.ok), key=lambda run: run.seed)),
            failed=tuple(sorted((run for run in members if not run.ok), key=lambda run: run.seed)),
        )
        for (arm, config_hash), members in groups.items()
    ]
    return sorted(found, key=lambda item: (arm_order(item.arm), item.count or 0, item.config_hash))


def _precedes(run: Run, held: Run) -> bool:
    """Whether `run` is kept before another row of the same result."""
    # The row's name before its content: a row read without its scores must win or lose as the full one does.
    first, second = ((one.ok, one.started_utc, one.run_id, one.entry) for one in (run, held))
    return first > second if first != second else _content(run) > _content(held)


def _content(run: Run) -> str:
    return short_digest([run.metrics, run.scores, run.error, run.seconds, run.command, run.support_digest])


def _fixed(run: Run) -> tuple[str, ...]:
    return (run.dataset, run.category, run.baseline, run.options, run.shots, run.select_on)


def _open(run: Run) -> tuple[str, ...]:
    return tuple(getattr(run, name) for name in OPEN_KEYS)


def _join(run: Run, written: Collection[tuple[str, ...]]) -> Run:
    """Fill the key that a failed run could not write, when exactly one ranking of its cell fits.

    Args:
        run: A failed run.
        written: The values of `OPEN_KEYS` among the finished runs that share everything else.
    """
    own = _open(run)
    fits = [values for values in written if all(mine in ("", theirs) for mine, theirs in zip(own, values, strict=True))]
    if len(fits) != 1:
        return run
    backbone, digest, size, fingerprint = fits[0]
    return replace(run, backbone=backbone, backbone_digest=digest, image_size=size, data_fingerprint=fingerprint)


@lru_cache(maxsize=1024)
def _ranking_key(*values: str) -> RankingKey:
    return RankingKey(**dict(zip(_RANKING_FIELDS, values, strict=True)))


@lru_cache(maxsize=8192)
def _cell_key(dataset: str, category: str, fingerprint: str) -> CellKey:
    return CellKey(dataset=dataset, category=category, fingerprint=fingerprint)


def _options(row: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """The baseline's options as canonical JSON, from their own column or from the spec."""
    own = row.get("baseline_options")
    if isinstance(own, str) and own:
        return own
    baseline = spec.get("baseline")
    options = baseline.get("options", {}) if isinstance(baseline, Mapping) else {}
    return json.dumps(options, sort_keys=True, separators=(",", ":"), default=str)


def _asked(row: Mapping[str, Any], spec: Mapping[str, Any]) -> int | None:
    """The augmentation size asked for, from its own column or from the spec."""
    own = integer(row.get("count"))
    if own is not None:
        return own
    selection = spec.get("selection")
    return integer(selection.get("count")) if isinstance(selection, Mapping) else None
