"""SIGKILL at any moment leaves no half artifact and no half row, and the next run carries on to the same numbers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.integration

WORDS = [
    *("evaluate", "--dataset", "sample", "--category", "brick", "--arm", "generate", "--json"),
    *("--set", "generator.steps=12", "--set", "selection.count=4", "--set", "prompts.count=4"),
    *("--set", "baseline.image_size=128"),
]
STAGES = ("prompts", "generator", "pool", "embeddings", "scores", "training_set", "detector")

FORKING = """
import os, sys
from fewgood.cli import main
import fewgood.pipeline, fewgood.baselines.patchcore, fewgood.embedding.loading, fewgood.text.candidates, torchmetrics
for line in sys.stdin:
    home, out = line.split()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ["FEWGOOD_HOME"] = home
        sys.argv = ["fewgood", *sys.argv[1:]]
        main()
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Starts the command once per line that it reads, each time in a process of its own that need not import anything again."""


class Commands:
    """`fewgood evaluate`, started again and again, each run a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self._out = folder / "out.txt"
        self._server = subprocess.Popen(
            [sys.executable, "-c", FORKING, *WORDS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def start(self, home: Path) -> int:
        """Start it in a home; the process's number."""
        self._server.stdin.write(f"{home} {self._out}\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def finish(self) -> tuple[int, str]:
        """Wait until it has ended: its status (-9 if it was killed), and what it wrote."""
        return int(self._server.stdout.readline()), self._out.read_text()

    def close(self) -> None:
        self._server.communicate(timeout=60)


@pytest.fixture
def commands(tmp_path):
    made = Commands(tmp_path)
    yield made
    made.close()


def check_whole(home: Path) -> None:
    """Everything under its final name is complete: each artifact's files have their recorded sizes, each row reads."""
    for folder in home.glob("artifacts/*/*"):
        manifest = json.loads((folder / "manifest.json").read_text())
        sizes = {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in folder.rglob("*")
            if path.is_file() and path.name != "manifest.json"
        }
        assert sizes == manifest["files"], folder
    for path in home.glob("ledger/*"):
        assert pq.read_table(path).num_rows == 1


def reached(home: Path, stage: str) -> bool:
    return any(home.glob(f"artifacts/{stage}/*/manifest.json"))


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_kill_at_several_moments(commands, lend_models, tmp_path):
    """One home is killed after each stage in turn (and a little into the next), then the run is finished."""
    home = lend_models(tmp_path / "home")
    killed_before = []
    for stage in STAGES[:-1]:
        process = commands.start(home)
        deadline = time.monotonic() + 600
        while not reached(home, stage) and lives(process) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        try:
            os.killpg(process, signal.SIGKILL)
        except ProcessLookupError:  # it has ended already, which the count below notices
            assert reached(home, STAGES[-1])
        commands.finish()
        check_whole(home)
        if not any(home.glob("ledger/*")):
            killed_before.append(stage)
    assert len(killed_before) >= 3, "the kills came too late to test anything"
    commands.start(home)
    status, out = commands.finish()
    assert status == 0
    document = json.loads(out)
    check_whole(home)
    assert document["status"] == "ok"
    assert document["stages"]["generator"]["cached"], "the finished generator must be found again"
    assert len(list(home.glob("ledger/*.parquet"))) == 1

    undisturbed = lend_models(tmp_path / "undisturbed")
    commands.start(undisturbed)
    status, out = commands.finish()
    assert status == 0
    again = json.loads(out)
    assert again["metrics"] == document["metrics"]
    assert again["spec_hash"] == document["spec_hash"]
