"""`fewgood store`: what is listed, and what pruning keeps."""

import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from fewgood.cli.main import main
from fewgood.errors import StoreError
from fewgood.store import ArtifactKey, ArtifactStore, Home, Ledger
from fewgood.store.inventory import held, totals
from fewgood.store.pruning import needed_digests, prune, prune_copies

KEYS = [ArtifactKey("generator" if number < 2 else "pool", 1, {"n": number}) for number in range(4)]
OLD = 0.0


def write(folder):
    (folder / "file.txt").write_text("content")


def stages(*keys):
    return json.dumps({"generator": {"artifacts": [key.digest for key in keys]}})


def digests(home, place="home"):
    return {item.digest for item in held(home, place)}


@pytest.fixture
def shared(tmp_path):
    return Home(tmp_path / "home", store=str(tmp_path / "store")).prepare()


def fill(home):
    store = ArtifactStore(home)
    for key in KEYS:
        store.ensure(key, write)
    return store


def test_what_rows_and_registry_need_is_kept(home, make_row):
    fill(home)
    ledger = Ledger(home)
    ledger.append(make_row(1, stages_json=stages(KEYS[0])))
    ledger.append(make_row(2, status="failed", error="x", stages_json=stages(KEYS[2])))
    (home.root / "registry" / "names").mkdir(parents=True)
    (home.root / "registry" / "names" / "one.json").write_text(json.dumps({"generator": KEYS[1].digest}))
    assert needed_digests(home) == {KEYS[place].digest for place in (0, 1, 2)}
    would = prune(home, older_than=OLD, dry_run=True)
    assert [item.digest for item in would.removed] == [KEYS[3].digest]
    assert digests(home) == {key.digest for key in KEYS}
    done = prune(home, older_than=OLD)
    assert done.kept == {"needed": 3}
    assert done.bytes == would.bytes > 0
    assert digests(home) == {key.digest for key in KEYS[:3]}
    assert not any(home.temporary.iterdir())


def test_merged_rows_count_too(home, make_row):
    fill(home)
    for number, key in enumerate(KEYS[:2]):
        Ledger(home).append(make_row(number, stages_json=stages(key)))
    Ledger(home).compact()
    prune(home, older_than=OLD)
    assert digests(home) == {key.digest for key in KEYS[:2]}


def test_what_is_young_or_used_lately_is_kept(home):
    store = fill(home)
    for key in KEYS:
        for path in (home.artifacts / key.stage / key.digest).iterdir():
            os.utime(path, (time.time() - 7200, time.time() - 7200))
    store.reuse(KEYS[0])
    done = prune(home, older_than=3600)
    assert done.kept == {"young": 1}
    assert digests(home) == {KEYS[0].digest}


def test_one_stage_alone(home):
    fill(home)
    assert {item.stage for item in prune(home, older_than=OLD, stage="pool").removed} == {"pool"}
    assert digests(home) == {key.digest for key in KEYS[:2]}


def test_what_is_being_made_is_kept(home):
    fill(home)
    with home.lock(KEYS[3].stage, KEYS[3].digest):
        assert prune(home, older_than=OLD).kept == {"in use": 1}
    assert digests(home) == {KEYS[3].digest}


def test_an_unreadable_ledger_or_registry_forbids_it(home, make_row):
    fill(home)
    (home.ledger / "broken-1.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"broken-1.parquet cannot be read"):
        prune(home, older_than=OLD)
    assert digests(home) == {key.digest for key in KEYS}


def test_home_and_shared_store_are_pruned_by_the_shared_ledger(shared, make_row):
    fill(shared)
    Ledger(shared).append(make_row(1, stages_json=stages(KEYS[0])))
    Ledger(Home(shared.root)).append(make_row(2, stages_json=stages(KEYS[1])))
    done = prune(shared, older_than=OLD)
    assert done.kept == {"needed": 4}
    for place in ("home", "shared"):
        assert digests(shared, place) == {key.digest for key in KEYS[:2]}
    other = ArtifactStore(Home(shared.root.parent / "other", store=shared.store).prepare())
    assert other.find(KEYS[0]) is not None
    assert other.find(KEYS[3]) is None


def test_what_a_killed_publisher_left_is_removed(shared, make_row, tmp_path):
    fill(shared)
    Ledger(shared).append(make_row(1, stages_json=stages(*KEYS)))
    here = tmp_path / "store" / "artifacts" / "generator"
    (here / KEYS[0].digest / "archive-dead.tar").write_bytes(b"half")
    (here / ("0" * 32)).mkdir()
    (here / ("0" * 32) / "archive-dead.tar").write_bytes(b"half")
    done = prune(shared, older_than=OLD)
    assert {item.digest for item in done.removed} == {KEYS[0].digest, "0" * 32}
    assert not list(here.rglob("archive-dead.tar"))
    other = ArtifactStore(Home(tmp_path / "other", store=shared.store).prepare())
    assert all(other.find(key) is not None for key in KEYS)


def test_copies_go_and_come_back(shared):
    store = fill(shared)
    shared_only = ArtifactKey("pool", 1, {"n": "alone"})
    ArtifactStore(Home(shared.root)).ensure(shared_only, write)
    done = prune_copies(shared, older_than=OLD)
    assert done.kept == {"not shared": 1}
    assert digests(shared) == {shared_only.digest}
    assert store.find(KEYS[0]) is not None
    with pytest.raises(StoreError, match="--store"):
        prune_copies(Home(shared.root), older_than=OLD)


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from fewgood.store import Home
from fewgood.store.pruning import prune
shutil.rmtree = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
prune(Home(Path(sys.argv[1])), older_than=0.0)
"""


def test_killed_midway_no_half_artifact_stays(home):
    store = fill(home)
    done = subprocess.run([sys.executable, "-c", KILLED, str(home.root)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert any(home.temporary.iterdir())
    for key in KEYS:
        found = store.find(key)
        assert found is None or (found.path / "file.txt").read_text() == "content"
    assert len(digests(home)) == len(KEYS) - 1
    home.prepare()
    assert not any(home.temporary.iterdir())


def test_totals_by_stage(home):
    fill(home)
    found = {total.stage: total for total in totals(held(home, "home"))}
    assert {stage: total.count for stage, total in found.items()} == {"generator": 2, "pool": 2}
    files = [path for path in home.artifacts.rglob("*") if path.is_file()]
    assert sum(total.bytes for total in found.values()) == sum(path.stat().st_size for path in files)


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `fewgood store` with words; its exit status, stdout (as JSON with --json), and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["fewgood", "store", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        told = capsys.readouterr()
        return caught.value.code, json.loads(told.out) if "--json" in words else told.out, told.err

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setenv("FEWGOOD_LOG", "INFO")
    yield run
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level


def test_the_commands(command, shared):
    fill(shared)
    where = ("--home", shared.root, "--store", shared.store)
    status, document, _ = command("list", *where, "--json")
    assert status == 0
    assert [(row["place"], row["stage"], row["count"]) for row in document["stages"]] == [
        ("home", "generator", 2),
        ("home", "pool", 2),
        ("shared", "generator", 2),
        ("shared", "pool", 2),
    ]
    _, document, _ = command("list", *where, "--stage", "pool", "--json")
    assert {row["digest"] for row in document["artifacts"]} == {key.digest for key in KEYS[2:]}
    _, document, _ = command("size", *where, "--json")
    assert document["bytes"]["shared"] == document["folders"]["shared"]["artifacts"] > 0
    _, document, _ = command("prune", *where, "--json")
    assert document["kept"] == {"young": 8}
    status, told, _ = command("prune", *where, "--older-than", "0s", "--stage", "pool")
    assert status == 0
    assert "shared pool: 2 artifacts" in told
    assert "freed, 4 artifacts; kept: none" in told
    status, told, _ = command("list", *where)
    assert "pool" not in told
    assert "generator" in told
    status, _, told = command("prune", *where, "--older-than", "soon")
    assert (status, told) == (2, "fewgood: --older-than is 'soon', allowed is a number and s, m, h or d, e.g. 12h\n")
