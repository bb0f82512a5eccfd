"""Writes a made-up ledger of many rows, to see how the ledger, its index and the leaderboard bear the size.

    python benchmarks/ledger_200k.py --out /tmp/ledger            # 200,000 rows
    python benchmarks/ledger_200k.py --out /tmp/ledger --rows 5000 --seed 3

Nothing in it was measured: every row says so in `hardware` and `study`. The same arguments give the same rows. Datasets,
baselines, arms and specs have the shape of real ones, and a row's image AUROC, AUPR and F1 are those of its own scores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fewgood.baselines import baseline_spec
from fewgood.specs import DataSpec, GeneratorSpec, SelectionSpec, TrialSpec, canonical_json, digest
from fewgood.store import LEDGER_SCHEMA, SCHEMA_VERSION, Location, write_part
from fewgood.store.files import write_table

STUDY = "made-by-script"
HARDWARE = "made by benchmarks/ledger_200k.py, measured nowhere"
CATEGORIES = {"made-bt": 3, "made-ad": 15, "made-loco": 5}
BASELINES = ("patchcore", "cflow", "reverse_distillation", "efficient_ad")
LATENCY_MS = {"patchcore": 31.0, "cflow": 58.0, "reverse_distillation": 44.0, "efficient_ad": 23.0}
BASE_SECONDS = {"patchcore": 9.0, "cflow": 70.0, "reverse_distillation": 55.0, "efficient_ad": 90.0}
SHOTS = (1, 2, "full")
COUNTS = (4, 8, 16, 32, 64)
VARIANCE_WEIGHTS = (0.6, 0.1, 0.3, 1.0, 2.0)
SEEDS = 5
IMAGES = 80
LIFT = {
    "none": 0.0,
    "duplicate": 0.01,
    "augment": 0.22,
    "noise": 0.12,
    "generate-random": 0.3,
    "generate": 0.45,
    "full": 1.2,
}
ERRORS = (
    "BaselineError: the training loss is not finite after 12 steps: give a smaller learning rate",
    "StoreError: no space left under /data/fewgood: free some space, or give another --home",
    "RuntimeError: CUDA out of memory. Tried to allocate 512.00 MiB",
)
PART_ROWS = 10_000
SINGLE_FILES = 400
OLD_FILES = 5
TRUNCATED_FILES = 2
NEW_IN_V2 = ("entry", "baseline_options", "count", "gpu_seconds", "reused_seconds", "latency_ms")


@dataclass(frozen=True)
class Cell:
    """A category under one baseline with one number of shots."""

    dataset: str
    category: str
    number: int
    baseline: str
    shots: int | str


def main() -> None:
    """Read the flags, write the ledger, say how large it is."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="The folder to make; it must not exist or be empty.")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    out: Path = arguments.out
    if out.exists() and any(out.iterdir()):
        sys.exit(f"--out {out} is not empty: give another folder, or remove it")
    if arguments.rows < 1:
        sys.exit(f"--rows is {arguments.rows}: give a whole number from 1")
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    write(out, arguments.rows, arguments.seed)
    size = sum(path.stat().st_size for path in out.iterdir()) / 2**20
    print(f"{arguments.rows} rows, {len(list(out.iterdir()))} files, {size:.0f} MiB in {out}, ", end="")
    print(f"{time.perf_counter() - started:.0f} s")


def write(out: Path, rows: int, seed: int) -> None:
    """Write the large files, the single rows, the old ones and the truncated ones."""
    location = Location.of(out)
    every = max(1, rows // (SINGLE_FILES + OLD_FILES))
    held: list[pa.Table] = []
    alone: list[pa.Table] = []
    waiting = done = 0
    for table in tables(rows, seed):
        numbers = np.arange(done, done + table.num_rows)
        done += table.num_rows
        single = (numbers % every == every // 2) & (numbers // every < SINGLE_FILES + OLD_FILES)
        alone += [table.slice(int(place), 1) for place in np.flatnonzero(single)]
        held.append(table.filter(pa.array(~single)))
        waiting += held[-1].num_rows
        while waiting >= 2 * PART_ROWS or (done >= rows and waiting):
            whole = pa.concat_tables(held)
            length = PART_ROWS if waiting >= 2 * PART_ROWS else waiting
            write_part(whole.slice(0, length), location)
            held, waiting = [whole.slice(length)], waiting - length
    for number, table in enumerate(alone):
        entry = table.column("entry")[0].as_py()
        if number < OLD_FILES:
            table = table.drop_columns(list(NEW_IN_V2))
            table = table.set_column(0, "schema_version", pa.array([1], pa.int32()))
        write_table(table, str(out / f"{entry}.parquet"), location)
    for number, table in enumerate(alone[-TRUNCATED_FILES:]):
        path = out / f"{digest(['truncated', seed, number])}-{number:012x}.parquet"
        write_table(table, str(path), location)
        whole_file = path.read_bytes()
        path.write_bytes(whole_file[: len(whole_file) * 2 // 3])


def tables(rows: int, seed: int) -> Iterator[pa.Table]:
    """The rows cell by cell, in the order of a large file."""
    cells = [
        Cell(dataset, f"made-{number + 1:02d}", number + 100 * place, baseline, shots)
        for place, (dataset, count) in enumerate(sorted(CATEGORIES.items()))
        for number in range(count)
        for baseline in sorted(BASELINES)
        for shots in SHOTS
    ]
    for place, cell in enumerate(cells):
        wanted = rows * (place + 1) // len(cells) - rows * place // len(cells)
        if wanted:
            yield cell_table(cell, wanted, seed)


def specs(cell: Cell, count: int) -> list[tuple[TrialSpec, str]]:
    """The first `count` configurations of a cell with how each was chosen, of every arm early on."""
    found: list[tuple[TrialSpec, str]] = []
    base = TrialSpec(
        data=DataSpec(dataset=cell.dataset, category=cell.category, shots=cell.shots),  # type: ignore[arg-type]
        baseline=baseline_spec(cell.baseline, {}),
    )
    for select_on in ("proxy", "test", "fixed"):
        chosen = [replace(base, arm="none"), replace(base, arm="full")]
        chosen += [
            replace(base, arm=arm, selection=SelectionSpec(count=size))
            for size in COUNTS
            for arm in ("augment", "duplicate")
        ]
        generators = [GeneratorSpec(variance_weight=weight) for weight in VARIANCE_WEIGHTS]
        generators.insert(1, GeneratorSpec(variance=False))
        generators += [GeneratorSpec(variance_weight=weight, steps=800) for weight in VARIANCE_WEIGHTS]
        chosen += [
            replace(base, arm=arm, generator=generator, selection=SelectionSpec(count=size))
            for generator in generators
            for size in COUNTS
            for arm in ("generate", "generate-random", "noise")
        ]
        found += [(spec, select_on) for spec in chosen]
        if len(found) >= count:
            return found[:count]
    more = [
        (replace(spec, generator=replace(spec.generator, steps=1000 + 100 * turn)), "proxy")
        for turn in range(math.ceil(count / 100))
        for spec, select_on in found
        if spec.arm == "generate" and select_on == "proxy" and spec.generator.steps == GeneratorSpec().steps
    ]
    return (found + more)[:count]


def cell_table(cell: Cell, rows: int, seed: int) -> pa.Table:
    """The rows of one cell: configurations in order, each with its seeds."""
    key = [seed, cell.number, BASELINES.index(cell.baseline), SHOTS.index(cell.shots)]
    random = np.random.default_rng(key)
    chosen = specs(cell, math.ceil(rows / SEEDS))
    of_row, seeds = np.divmod(np.arange(rows), SEEDS)
    lifts = np.array([lift(spec) for spec, _ in chosen])[of_row]
    shared = np.random.default_rng([seed, cell.number])
    hardness = 0.7 + 0.9 * shared.random() + (0.35 if cell.shots == 2 else 0.8 if cell.shots == "full" else 0.0)
    defect = np.arange(IMAGES) >= IMAGES // 2
    image = shared.normal(size=IMAGES)
    strength = hardness + lifts + 0.12 * random.normal(size=SEEDS)[seeds] + 0.06 * random.normal(size=rows)
    scores = image + strength[:, None] * defect + 0.35 * random.normal(size=(rows, IMAGES))
    failed = random.random(rows) < 0.015
    early = failed & (random.random(rows) < 0.5)
    auroc, aupr, f1_max = image_metrics(scores, defect)
    columns: dict[str, Any] = spec_columns(cell, chosen, of_row, seeds, key)
    columns |= {
        "status": np.where(failed, "failed", "ok").tolist(),
        "error": [ERRORS[number % len(ERRORS)] if bad else None for number, bad in enumerate(failed)],
        "image_auroc": masked(auroc, failed),
        "image_aupr": masked(aupr, failed),
        "image_f1_max": masked(f1_max, failed),
        "proxy_score": masked(np.clip(0.5 + 0.4 * auroc + 0.03 * random.normal(size=rows), 0, 1), failed),
        "test_names": names_column(cell, defect, failed),
        "test_labels": labels_column(cell, defect, failed),
        "test_scores": pa.ListArray.from_arrays(offsets(failed), pa.array(scores[~failed].ravel())),
    }
    no_masks = failed if cell.number % 7 else np.ones(rows, bool)
    columns["pixel_auroc"] = masked(1 - (1 - auroc) * 0.4, no_masks)
    columns["pixel_aupro"] = masked(np.clip(auroc - 0.04 + 0.01 * random.normal(size=rows), 0, 1), no_masks)
    for name in ("backbone", "backbone_digest", "image_size"):
        columns[name] = [None if lost else value for value, lost in zip(columns[name], early, strict=True)]
    if cell.dataset == "made-loco":
        columns["group_metrics_json"] = group_metrics(scores, defect, failed)
    columns |= cost_columns(cell, chosen, of_row, random)
    arrays = [
        columns[field.name] if isinstance(columns.get(field.name), pa.Array) else as_array(columns, field, rows)
        for field in LEDGER_SCHEMA
    ]
    return pa.table([array.cast(field.type) for array, field in zip(arrays, LEDGER_SCHEMA, strict=True)], LEDGER_SCHEMA)


def as_array(columns: dict[str, Any], field: pa.Field, rows: int) -> pa.Array:
    """A column: one value for all rows, a list of values, or nothing."""
    value = columns.get(field.name)
    if value is None:
        return pa.nulls(rows, field.type)
    return pa.array([value] * rows if isinstance(value, (str, int, float)) else value, field.type)


def spec_columns(
    cell: Cell, chosen: list[tuple[TrialSpec, str]], of_row: np.ndarray, seeds: np.ndarray, key: list[int]
) -> dict[str, Any]:
    """What a row says because of its spec: made once per configuration, with the seed put in."""
    shared = "made-backbone-a" if cell.baseline in ("patchcore", "cflow") else f"made-backbone-{cell.baseline}"
    fingerprint = digest(["data", cell.dataset, cell.category])
    support = [digest(["support", fingerprint, str(cell.shots), seed]) for seed in range(SEEDS)]
    shots = 20 if cell.shots == "full" else int(cell.shots)
    texts = [canonical_json(spec.to_json()) for spec, _ in chosen]
    configs = [digest([spec.config_hash, select_on, key[0]]) for spec, select_on in chosen]
    pairs = list(zip(of_row.tolist(), seeds.tolist(), strict=True))
    runs = [hashlib.sha256(f"{configs[place]}/{seed}".encode()).hexdigest() for place, seed in pairs]
    counts = [None if spec.arm in ("none", "full") else spec.selection.count for spec, _ in chosen]
    added = [
        16 * shots if spec.arm == "full" else (count or 0) for (spec, _), count in zip(chosen, counts, strict=True)
    ]
    start = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=sum(key[1:]))
    return {
        "schema_version": SCHEMA_VERSION,
        "entry": [f"{run[:32]}-{run[32:44]}" for run in runs],
        "run_id": [run[:32] for run in runs],
        "spec_hash": [run[12:44] for run in runs],
        "config_hash": [configs[place] for place in of_row],
        "study": STUDY,
        "dataset": cell.dataset,
        "category": cell.category,
        "kind": "texture" if cell.number % 3 == 0 else "object",
        "keyword": f"thing {cell.number % 100 + 1}",
        "baseline": cell.baseline,
        "baseline_options": canonical_json(chosen[0][0].baseline.option_dict()),
        "backbone": [shared] * len(pairs),
        "backbone_digest": [digest(shared)] * len(pairs),
        "image_size": [256 if cell.baseline == "efficient_ad" else 224] * len(pairs),
        "shots": str(cell.shots),
        "arm": [chosen[place][0].arm for place in of_row],
        "count": [counts[place] for place in of_row],
        "seed": seeds.tolist(),
        "select_on": [chosen[place][1] for place in of_row],
        "spec_json": [texts[place].replace('"seed":0', f'"seed":{seed}') for place, seed in pairs],
        "data_fingerprint": fingerprint,
        "support_files": [
            [f"train/good/{(seed * shots + i) % 200:03d}.png" for i in range(shots)] for _, seed in pairs
        ],
        "support_digest": [support[seed] for _, seed in pairs],
        "prompt": [f"a photo of thing {seed}" if chosen[place][0].arm == "generate" else None for place, seed in pairs],
        "added": [added[place] for place in of_row],
        "precision": "float32",
        "hardware": HARDWARE,
        "versions_json": canonical_json({"fewgood": "0.0", "numpy": "0.0", "python": "3.11"}),
        "started_utc": [(start + timedelta(seconds=n)).isoformat(timespec="seconds") for n in range(len(pairs))],
        "command": [
            f"fewgood evaluate --dataset {cell.dataset} --category {cell.category} --baseline {cell.baseline} "
            f"--shots {cell.shots} --arm {chosen[place][0].arm} --seed {seed}"
            for place, seed in pairs
        ],
    }


def cost_columns(
    cell: Cell, chosen: list[tuple[TrialSpec, str]], of_row: np.ndarray, random: np.random.Generator
) -> dict[str, Any]:
    """What the runs cost, in seconds and milliseconds."""
    rows = len(of_row)
    trains = np.array([0.05 * spec.generator.steps * ("generate" in spec.arm) for spec, _ in chosen])[of_row]
    reused = trains * (random.random(rows) < 0.8)
    seconds = BASE_SECONDS[cell.baseline] * (0.9 + 0.2 * random.random(rows)) + trains - reused
    stages = [
        json.dumps(
            {"generator": {"cached": old > 0, "seconds": round(one, 2)}, "detector": {"seconds": round(all_, 2)}}
        )
        for old, one, all_ in zip(reused.tolist(), trains.tolist(), seconds.tolist(), strict=True)
    ]
    return {
        "stages_json": stages,
        "seconds": seconds.round(3).tolist(),
        "cpu_seconds": (seconds * 1.7).round(3).tolist(),
        "gpu_seconds": (seconds * 0.6).round(3).tolist(),
        "reused_seconds": reused.round(3).tolist(),
        "latency_ms": (LATENCY_MS[cell.baseline] * (0.9 + 0.2 * random.random(rows))).round(2).tolist(),
    }


def lift(spec: TrialSpec) -> float:
    """How much an arm separates defects better than `none`: grows with the count, saturates, best near weight 0.6."""
    grown = 1.0 if spec.arm in ("none", "full") else 1 - math.exp(-spec.selection.count / 12)
    varied = 0.75 if not spec.generator.variance else 1 - 0.12 * abs(math.log(spec.generator.variance_weight / 0.6))
    return LIFT[spec.arm] * grown * (varied if "generate" in spec.arm else 1.0)


def image_metrics(scores: np.ndarray, defect: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image AUROC, AUPR (average precision) and best F1 of each row of `(rows, images)` scores, without ties."""
    order = np.argsort(-scores, axis=1)
    hits = np.cumsum(defect[order], axis=1)
    bad = defect.sum()
    ranked = np.arange(1, scores.shape[1] + 1)
    below = (~defect[order])[:, ::-1].cumsum(axis=1)[:, ::-1]
    auroc = (below * defect[order]).sum(axis=1) / (bad * (~defect).sum())
    aupr = (hits / ranked * defect[order]).sum(axis=1) / bad
    return auroc, aupr, (2 * hits / (ranked + bad)).max(axis=1)


def group_metrics(scores: np.ndarray, defect: np.ndarray, failed: np.ndarray) -> list[str | None]:
    """The image AUROC of logical and of structural defects apart, as JSON."""
    logical = np.flatnonzero(defect)[::2]
    groups = {}
    for name, kept in (("logical", logical), ("structural", np.setdiff1d(np.flatnonzero(defect), logical))):
        chosen = np.concatenate([np.flatnonzero(~defect), kept])
        groups[name] = image_metrics(scores[:, chosen], defect[chosen])[0]
    return [
        None if bad else canonical_json({name: {"image_auroc": float(values[row])} for name, values in groups.items()})
        for row, bad in enumerate(failed)
    ]


def labels_of(cell: Cell, defect: np.ndarray) -> list[str]:
    """The label of each test image."""
    kinds = ("logical_anomalies", "structural_anomalies") if cell.dataset == "made-loco" else ("scratch", "dent")
    return [kinds[number % 2] if bad else "good" for number, bad in enumerate(defect)]


def labels_column(cell: Cell, defect: np.ndarray, failed: np.ndarray) -> pa.Array:
    """The labels, once for each row that did not fail."""
    return lists(labels_of(cell, defect), failed)


def names_column(cell: Cell, defect: np.ndarray, failed: np.ndarray) -> pa.Array:
    """The test images' names, once for each row that did not fail."""
    return lists([f"test/{label}/{number:03d}.png" for number, label in enumerate(labels_of(cell, defect))], failed)


def lists(values: list[str], failed: np.ndarray) -> pa.Array:
    """The same list in each row, null in those that failed."""
    places = np.tile(np.arange(len(values)), int((~failed).sum()))
    return pa.ListArray.from_arrays(offsets(failed), pa.array(values).take(pa.array(places)))


def offsets(failed: np.ndarray) -> pa.Array:
    """Where each row's list starts; a failed row has none."""
    ends = np.concatenate([[0], np.cumsum(np.where(failed, 0, IMAGES))]).astype(np.int32)
    return pa.array(ends, mask=np.append(failed, False))


def masked(values: np.ndarray, missing: np.ndarray) -> pa.Array:
    """A column of numbers with nulls."""
    return pa.array(values, pa.float64(), mask=missing)


if __name__ == "__main__":
    main()
