"""What the server costs over the bare loop, and how it bears a load in which a replica dies and versions change.

    python benchmarks/serve.py speed [--seconds 60]
    python benchmarks/serve.py load [--seconds 300] [--clients 64]

`speed`: images per second of 16 clients against the bare loop of as many one-thread processes as the server has replicas, and the
median time of one request for one image against one bare call, in turns. `load`: clients that ask for 1 to 16 images each, again
and again, every image held against the one drawn offline; a replica is killed, a version promoted, rolled back, another replica
killed. Both train two generators of 40 steps on sample/brick first, promote them, and start `fewgood serve` on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil

FEWGOOD = str(Path(sys.executable).with_name("fewgood"))
SEEDS = (1, 2, 3)
SIZES = (1, 1, 2, 2, 4, 8, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "load"))
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--clients", type=int)
    parser.add_argument("--replicas", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        prepare(home)
        if flags.what == "speed":
            result = speed(home, flags.replicas, flags.seconds or 60.0, flags.clients or 16)
        else:
            result = load(home, flags.replicas, flags.seconds or 300.0, flags.clients or 64)
    print(json.dumps(result, indent=1) if flags.json else text(result))


def text(result: dict[str, Any]) -> str:
    lines = []
    for name, value in result.items():
        if isinstance(value, list):
            lines += [name, *("  " + "  ".join(f"{key} {cell}" for key, cell in row.items()) for row in value)]
        else:
            lines.append(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    return "\n".join(lines)


def prepare(home: Path) -> None:
    """Two versions of one generator in the registry of a new home, the first one the latest."""
    from fewgood.pipeline import run
    from fewgood.store import Home
    from fewgood.trials import make_spec
    from fewgood_serve.promotion import of_spec, promote
    from fewgood_serve.registry import Registry

    where = Home(home).prepare()
    for weight in ("0.6", "0.1"):
        spec = make_spec(
            dataset="sample", root=None, category="brick", baseline="patchcore", shots="1", arm="generate", seed=0,
            settings={"generator.steps": "40", "selection.count": "2", "generator.variance_weight": weight},
        )  # fmt: skip
        made = run(spec, where)
        promote(
            of_spec(where, made.row["spec_hash"]), where, Registry.locate(where), name="brick", latest=weight == "0.6"
        )


def fetch(home: Path, version: int) -> Path:
    from fewgood.store import Home
    from fewgood_serve.registry import Registry

    folder = home / "tmp" / f"offline-{version}"
    if not folder.is_dir():
        folder.mkdir()
        registry = Registry.locate(Home(home))
        registry.fetch(registry.resolve(f"brick@{version}"), folder)
    return folder


def painter(home: str, version: int) -> Any:
    import torch

    from fewgood_serve.painter import Painter

    torch.set_num_threads(1)
    return Painter(fetch(Path(home), version), home=Path(home), device=torch.device("cpu"))


def bare_rate(home: str, seconds: float) -> float:
    """Images per second of the bare loop in this process."""
    from fewgood_serve.painter import Wanted

    made = painter(home, 1)
    made.draw([Wanted(seed=0, index=0)])
    drawn, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        made.draw([Wanted(seed=1, index=drawn)])
        drawn += 1
    return drawn / (time.perf_counter() - started)


def digests(job: tuple[str, int, int, int]) -> tuple[int, int, list[str]]:
    from fewgood_serve.painter import Wanted

    home, version, seed, count = job
    drawn = painter(home, version).draw([Wanted(seed=seed, index=index) for index in range(count)])
    return version, seed, [hashlib.sha256(one.png).hexdigest() for one in drawn]


class Server:
    def __init__(self, home: Path, replicas: int, *words: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [FEWGOOD, "serve", "--home", str(home), "--no-auth", "--port", str(port), "--replicas", str(replicas)]
        self.process = subprocess.Popen(
            [*command, "--threads", "1", "--rows", "1", *words],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        said = ""
        for line in self.process.stderr:
            said += line
            if "fewgood serve on" in line:
                break
        else:
            sys.exit(f"the server did not start: {said}")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def replicas(self) -> list[psutil.Process]:
        found = []
        for process in self.processes():
            try:
                if "ServeReplica:fewgood:generator" in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def megabytes(self) -> dict[str, float]:
        """Proportional memory of the ingress, of the replicas together, and of all of it."""
        sums = {"ingress": 0.0, "replicas": 0.0, "all": 0.0}
        for process in self.processes():
            try:
                words, size = " ".join(process.cmdline()), process.memory_full_info().pss / 2**20
            except psutil.Error:
                continue
            sums["all"] += size
            if "fewgood:ingress" in words:
                sums["ingress"] += size
            elif "fewgood:generator" in words:
                sums["replicas"] += size
        return sums

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=120)


def speed(home: Path, replicas: int, seconds: float, clients: int) -> dict[str, Any]:
    from fewgood_serve.client import AsyncClient, Client
    from fewgood_serve.painter import Wanted

    spawn = multiprocessing.get_context("spawn")

    def bare() -> float:
        with ProcessPoolExecutor(replicas, mp_context=spawn) as pool:
            return sum(pool.map(bare_rate, [str(home)] * replicas, [seconds / 2] * replicas))

    fetch(home, 1)
    before = bare()
    server = Server(home, replicas)
    try:

        async def served() -> float:
            drawn, end = 0, time.perf_counter() + seconds
            async with AsyncClient(server.url) as client:

                async def ask(seed: int) -> None:
                    nonlocal drawn
                    start = 0
                    while time.perf_counter() < end:
                        async for _ in client.images("brick", 8, seed=seed, start=start):
                            drawn += time.perf_counter() < end
                        start += 8

                await asyncio.gather(*(ask(seed) for seed in range(clients)))
            return drawn / seconds

        rate = asyncio.run(served())
        own = painter(str(home), 1)
        bare_ms, request_ms = [], []
        with Client(server.url) as client:
            for index in range(41):
                started = time.perf_counter()
                own.draw([Wanted(seed=9, index=index)])
                bare_ms.append(1000 * (time.perf_counter() - started))
                started = time.perf_counter()
                list(client.images("brick", 1, seed=9, start=index))
                request_ms.append(1000 * (time.perf_counter() - started))
    finally:
        server.end()
    after = bare()
    loop = (before + after) / 2
    return {
        "replicas": replicas,
        "clients": clients,
        "bare loop, images per second, before": before,
        "bare loop, images per second, after": after,
        "served, images per second": rate,
        "served / bare (aim at least 0.85)": rate / loop,
        "one bare call, p50 ms": statistics.median(bare_ms[1:]),
        "one request, p50 ms": statistics.median(request_ms[1:]),
        "overhead, p50 ms (aim at most 25)": statistics.median(
            request - call for request, call in zip(request_ms[1:], bare_ms[1:], strict=True)
        ),
    }


def load(home: Path, replicas: int, seconds: float, clients: int) -> dict[str, Any]:
    from fewgood.errors import ServiceError
    from fewgood.store import Home
    from fewgood_serve.client import AsyncClient
    from fewgood_serve.registry import Registry

    for version in (1, 2):
        fetch(home, version)
    jobs = [(str(home), version, seed, max(SIZES)) for version in (1, 2) for seed in SEEDS]
    with ProcessPoolExecutor(replicas, mp_context=multiprocessing.get_context("spawn")) as pool:
        expected = {(version, seed): found for version, seed, found in pool.map(digests, jobs)}
    registry = Registry.locate(Home(home))
    server = Server(home, replicas)
    latencies: dict[int, list[float]] = {size: [] for size in sorted(set(SIZES))}
    firsts: dict[int, list[float]] = {size: [] for size in sorted(set(SIZES))}
    counts = {"answers": 0, "images": 0, "wrong": 0, "failed": 0}
    versions: dict[int, int] = {1: 0, 2: 0}
    memory: list[dict[str, float]] = []
    told: list[str] = []

    def happen(moment: float, what: str, action: Any) -> tuple[float, str, Any]:
        return moment * seconds, what, action

    script = [
        happen(0.2, "replica killed", lambda: server.replicas()[0].send_signal(signal.SIGKILL)),
        happen(0.4, "version 2 promoted", lambda: registry.point(registry.resolve("brick@2"), why="promoted")),
        happen(0.6, "rolled back to 1", lambda: registry.rollback("brick")),
        happen(0.8, "replica killed", lambda: server.replicas()[-1].send_signal(signal.SIGKILL)),
    ]

    async def run() -> float:
        started = time.perf_counter()

        async def ask(client: AsyncClient, number: int) -> None:
            draw = random.Random(number)
            await asyncio.sleep(draw.random())
            while time.perf_counter() - started < seconds:
                size, seed = draw.choice(SIZES), draw.choice(SEEDS)
                begun = time.perf_counter()
                images = []
                try:
                    async for image in client.images("brick", size, seed=seed):
                        if not images:
                            firsts[size].append(time.perf_counter() - begun)
                        images.append(image)
                except ServiceError as error:
                    counts["failed"] += 1
                    told.append(str(error))
                    continue
                latencies[size].append(time.perf_counter() - begun)
                version = images[0].version
                found = [hashlib.sha256(image.png).hexdigest() for image in images]
                right = found == expected[version, seed][:size] and {image.version for image in images} == {version}
                counts["answers"] += 1
                counts["images"] += len(images)
                counts["wrong"] += not right
                versions[version] += 1

        async def watch() -> None:
            waiting = list(script)
            while time.perf_counter() - started < seconds:
                passed = time.perf_counter() - started
                while waiting and passed >= waiting[0][0]:
                    _, what, action = waiting.pop(0)
                    await asyncio.to_thread(action)
                    told.append(f"{passed:.0f} s: {what}")
                if passed > seconds * 0.1:
                    memory.append(await asyncio.to_thread(server.megabytes))
                await asyncio.sleep(5)

        async with AsyncClient(server.url) as client:
            await asyncio.gather(watch(), *(ask(client, number) for number in range(clients)))
        return time.perf_counter() - started

    try:
        took = asyncio.run(run())
    finally:
        server.end()

    def percentile(values: list[float], share: float) -> str:
        ordered = sorted(values)
        return f"{ordered[min(len(ordered) - 1, int(share * len(ordered)))]:.2f}" if ordered else "-"

    quarter = max(1, len(memory) // 4)
    return {
        "clients": clients,
        "replicas": replicas,
        "seconds": took,
        **counts,
        "images per second": counts["images"] / took,
        "answers by version": json.dumps(versions),
        "what happened": "; ".join(told),
        "latency, seconds": [
            {
                "images": size,
                "answers": len(values),
                "first image p50": percentile(firsts[size], 0.5),
                "p50": percentile(values, 0.5),
                "p95": percentile(values, 0.95),
                "p99": percentile(values, 0.99),
            }
            for size, values in latencies.items()
        ],
        "memory, MB": [
            {
                "of": name,
                "first quarter": round(statistics.mean(one[name] for one in memory[:quarter])),
                "last quarter": round(statistics.mean(one[name] for one in memory[-quarter:])),
                "most": round(max(one[name] for one in memory)),
            }
            for name in ("ingress", "replicas", "all")
        ],
    }


if __name__ == "__main__":
    main()
