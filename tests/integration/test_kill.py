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

COMMAND = [
    *(sys.executable, "-c", "from fewgood.cli import main; main()", "evaluate"),
    *("--dataset", "sample", "--category", "brick", "--arm", "generate", "--json"),
    *("--set", "generator.steps=12", "--set", "selection.count=4", "--set", "prompts.count=4"),
    *("--set", "baseline.image_size=128"),
]
STAGES = ("prompts", "generator", "pool", "scores", "training_set", "detector")


def start(home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "FEWGOOD_HOME": str(home)}
    return subprocess.Popen(
        COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )


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


def test_kill_at_several_moments(shared_home, tmp_path):
    """One home is killed after each stage in turn (and a little into the next), then the run is finished."""
    home = tmp_path / "home"
    killed_before = []
    for stage in STAGES[:-1]:
        process = start(home)
        deadline = time.monotonic() + 240
        while not reached(home, stage) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        check_whole(home)
        if not any(home.glob("ledger/*")):
            killed_before.append(stage)
    assert len(killed_before) >= 3, "the kills came too late to test anything"
    process = start(home)
    document = json.loads(process.communicate(timeout=300)[0])
    check_whole(home)
    assert document["status"] == "ok"
    assert document["stages"]["generator"]["cached"], "the finished generator must be found again"
    assert len(list(home.glob("ledger/*.parquet"))) == 1

    undisturbed = tmp_path / "undisturbed"
    process = start(undisturbed)
    again = json.loads(process.communicate(timeout=300)[0])
    assert again["metrics"] == document["metrics"]
    assert again["spec_hash"] == document["spec_hash"]
