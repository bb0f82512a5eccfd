"""Artifacts exist completely or not at all, whatever happens while they are made."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fewgood.errors import StoreError
from fewgood.store import ArtifactKey, ArtifactStore, Home


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(Home(tmp_path / "home").prepare())


def key(**inputs):
    return ArtifactKey("stage", 1, inputs)


def write(text):
    return lambda folder: (folder / "file.txt").write_text(text)


def test_second_ensure_finds_the_first(store):
    first, cached_first = store.ensure(key(a=1), write("one"))
    second, cached_second = store.ensure(key(a=1), write("two"))
    assert (cached_first, cached_second) == (False, True)
    assert first.path == second.path
    assert (second.path / "file.txt").read_text() == "one"


def test_version_and_inputs_name_the_artifact(store):
    names = {ArtifactKey("stage", version, {"a": a}).digest for version in (1, 2) for a in (1, 2)}
    assert len(names) == 4
    assert key(a=1, b=2).digest == key(b=2, a=1).digest


def test_an_error_leaves_nothing(store):
    def fail(folder):
        (folder / "file.txt").write_text("half")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        store.ensure(key(a=1), fail)
    assert store.find(key(a=1)) is None
    assert not any(store.home.temporary.iterdir())
    assert not any(store.home.artifacts.rglob("file.txt"))


@pytest.mark.parametrize("damage", ["truncate", "remove", "manifest"])
def test_a_damaged_artifact_is_made_again(store, damage):
    artifact, _ = store.ensure(key(a=1), write("content"))
    target = artifact.path / ("manifest.json" if damage == "manifest" else "file.txt")
    target.unlink() if damage == "remove" else target.write_text("{")
    assert store.find(key(a=1)) is None
    again, cached = store.ensure(key(a=1), write("content"))
    assert not cached
    assert (again.path / "file.txt").read_text() == "content"
    assert json.loads((again.path / "manifest.json").read_text())["files"] == {"file.txt": 7}


def test_a_full_disk_is_a_store_error(store):
    def full(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"no space left .*--home"):
        store.ensure(key(a=1), full)


def test_home_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        Home(tmp_path / "file").prepare()


def test_home_without_room(tmp_path):
    with pytest.raises(StoreError, match=r"MB are needed: free some space"):
        Home(tmp_path).prepare(needed_bytes=1 << 60)


def _count(home: str, log: str) -> None:
    def slow(folder: Path) -> None:
        with Path(log).open("a") as handle:
            handle.write("made\n")
        time.sleep(0.2)
        (folder / "file.txt").write_text("x")

    ArtifactStore(Home(Path(home))).ensure(key(a=1), slow)


def test_two_processes_make_it_once(store, tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(str(store.home.root), str(log))) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert log.read_text() == "made\n"


HOLD = """
import sys, time
from pathlib import Path
from fewgood.store import ArtifactKey, ArtifactStore, Home
def slow(folder):
    (folder / "file.txt").write_text("half")
    print("inside", flush=True)
    time.sleep(60)
ArtifactStore(Home(Path(sys.argv[1]))).ensure(ArtifactKey("stage", 1, {"a": 1}), slow)
"""


def test_a_killed_owner_does_not_block_and_leaves_no_half_artifact(store):
    owner = subprocess.Popen([sys.executable, "-c", HOLD, str(store.home.root)], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout.readline() == "inside\n"
    finally:
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        owner.stdout.close()
    assert store.find(key(a=1)) is None
    artifact, cached = store.ensure(key(a=1), write("whole"))
    assert not cached
    assert (artifact.path / "file.txt").read_text() == "whole"
    store.home.prepare()  # the next command sweeps what the dead one left
    assert not any(store.home.temporary.iterdir())
