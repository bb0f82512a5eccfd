"""A compaction changes the files and never what a reader sees, whoever else reads, writes, compacts or is killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fewgood.store import LEDGER_SCHEMA, Home, Ledger, compaction
from fewgood.store.location import Location


@pytest.fixture
def small_parts(monkeypatch):
    """Large files of 8 to 16 rows, so that few rows make many."""
    monkeypatch.setattr(compaction, "SMALL", 8)


def fill(ledger, make_row, numbers):
    for number in numbers:
        ledger.append(make_row(number))
    return ledger.rows()


def test_large_files_are_sorted_and_not_rewritten(home, make_row, small_parts):
    ledger = Ledger(home)
    before = fill(ledger, make_row, range(30))
    done = ledger.compact()
    assert (done.files_before, done.files_after, done.rows) == (30, 3, 30)
    assert ledger.rows() == before
    parts = sorted(home.ledger.glob("part-*.parquet"))
    keys = [
        [(row["category"], row["config_hash"], row["seed"]) for row in pq.read_table(part).to_pylist()]
        for part in parts
    ]
    assert all(part == sorted(part) for part in keys)
    assert sorted(keys) == sorted(keys, key=lambda part: part[-1])  # their ranges do not overlap
    assert pq.read_schema(parts[0]).equals(LEDGER_SCHEMA)
    times = [part.stat().st_mtime_ns for part in parts]
    fill(ledger, make_row, range(30, 33))
    assert ledger.compact().rows == 3
    assert [part.stat().st_mtime_ns for part in parts] == times
    assert ledger.compact().rows == 0  # one small file is left, and nothing to merge it with


def test_only_many_files_are_compacted(home, make_row):
    ledger = Ledger(home)
    fill(ledger, make_row, range(4))
    assert ledger.compact_if_many(5) is None
    assert ledger.compact_if_many(4).rows == 4
    assert ledger.compact_if_many(1) is None


def test_a_damaged_file_is_left_alone_and_named(home, make_row):
    ledger = Ledger(home)
    paths = [ledger.append(make_row(number)) for number in range(4)]
    paths[0].write_bytes(paths[0].read_bytes()[:-20])
    # The second one's footer is well and its wide columns are not.
    metadata = pq.read_metadata(paths[1]).row_group(0)
    names = [metadata.column(number).path_in_schema.split(".")[0] for number in range(metadata.num_columns)]
    start = metadata.column(names.index("test_scores")).data_page_offset
    content = bytearray(paths[1].read_bytes())
    content[start : start + 24] = b"\xff" * 24
    paths[1].write_bytes(content)
    damaged = [path.read_bytes() for path in paths[:2]]
    done = ledger.compact()
    assert [name for name, _ in done.left_out] == sorted(path.name for path in paths[:2])
    assert (done.files_after, done.rows) == (3, 2)
    assert [path.read_bytes() for path in paths[:2]] == damaged
    assert [row["seed"] for row in ledger.rows()] == [2, 3]


def test_a_row_whose_other_copy_is_damaged_is_kept(home, make_row):
    """Two files hold one row and the one that is read first cannot be read: the other one must stay."""
    ledger = Ledger(home)
    path = ledger.append(make_row(1))
    ledger.append(make_row(2))
    (home.ledger / f"z{path.name}").write_bytes(path.read_bytes())
    content = bytearray(path.read_bytes())
    metadata = pq.read_metadata(path).row_group(0)
    names = [metadata.column(number).path_in_schema.split(".")[0] for number in range(metadata.num_columns)]
    start = metadata.column(names.index("test_scores")).data_page_offset
    content[start : start + 24] = b"\xff" * 24
    path.write_bytes(content)
    ledger.compact()
    assert [row["seed"] for row in ledger.rows()] == [1, 2]


def test_a_reader_never_notices(home, make_row, small_parts):
    ledger = Ledger(home)
    known = {row["entry"] for row in fill(ledger, make_row, range(40))}
    wrong, rounds, over = [], [], threading.Event()

    def read():
        while not over.is_set():
            had = set(known)
            entries = [row["entry"] for row in Ledger(home).rows()]
            rounds.append(len(entries))
            if len(set(entries)) != len(entries) or had - set(entries):
                wrong.append((len(entries), len(had - set(entries))))
            if Ledger(home).find(f"{3:032x}") is None:
                wrong.append("run 3 was not found")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(5):
            ledger.compact()
            for number in range(6):
                path = ledger.append(make_row(100 + 10 * turn + number))
                known.add(path.stem)
    finally:
        over.set()
        reader.join()
    assert wrong == []
    assert len(rounds) > 3
    assert {row["entry"] for row in ledger.rows()} == known


def _compact(root):
    Ledger(Home(Path(root))).compact()


def test_two_processes_compact_at_once(home, make_row):
    ledger = Ledger(home)
    before = fill(ledger, make_row, range(60))
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_compact, args=(str(home.root),)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert ledger.rows() == before
    assert sum(pq.read_metadata(path).num_rows for path in home.ledger.glob("*.parquet")) == 60


def test_two_compactors_without_a_lock(location, make_row, small_parts, monkeypatch):
    monkeypatch.setattr(Location, "folder", None)
    ledger = Ledger(location)
    before = fill(ledger, make_row, range(40))
    errors = []

    def work():
        try:
            Ledger(location).compact()
        except Exception as error:  # noqa: BLE001 - reported by the main thread
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert ledger.rows() == before


STOPPED = """
import sys, time
from pathlib import Path
from fewgood.store import Home, Ledger, compaction
from fewgood.store.location import Location
compaction.SMALL = 8
where, count = sys.argv[2], int(sys.argv[3])
def stop_at(owner, name):
    original = getattr(owner, name)
    calls = []
    def stopped(*given, **named):
        calls.append(1)
        if len(calls) > count:
            print("inside", flush=True)
            time.sleep(60)
        return original(*given, **named)
    setattr(owner, name, stopped)
stop_at(Location, "delete") if where == "delete" else stop_at(compaction, "_check")
Ledger(Home(Path(sys.argv[1]))).compact()
"""


@pytest.mark.parametrize(("where", "count"), [("write", 0), ("write", 1), ("delete", 0), ("delete", 7)])
def test_killed_in_the_middle(home, make_row, where, count, small_parts):
    ledger = Ledger(home)
    before = fill(ledger, make_row, range(20))
    command = [sys.executable, "-c", STOPPED, str(home.root), where, str(count)]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout.readline() == "inside\n"
    finally:
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        owner.stdout.close()
    assert ledger.rows() == before
    done = ledger.compact()
    assert ledger.rows() == before
    assert (done.files_after, done.left_out) == (2, ())
    assert sum(pq.read_metadata(path).num_rows for path in home.ledger.glob("*.parquet")) == 20
