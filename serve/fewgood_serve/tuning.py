"""`fewgood serve --tune`: how many replicas, threads and rows draw most images per second on this hardware, by measuring.

Each way of using the processor is tried with as many processes as it has replicas, all drawing at once; the rows of a pass are
tried inside each. Rows and threads are part of what fixes bytes, so a server that is tuned anew may give other last digits:
the choice is written down beside the keys and kept until `--tune` is run again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from fewgood.errors import SpecError, StoreError
from fewgood.store import Home, Location
from fewgood.store.location import FILE_ERRORS
from fewgood_serve.registry import Registry

__all__ = ["Measured", "choose", "hardware_class", "measure", "table", "tune", "tuned"]

TUNED = "tuning.json"

_ROWS = (1, 2, 4, 8)
_SECONDS = 3.0
"""Each pair of threads and rows draws for about so long, in each of two rounds."""
_ROUNDS = 2
_WORTH = 1.03
"""A way with more rows or threads must draw so much more to be chosen over a simpler one."""

_barrier: Barrier | None = None


@dataclass(frozen=True)
class Measured:
    """One way of using the hardware."""

    replicas: int
    threads: int
    rows: int
    images_per_second: float
    """Of all replicas together, drawing at once."""
    milliseconds: float
    """Of one pass of one replica meanwhile."""


def tune(home: Home, registry: str | None) -> str:
    """Measure with the registry's first generator, write the choice down, and give the table.

    Raises:
        SpecError: if the registry has no generator to measure with.
        StoreError: if it cannot be read, or the choice cannot be written.
    """
    shelves = Registry.locate(home, registry)
    latest = [shelf for shelf in shelves.shelves().values() if shelf.latest is not None]
    if not latest:
        raise SpecError(f"{shelves.shown} has no generator to measure with: `fewgood promote` puts one there")
    reference = shelves.resolve(latest[0].name)
    with tempfile.TemporaryDirectory(dir=home.temporary) as folder:
        shelves.fetch(reference, Path(folder))
        found = measure(Path(folder), home.root, _ways())
    chosen = choose(found)
    document = {
        "hardware": hardware_class(),
        "generator": str(reference),
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "chosen": {"replicas": chosen.replicas, "threads": chosen.threads, "rows": chosen.rows},
        "measured": [asdict(one) for one in found],
    }
    place = Location.of(home.root / "serve")
    try:
        place.put(TUNED, json.dumps(document, indent=1).encode())
    except FILE_ERRORS as error:
        raise StoreError(f"{place.shown}/{TUNED} cannot be written ({error})") from error
    return table(found, chosen, str(reference))


def hardware_class() -> str:
    """The processor or accelerator and how many there are: what a measurement of speed holds for."""
    import platform

    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    return f"{os.cpu_count()} x {platform.machine()} CPU"


def tuned(home: Home) -> dict[str, Any]:
    """`replicas`, `threads` and `rows` as `--tune` found them here; as many one-thread replicas as CPUs without it."""
    import torch

    try:
        known = json.loads((home.root / "serve" / TUNED).read_text())
        if known["hardware"] == hardware_class():
            chosen: dict[str, Any] = {name: int(known["chosen"][name]) for name in ("replicas", "threads", "rows")}
            return chosen | ({"gpus": 1.0} if torch.cuda.is_available() else {})
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if torch.cuda.is_available():
        return {"replicas": torch.cuda.device_count(), "threads": 1, "rows": 8, "gpus": 1.0}
    return {"replicas": os.cpu_count() or 1, "threads": 1, "rows": 1}


def choose(found: Sequence[Measured]) -> Measured:
    """The fastest way; a simpler one (fewer rows, then fewer threads) where it is as good within three per cent."""
    best = max(one.images_per_second for one in found)
    good = [one for one in found if one.images_per_second * _WORTH >= best]
    return min(good, key=lambda one: (one.rows, one.threads, -one.images_per_second))


def table(found: Sequence[Measured], chosen: Measured, generator: str) -> str:
    """The measurements as text, with what they say of batching."""
    lines = [f"{hardware_class()}, {generator}", "replicas  threads  rows  images/s  ms a pass"]
    lines += [
        f"{one.replicas:8}  {one.threads:7}  {one.rows:4}  {one.images_per_second:8.2f}  {one.milliseconds:9.0f}"
        f"{'  <- chosen' if one == chosen else ''}"
        for one in found
    ]
    single = max(one.images_per_second for one in found if one.rows == 1)
    several = max((one.images_per_second for one in found if one.rows > 1), default=0.0)
    if several > single * _WORTH:
        lines.append(f"Several rows a pass draw {several / single:.2f} times what one row does: batching pays here.")
    else:
        lines.append(
            f"Several rows a pass draw {several / single:.2f} times what one row does: batching does not pay here."
        )
    return "\n".join(lines)


def measure(folder: Path, home: Path, ways: Sequence[tuple[int, int]]) -> list[Measured]:
    """Measure a bundle in each way.

    Args:
        folder: The bundle.
        home: Where the image-text model is.
        ways: (replicas, threads) pairs.
    """
    found = []
    for replicas, threads in ways:
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(replicas)
        with ProcessPoolExecutor(replicas, mp_context=context, initializer=_begin, initargs=(barrier,)) as pool:
            jobs = [pool.submit(_draw_for, str(folder), str(home), threads) for _ in range(replicas)]
            results = [job.result() for job in jobs]
        for rows in _ROWS:
            rates = [result[rows] for result in results]
            passes = sum(rates) / rows
            found.append(Measured(replicas, threads, rows, round(sum(rates), 3), round(1000.0 * replicas / passes, 1)))
    return found


def _ways() -> list[tuple[int, int]]:
    import torch

    if torch.cuda.is_available():
        return [(torch.cuda.device_count(), 1)]
    cpus = os.cpu_count() or 1
    threads = [count for count in (1, 2, 4, 8, 16, 32) if count <= cpus]
    return [(max(1, cpus // count), count) for count in threads]


def _begin(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _draw_for(folder: str, home: str, threads: int) -> dict[int, float]:
    """Images per second for each number of rows, in a process of its own while the others do the same."""
    import torch

    from fewgood.hardware import pick_device
    from fewgood_serve.painter import Painter, Wanted

    torch.set_num_threads(threads)
    painter = Painter(Path(folder), home=Path(home), device=pick_device())
    rates: dict[int, list[float]] = {rows: [] for rows in _ROWS}
    index = 0
    for _ in range(_ROUNDS):
        for rows in _ROWS:
            painter.rows = rows
            painter.draw([Wanted(seed=1, index=index)])
            assert _barrier is not None
            _barrier.wait(timeout=120)
            started, drawn = time.perf_counter(), 0
            while time.perf_counter() - started < _SECONDS:
                painter.draw([Wanted(seed=0, index=index + number) for number in range(rows)])
                index += rows
                drawn += rows
            rates[rows].append(drawn / (time.perf_counter() - started))
    return {rows: sum(values) / len(values) for rows, values in rates.items()}
