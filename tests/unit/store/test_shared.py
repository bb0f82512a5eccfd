"""Artifacts in a store that homes share: what is there is whole, and what is damaged is made again."""

import io
import json
import logging
import multiprocessing
import os
import tarfile
import threading
import time
from pathlib import Path

import pytest

from fewgood.errors import StoreError
from fewgood.store import ArtifactKey, ArtifactStore, Home, Ledger, SharedArtifacts

KEY = ArtifactKey("stage", 1, {"a": 1})


@pytest.fixture(params=["path", "uri"])
def homes(request, tmp_path):
    """Two homes that share a folder, given as a path or as a URI."""
    store = str(tmp_path / "store") if request.param == "path" else (tmp_path / "store").as_uri()
    return [Home(tmp_path / name, store=store).prepare() for name in ("one", "two")]


@pytest.fixture
def place(tmp_path):
    return tmp_path / "store" / "artifacts" / "stage" / KEY.digest


def write(folder):
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "file.txt").write_text("content")
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 100)


def forbidden(folder):
    raise AssertionError("it is there and must not be made")


def contents(artifact):
    return {path.relative_to(artifact.path): path.read_bytes() for path in artifact.path.rglob("*") if path.is_file()}


def test_what_one_home_makes_another_finds(homes):
    one, two = map(ArtifactStore, homes)
    made, cached = one.ensure(KEY, write)
    assert not cached
    found, cached = two.ensure(KEY, forbidden)
    assert cached
    assert contents(found) == contents(made)
    assert found.manifest == made.manifest
    assert two.home.root in found.path.parents
    assert one.open("stage", KEY.digest).key == KEY
    assert one.find(ArtifactKey("stage", 2, {"a": 1})) is None
    assert not any(two.home.temporary.iterdir())


def test_rows_of_both_homes_are_seen(homes, make_row):
    for number, home in enumerate(homes):
        Ledger(home).append(make_row(number))
    assert [row["seed"] for row in Ledger(homes[0]).rows()] == [0, 1]
    assert Ledger(homes[1]).find(f"{0:032x}")["seed"] == 0
    assert not any(homes[0].ledger.iterdir())


def test_without_a_store_a_home_is_its_own(tmp_path, monkeypatch):
    monkeypatch.delenv("FEWGOOD_STORE", raising=False)
    home = Home.locate(tmp_path / "home")
    assert home.store is None
    assert home.shared("studies", "x").folder == home.root / "studies" / "x"


def test_where_the_store_comes_from(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWGOOD_STORE", "s3://bucket/from-environment")
    monkeypatch.chdir(tmp_path)
    assert Home.locate(tmp_path).store == "s3://bucket/from-environment"
    assert Home.locate(tmp_path, "relative").store == str(tmp_path / "relative")


@pytest.mark.parametrize("damage", ["truncated", "changed", "lost", "manifest"])
def test_a_damaged_shared_artifact_is_made_again(homes, place, caplog, damage):
    one, two = map(ArtifactStore, homes)
    one.ensure(KEY, write)
    (archive,) = place.glob("archive-*.tar")
    if damage == "truncated":
        archive.write_bytes(archive.read_bytes()[:-12_000])
    elif damage == "changed":
        archive.write_bytes(archive.read_bytes().replace(b"content", b"another"))
    elif damage == "lost":
        archive.unlink()
    else:
        (place / "manifest.json").write_text('{"archive": "x"')
    with caplog.at_level(logging.WARNING):
        assert two.find(KEY) is None
    assert "made again" in caplog.text
    assert not any(two.home.artifacts.rglob("weights.bin"))
    again, cached = two.ensure(KEY, write)
    assert not cached
    third = ArtifactStore(Home(homes[0].root.parent / "three", store=homes[0].store).prepare())
    assert contents(third.ensure(KEY, forbidden)[0]) == contents(again)


def test_an_archive_cannot_write_outside(homes, place, tmp_path, caplog):
    ArtifactStore(homes[0]).ensure(KEY, write)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("../../../escaped.txt")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    (archive,) = place.glob("archive-*.tar")
    archive.write_bytes(buffer.getvalue())
    with caplog.at_level(logging.WARNING):
        assert ArtifactStore(homes[1]).find(KEY) is None
    assert "not in the manifest" in caplog.text
    assert not list(tmp_path.rglob("escaped.txt"))


def test_an_archive_without_a_manifest_is_not_there(homes, place):
    place.mkdir(parents=True)
    (place / "archive-0123.tar").write_bytes(b"half")
    assert ArtifactStore(homes[0]).find(KEY) is None
    ArtifactStore(homes[0]).ensure(KEY, write)
    assert json.loads((place / "manifest.json").read_text())["archive"] != "archive-0123.tar"
    assert ArtifactStore(homes[1]).find(KEY) is not None


def test_equal_artifacts_are_equal_archives(homes, place):
    artifact, _ = ArtifactStore(homes[0]).ensure(KEY, write)
    os.utime(artifact.path / "weights.bin", (1, 1))
    (artifact.path / "weights.bin").chmod(0o600)
    SharedArtifacts(homes[1].shared("artifacts")).publish("stage", KEY.digest, artifact.path, artifact.manifest)
    one, two = place.glob("archive-*.tar")
    assert one.read_bytes() == two.read_bytes()


def test_what_a_home_made_alone_is_shared_when_it_is_used(homes):
    alone = Home(homes[0].root)
    ArtifactStore(alone).ensure(KEY, write)
    assert ArtifactStore(homes[1]).find(KEY) is None
    assert ArtifactStore(homes[0]).reuse(KEY) is not None
    assert ArtifactStore(homes[1]).find(KEY) is not None


def test_a_store_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "store").write_text("a file")
    home = Home(tmp_path / "home", store=str(tmp_path / "store")).prepare()
    with pytest.raises(StoreError, match=r"shared store cannot be used at .*store/artifacts/stage.*--store") as caught:
        ArtifactStore(home).ensure(KEY, write)
    assert "\n" not in str(caught.value)


def _make(root: str, store: str, log: str, own: bool) -> None:
    def slow(folder: Path) -> None:
        with Path(log).open("a") as handle:
            handle.write("made\n")
        time.sleep(0.1)
        write(folder)

    home = Home(Path(root) / str(os.getpid()) if own else Path(root), store=store).prepare()
    assert len(contents(ArtifactStore(home).ensure(KEY, slow)[0])) == 3


@pytest.mark.parametrize("own", [True, False], ids=["each its home", "one home"])
def test_publishers_at_once_leave_one_whole_artifact(tmp_path, own):
    store, log = tmp_path / "store", tmp_path / "log"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_make, args=(str(tmp_path / "h"), str(store), str(log), own)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert log.read_text().count("made") == 1 or own
    reader = ArtifactStore(Home(tmp_path / "reader", store=str(store)).prepare())
    assert len(contents(reader.ensure(KEY, forbidden)[0])) == 3


def test_fetches_at_once_of_one_home_do_not_disturb_each_other(homes):
    made, _ = ArtifactStore(homes[0]).ensure(KEY, write)
    problems = []

    def fetch():
        found = ArtifactStore(homes[1]).find(KEY)
        if found is None or contents(found) != contents(made):
            problems.append(found)

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert not any(homes[1].temporary.iterdir())
