"""The index holds each row of the ledger once, and follows its files."""

import math
import os
import shutil
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fewgood.errors import StoreError
from fewgood.store import LEDGER_SCHEMA, Home, Ledger, LedgerIndex, Location
from fewgood.store.files import write_table
from fewgood.store.index import NARROW


@pytest.fixture
def ledger(home, make_row):
    ledger = Ledger(home)
    for number in range(5):
        ledger.append(make_row(number))
    return ledger


def seeds(index):
    return index.query("SELECT seed FROM entries ORDER BY seed")["seed"].to_pylist()


def test_it_follows_the_ledger_wherever_it_lies(location, make_row):
    index, ledger = LedgerIndex(location), Ledger(location)
    assert not index.refresh()  # there is nothing yet, which is no error
    assert (index.version, seeds(index)) == (0, [])
    ledger.append(make_row(1))
    assert index.refresh()
    assert not index.refresh()
    ledger.append(make_row(2))
    assert index.refresh()
    assert (index.version, seeds(index)) == (2, [1, 2])
    entries = index.query("SELECT entry FROM entries ORDER BY seed DESC")["entry"].to_pylist()
    assert [row["seed"] for row in index.rows([*entries, "no such entry", entries[0]])] == [2, 1]
    ledger.compact()
    assert index.refresh()
    assert seeds(index) == [1, 2]
    assert [row["test_scores"] for row in index.rows(entries)] == [[0.5, 2.0], [0.5, 1.0]]
    for name in location.files():
        location.delete(name)
    assert index.refresh()
    assert seeds(index) == []


def test_columns_and_numbers(home, make_row):
    ledger = Ledger(home)
    ledger.append(make_row(1, image_auroc=math.nan, proxy_score=math.inf, latency_ms=3.5))
    index = LedgerIndex(ledger.location)
    index.refresh()
    table = index.query("SELECT * FROM entries")
    assert table.column_names == [*NARROW, "file_id", "file_row"]
    (row,) = table.to_pylist()
    assert (row["image_auroc"], row["proxy_score"], row["latency_ms"]) == (None, None, 3.5)
    assert not {"test_scores", "spec_json", "error"} & set(NARROW)


def test_rows_that_moved_since_the_last_refresh(ledger):
    index = LedgerIndex(ledger.location)
    index.refresh()
    entries = index.query("SELECT entry FROM entries ORDER BY seed")["entry"].to_pylist()
    ledger.compact()
    found = index.rows(entries[::-1], ["seed", "test_names"])
    assert found == [{"seed": seed, "test_names": ["a", "b"]} for seed in (4, 3, 2, 1, 0)]


def test_old_and_new_files_side_by_side(ledger, tmp_path):
    """A compaction that has written and not yet removed: every row once, also when either copy goes."""
    home = ledger.location.folder
    shutil.copytree(home, tmp_path / "before")
    index = LedgerIndex(ledger.location)
    index.refresh()
    ledger.compact()
    (part,) = home.glob("part-*.parquet")
    for path in (tmp_path / "before").glob("*.parquet"):
        shutil.copy2(path, home / path.name)
    assert index.refresh()
    assert seeds(index) == [0, 1, 2, 3, 4]
    part.rename(tmp_path / part.name)
    assert index.refresh()
    assert seeds(index) == [0, 1, 2, 3, 4]
    (tmp_path / part.name).rename(part)
    index.refresh()
    for path in (tmp_path / "before").glob("*.parquet"):
        (home / path.name).unlink()
    assert index.refresh()
    assert seeds(index) == [0, 1, 2, 3, 4]


def test_a_half_copied_file_is_named_and_read_when_it_is_whole(ledger):
    folder = ledger.location.folder
    path = sorted(folder.glob("*.parquet"))[2]
    whole = path.read_bytes()
    path.write_bytes(whole[:500])
    index = LedgerIndex(ledger.location)
    assert index.refresh()
    ((name, message),) = index.problems
    assert (name, "Parquet" in message) == (path.name, True)
    assert seeds(index) == [0, 1, 3, 4]
    assert not index.refresh()
    path.write_bytes(whole)
    assert index.refresh()
    assert (index.problems, seeds(index)) == ((), [0, 1, 2, 3, 4])
    path.write_bytes(whole[:500])
    assert index.refresh()
    assert seeds(index) == [0, 1, 3, 4]
    path.unlink()
    assert index.refresh()
    assert index.problems == ()


def test_an_unreachable_store_leaves_the_old_content(ledger, monkeypatch):
    index = LedgerIndex(ledger.location)
    index.refresh()
    folder = ledger.location.folder
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("not a folder")
    with pytest.raises(StoreError, match="cannot be listed"):
        index.refresh()
    assert (seeds(index), index.version) == ([0, 1, 2, 3, 4], 1)
    folder.unlink()
    aside.rename(folder)
    assert not index.refresh()


def test_a_failure_while_files_are_read_changes_nothing(ledger, make_row, monkeypatch):
    index = LedgerIndex(ledger.location)
    index.refresh()
    ledger.append(make_row(9))

    def lost(self, name):
        raise StoreError("the store went away")

    with monkeypatch.context() as patch:
        patch.setattr(Location, "has", lost)
        patch.setattr(
            "fewgood.store.loading.open_file", lambda *given, **named: (_ for _ in ()).throw(OSError(5, "I/O"))
        )
        with pytest.raises(StoreError, match="went away"):
            index.refresh()
    assert seeds(index) == [0, 1, 2, 3, 4]
    assert index.refresh()
    assert seeds(index) == [0, 1, 2, 3, 4, 9]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_read_when_it_has_it(ledger):
    path = sorted(ledger.location.folder.glob("*.parquet"))[0]
    path.chmod(0)
    index = LedgerIndex(ledger.location)
    index.refresh()
    assert [name for name, _ in index.problems] == [path.name]
    path.chmod(0o644)
    assert index.refresh()
    assert index.problems == ()


def test_a_damaged_row_group_is_an_error_that_names_the_file(home, make_row):
    ledger = Ledger(home)
    path = ledger.append(make_row(1))
    index = LedgerIndex(ledger.location)
    index.refresh()
    path.write_bytes(b"PAR1" + path.read_bytes()[200:])
    with pytest.raises(StoreError, match=path.name):
        index.rows([path.stem])


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM entries",
        "EXPLAIN ANALYZE DELETE FROM entries",
        "SELECT 1; SELECT 2",
        "SET threads = 1",
        "CREATE TABLE x (a INT)",
        "",
    ],
)
def test_a_query_only_reads(ledger, sql):
    index = LedgerIndex(ledger.location)
    index.refresh()
    with pytest.raises(ValueError, match="takes one SELECT"):
        index.query(sql)
    assert len(seeds(index)) == 5


def test_a_query_reads_no_files(ledger):
    import duckdb

    index = LedgerIndex(ledger.location)
    with pytest.raises(duckdb.Error):
        index.query(f"SELECT * FROM read_parquet('{ledger.location.path}/*.parquet')")


def test_views_and_parameters(ledger):
    index = LedgerIndex(ledger.location)
    index.execute("CREATE VIEW runs AS SELECT seed, category FROM entries WHERE status = 'ok'")
    index.refresh()
    assert index.query("SELECT seed FROM runs WHERE category = ? ORDER BY seed", ["c0"])["seed"].to_pylist() == [0, 3]
    assert index.query("SELECT seed FROM runs WHERE category = $c", {"c": "c2"})["seed"].to_pylist() == [2]


def test_an_index_that_is_too_large_says_so(home, make_row):
    ledger = Ledger(home)
    import pyarrow as pa

    from fewgood.store.schema import complete_row

    rows = [complete_row(make_row(number, prompt="x" * 2000 + str(number)), str(number)) for number in range(5000)]
    write_table(pa.Table.from_pylist(rows, LEDGER_SCHEMA), ledger.location.child("part-a.parquet"), ledger.location)
    index = LedgerIndex(ledger.location, memory_limit="6MB", threads=1)
    with pytest.raises(StoreError, match="memory_limit"):
        index.refresh()
    assert seeds(index) == []


def test_threads_ask_while_the_ledger_grows(home, make_row):
    ledger = Ledger(home)
    index = LedgerIndex(ledger.location)
    counts, errors, over = [], [], threading.Event()

    def ask():
        last = 0
        try:
            while not over.is_set():
                table = index.query("SELECT entry FROM entries ORDER BY seed DESC")
                entries = table["entry"].to_pylist()
                assert len(set(entries)) == len(entries) >= last
                last = len(entries)
                if entries:
                    assert [row["entry"] for row in index.rows(entries[:5], ["entry"])] == entries[:5]
            counts.append(last)
        except BaseException as error:  # noqa: BLE001 - reported by the main thread
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(18):
            ledger.append(make_row(number))
            if number % 6 == 5:
                ledger.compact()
            index.refresh()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert errors == []
    assert len(counts) == 3
    assert len(seeds(index)) == 18


numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32)
ledger_rows = st.lists(
    st.fixed_dictionaries(
        {
            "run_id": st.sampled_from([f"{number:032x}" for number in range(4)]),
            "status": st.sampled_from(["ok", "failed"]),
            "error": st.none() | st.text(max_size=5),
            "category": st.none() | st.sampled_from(["a", "b", "é"]),
            "seed": st.none() | st.integers(-(2**63), 2**63 - 1),
            "image_auroc": numbers,
            "test_names": st.none() | st.lists(st.none() | st.sampled_from(["x", "y"]), max_size=3),
            "test_scores": st.none() | st.lists(numbers, max_size=3),
            "spec_json": st.none() | st.sampled_from(["{", "{}", '{"selection":{"count":4}}']),
            "hardware": st.none() | st.just("x CPU, 1 threads"),
        }
    ),
    max_size=8,
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=ledger_rows, second=ledger_rows, compacted=st.booleans())
def test_index_and_ledger_agree(tmp_path_factory, first, second, compacted):
    home = Home(tmp_path_factory.mktemp("home"))
    ledger = Ledger(home)
    index = LedgerIndex(ledger.location, threads=1)
    for row in first:
        ledger.append(row)
    index.refresh()
    if compacted:
        ledger.compact()
    for row in second:
        ledger.append(row)
    index.refresh()
    expected = ledger.rows()
    assert len(expected) == len(first) + len(second)
    columns = ", ".join(f'"{name}"' for name in NARROW)
    narrow = index.query(f"SELECT {columns} FROM entries ORDER BY entry").to_pylist()
    assert narrow == [{name: row[name] for name in NARROW} for row in expected]
    entries = [row["entry"] for row in expected][::-1]
    assert index.rows(entries) == expected[::-1]
    index.refresh()
    for run_id in {row["run_id"] for row in expected}:
        of_run = [row for row in expected if row["run_id"] == run_id]
        assert ledger.rows(run_ids=[run_id]) == of_run
        assert (ledger.find(run_id) is None) == all(row["status"] == "failed" for row in of_run)
