"""A sweep on three real hosts of this machine (network namespaces) with an S3 store, one host killed while it runs.

    python benchmarks/three_hosts.py docs/studies/hosts.yaml --folder hosts-out --kill-after 12

Needs root and iproute2. Every host has its own home; the shared store is moto's S3 server. When `--kill-after` trials have
finished, every process of `worker2` gets SIGKILL. The sweep must end with all trials; its leaderboard and report are written to
`--folder`. `--models HOME` lends the hosts what a home builds once (the image-text model), so that they need not each build it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

from fewgood_cluster.local import LocalCluster


def finished(log: Path) -> int:
    return log.read_text().count('"event": "trial_finished"') if log.exists() else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kill-after", type=int, default=12)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--notice", type=float, default=30.0, help="seconds until a silent host is taken for dead")
    flags = parser.parse_args()
    folder = flags.folder.absolute()
    name = next(line.split(":")[1].strip() for line in flags.study.read_text().splitlines() if line.startswith("name:"))
    for host in ("head", "worker1", "worker2"):
        home = folder / host / "home"
        if flags.models and not home.exists():
            home.mkdir(parents=True)
            for path in flags.models.iterdir():
                if path.is_dir() and path.name not in ("artifacts", "ledger", "studies", "tmp", "locks", "crashes"):
                    shutil.copytree(path, home / path.name)
    given = {key: value for key, value in os.environ.items() if key in ("FEWGOOD_TEST_DATA", "FEWGOOD_DATA")}
    with LocalCluster(hosts=3, folder=folder, environment=given, notice_s=flags.notice) as cluster:
        started = time.monotonic()
        words = [sys.executable, "-c", "from fewgood.cli import main; main()"]
        report = ["--report", str(folder / "report.html")]
        sweep = cluster.popen("head", [*words, "sweep", str(flags.study), *report])
        log = folder / "head" / "home" / "studies" / name / "events.jsonl"
        killed = None
        while sweep.poll() is None:
            time.sleep(0.5)
            if killed is None and finished(log) >= flags.kill_after:
                killed = time.monotonic() - started
                cluster.kill("worker2")
                print(f"worker2 was killed after {killed:.0f} s and {finished(log)} finished trials", flush=True)
        seconds = time.monotonic() - started
        for form in ("md", "json"):
            board = cluster.run("head", [*words, "leaderboard", "--format", form], capture_output=True, text=True)
            (folder / f"leaderboard.{form}").write_text(board.stdout)
        events = [json.loads(line) for line in log.read_text().splitlines()]
        shutil.copy(log, folder / "events.jsonl")
        hosts = {event["event"]: 0 for event in events}
        for event in events:
            hosts[event["event"]] += 1
        print(json.dumps({"status": sweep.returncode, "seconds": seconds, "killed_after": killed, "events": hosts}))
    return int(sweep.returncode)


if __name__ == "__main__":
    sys.exit(main())
