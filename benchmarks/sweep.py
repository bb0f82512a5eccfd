"""What a sweep's shared work, concurrency and orchestration are worth, as ratios within one run.

    python benchmarks/sweep.py [--steps 400] [--only store|concurrency] [--json]

Three measurements on the embedded sample, PatchCore, one shot, one cell:

- store: 12 trials over prompt count, variance weight (3 values) and augmentation size as a sweep with the artifact store, against
  the same 12 trials each with an empty store; two one-thread workers in both, models built beforehand in both, same numbers.
- concurrency: 4 trials that share nothing, two at once with one thread each, one at a time with one thread, and one at a time
  with two threads.
- orchestration: the first sweep's wall time that no stage used, as a share of it, Ray's start-up apart.

At 400 steps, which was the product's default when docs/LOG.md measured, it takes about half an hour on two idle cores. Each
measurement is also told as it ends, on the error stream.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from fewgood.execution.study import Study, study_from
from fewgood.store import Home, Ledger

TWELVE = [
    {"prompts.count": prompts, "generator.variance_weight": weight, "selection.count": count}
    for prompts, count in ((8, 4), (8, 16), (32, 8), (32, 16))
    for weight in (0.1, 0.6, 2.0)
]
APART = [{"generator.variance_weight": weight, "selection.count": 8} for weight in (0.2, 0.4, 0.8, 1.6)]


def study(name: str, configurations: list[dict[str, Any]], steps: int, *, concurrent: int, threads: int = 1) -> Study:
    return study_from(
        {
            "name": name,
            "datasets": [{"name": "sample", "categories": ["brick"]}],
            "search": "list",
            "configurations": configurations,
            "budget": {"trials": len(configurations)},
            "settings": {"generator.steps": steps},
            "resources": {"concurrent": concurrent, "cpus_per_trial": threads},
        },
        where="benchmarks/sweep.py",
    )


def sweep(made: Study, home: Home) -> dict[str, float]:
    """Run a study with Ray: seconds of the sweep, of Ray's start-up before it, and of all stages in it."""
    from fewgood.execution.sweep import run_sweep
    from fewgood_spaces import resolve

    spaces = {cell.label: resolve(made.space, dataset=cell.dataset, baseline=cell.baseline) for cell in made.cells}
    found: list[Any] = []
    outcome = run_sweep(made, spaces, home, address=None, listener=found.append)
    failed = [event["error"] for event in found if event["event"] in ("trial_failed", "trial_retried")]
    assert len(outcome.cells[0].finished) == len(made.configurations), failed or outcome.cells[0]
    moments = {event["event"]: datetime.fromisoformat(event["utc"]) for event in found}
    first = next(datetime.fromisoformat(event["utc"]) for event in found if event["event"] == "trial_started")
    seconds = (moments["sweep_finished"] - moments["sweep_started"]).total_seconds()
    opening = next(event for event in found if event["event"] == "sweep_started")
    rows = [row for row in Ledger(home).rows() if row["study"] == made.name]
    return {
        "seconds": seconds,
        "ray_start_seconds": opening["start_seconds"],
        "first_trial_seconds": (first - moments["sweep_started"]).total_seconds(),
        "run_seconds": sum(event["seconds"] for event in found if event["event"] == "run_finished"),
        "stage_seconds": sum(entry["seconds"] for row in rows for entry in json.loads(row["stages_json"]).values()),
    }


def alone(job: tuple[dict[str, Any], dict[str, Any], str, str]) -> dict[str, Any]:
    """One trial with an empty store, in a process of its own."""
    import torch

    from fewgood.execution.trial import run_configuration

    document, settings, models, folder = job
    torch.set_num_threads(1)
    made = Study.model_validate(document)
    home = Home(Path(folder)).prepare()
    if home.root != Path(models):
        lend_models(Path(models), home.root)
    run_configuration(made, made.cells[0], settings, home=home, report=lambda _: None, tell=lambda *_, **__: None)
    return metrics(home)


def store(fresh: Callable[[str], Home], models: Home, folder: Path, steps: int, spawn: Any) -> dict[str, Any]:
    """The twelve trials as a sweep with the store, and each with an empty one."""
    shared = fresh("shared")
    made = study("twelve", TWELVE, steps, concurrent=2)
    with_store = sweep(made, shared)
    told("twelve with the store:", **with_store)
    jobs = [
        (made.model_dump(mode="json"), settings, str(models.root), str(folder / f"alone-{number}"))
        for number, settings in enumerate(TWELVE)
    ]
    started = time.perf_counter()
    with spawn.Pool(2) as pool:
        apart = pool.map(alone, jobs, chunksize=1)
    without_seconds = time.perf_counter() - started
    told("twelve with empty stores:", seconds=without_seconds)
    numbers: dict[str, Any] = {}
    for one in apart:
        numbers |= one
    mine = metrics(shared)
    assert mine.keys() == numbers.keys()
    worst = max(
        abs(a - b)
        for run in mine
        for a, b in zip(mine[run], numbers[run], strict=True)
        if a is not None and b is not None
    )
    return {
        "store": {
            "with_seconds": with_store["seconds"],
            "without_seconds": without_seconds,
            "ratio": with_store["seconds"] / without_seconds,
            "largest_difference": worst,
        },
        "orchestration": {
            "share": 1 - with_store["run_seconds"] / (2 * with_store["seconds"]),
            "ray_start_seconds": with_store["ray_start_seconds"],
            "first_trial_seconds": with_store["first_trial_seconds"],
        },
    }


def concurrency(fresh: Callable[[str], Home], steps: int) -> dict[str, Any]:
    """Four trials that share nothing: two at once, one at a time, and one at a time with both cores."""
    two = sweep(study("two", APART, steps, concurrent=2), fresh("two"))
    told("two at once, one thread each:", **two)
    one = sweep(study("one", APART, steps, concurrent=1), fresh("one"))
    told("one at a time, one thread:", **one)
    wide = sweep(study("wide", APART, steps, concurrent=1, threads=2), fresh("wide"))
    told("one at a time, two threads:", **wide)
    return {
        "concurrency": {
            "two_of_one_thread_seconds": two["seconds"],
            "one_of_one_thread_seconds": one["seconds"],
            "one_of_two_threads_seconds": wide["seconds"],
            "throughput_against_one_thread": one["seconds"] / two["seconds"],
            "throughput_against_two_threads": wide["seconds"] / two["seconds"],
        }
    }


def told(part: str, **seconds: float) -> None:
    """Say on the error stream what one measurement took, so that a run that is cut off has said something."""
    print(part, *(f"{name}={value:.1f}" for name, value in seconds.items()), file=sys.stderr, flush=True)


def metrics(home: Home) -> dict[str, Any]:
    return {
        row["run_id"]: [row["image_auroc"], row["pixel_auroc"], row["proxy_score"]]
        for row in Ledger(home).rows()
        if row["status"] == "ok"
    }


def lend_models(source: Path, target: Path) -> None:
    """Copy to a home what is built once per machine: the image-text model, WordNet (NLTK reads no links), the drawn sample."""
    for path in source.iterdir():
        if path.is_dir() and path.name not in ("artifacts", "ledger", "studies", "tmp", "locks"):
            shutil.copytree(path, target / path.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="training steps of each generator")
    parser.add_argument("--only", choices=("store", "concurrency"), help="one part; orchestration belongs to the store")
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = Home(folder / "models").prepare()
        warm = study("warm", [{"selection.count": 2}], 2, concurrent=1)
        spawn = multiprocessing.get_context("spawn")
        with spawn.Pool(1) as pool:
            pool.map(
                alone, [(warm.model_dump(mode="json"), warm.configurations[0], str(models.root), str(models.root))]
            )

        def fresh(label: str) -> Home:
            home = Home(folder / label).prepare()
            lend_models(models.root, home.root)
            return home

        result: dict[str, Any] = {"steps": flags.steps}
        if flags.only != "concurrency":
            result |= store(fresh, models, folder, flags.steps, spawn)
        if flags.only != "store":
            result |= concurrency(fresh, flags.steps)
    if flags.json:
        print(json.dumps(result, indent=1))
        return
    for part, values in result.items():
        print(part if isinstance(values, dict) else f"{part}: {values}")
        for key, value in values.items() if isinstance(values, dict) else ():
            print(f"  {key}: {value:.3f}")


if __name__ == "__main__":
    sys.exit(main())
