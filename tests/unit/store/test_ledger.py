"""The ledger keeps whole rows wherever it lies, and a damaged file costs only itself."""

import logging

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from fewgood.errors import StoreError
from fewgood.store import LEDGER_SCHEMA, Home, Ledger, Location, write_part
from fewgood.store.files import ROW_GROUP
from fewgood.store.schema import complete_row


@pytest.fixture
def ledger(tmp_path):
    return Ledger(Home(tmp_path / "dataset=x" / "home").prepare())


def row(run_id="a" * 32, **values):
    return {"run_id": run_id, "status": "ok", "arm": "none", "seed": 0, "test_scores": [0.5, 1.0], **values}


def test_a_row_comes_back(ledger):
    path = ledger.append(row(image_auroc=0.75))
    (found,) = ledger.rows()
    assert found["image_auroc"] == 0.75
    assert found["test_scores"] == [0.5, 1.0]
    assert found["pixel_auroc"] is None
    assert found["schema_version"] == 2
    assert found["entry"] == path.stem
    assert (found["baseline_options"], found["count"]) == ("{}", None)
    assert list(found) == LEDGER_SCHEMA.names


def test_costs_that_the_caller_knows_are_kept(ledger):
    ledger.append(row(gpu_seconds=1.5, reused_seconds=2.5, latency_ms=30.0, hardware="x86_64 CPU, 1 threads"))
    ledger.append(row(hardware="x86_64 CPU, 1 threads"))
    found = ledger.rows()
    assert {(each["gpu_seconds"], each["reused_seconds"], each["latency_ms"]) for each in found} == {
        (1.5, 2.5, 30.0),
        (0.0, None, None),
    }


def test_find_prefers_success(ledger):
    ledger.append(row(status="failed", error="x"))
    assert ledger.find("a" * 32) is None
    ledger.append(row())
    assert ledger.find("a" * 32)["status"] == "ok"
    assert ledger.find("b" * 32) is None


def test_unknown_column_is_refused(ledger):
    with pytest.raises(ValueError, match="no column image_auroch"):
        ledger.append(row(image_auroch=1.0))


def test_a_half_copied_file_is_left_out_with_a_warning(ledger, caplog):
    path = ledger.append(row())
    ledger.append(row(run_id="c" * 32))
    path.write_bytes(path.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        assert [found["run_id"] for found in ledger.rows()] == ["c" * 32]
    assert path.name in caplog.text


def test_an_empty_home_has_no_rows(tmp_path):
    assert Ledger(Home(tmp_path / "nowhere")).rows() == []
    assert Ledger(Home(tmp_path / "nowhere")).compact().files_before == 0


def test_a_ledger_lies_anywhere(location, make_row):
    ledger = Ledger(location)
    assert ledger.rows() == []
    for number in range(4):
        ledger.append(make_row(number))
    assert [found["seed"] for found in ledger.rows()] == [0, 1, 2, 3]
    before = ledger.rows()
    done = ledger.compact()
    assert (done.files_before, done.files_after, done.rows, done.left_out) == (4, 1, 4, ())
    assert ledger.rows() == before
    assert ledger.find(f"{2:032x}")["seed"] == 2
    assert [found["seed"] for found in ledger.rows(run_ids=[f"{3:032x}", f"{0:032x}", "no"])] == [3, 0]
    assert [name for name in location.files() if not name.startswith("part-")] == []


def test_an_error_while_writing_leaves_nothing(location, make_row, monkeypatch):
    def fail(table, path, place):
        with place.filesystem.open_output_stream(path) as stream:
            stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fewgood.store.ledger.write_table", fail)
    with pytest.raises(StoreError, match="no space left under"):
        Ledger(location).append(make_row())
    infos = location.filesystem.get_file_info(pafs.FileSelector(location.path, allow_not_found=True))
    assert infos == []


def test_a_run_is_found_in_a_large_file_without_reading_it_again(home, make_row, monkeypatch):
    ledger = Ledger(home)
    for number in range(6):
        ledger.append(make_row(number))
    ledger.compact()
    assert ledger.find(f"{4:032x}")["test_scores"] == [0.5, 4.0]
    opened = []
    original = Ledger.__module__ + ".open_file"
    from fewgood.store.files import open_file

    monkeypatch.setattr(original, lambda *given, **named: opened.append(given) or open_file(*given, **named))
    assert ledger.find("f" * 32) is None
    assert opened == []


def test_places_that_cannot_be_used(tmp_path):
    with pytest.raises(StoreError, match=r"xyz://a/b cannot be used .*give a folder, or a URI"):
        Location.of("xyz://user:secret@a/b?key=secret")
    with pytest.raises(StoreError) as caught:
        Location.of("xyz://user:secret@a/b?key=secret")
    assert "secret" not in str(caught.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be listed"):
        Location.of(tmp_path / "file").files()
    assert Location.of((tmp_path / "new").as_uri()).files() == {}
    assert Location.of(str(tmp_path)).folder == tmp_path


def test_what_is_being_written_is_no_row(ledger, make_row):
    path = ledger.append(make_row(1))
    for name in (f".{path.name}.partial", f"_{path.name}", "notes.txt"):
        (path.parent / name).write_bytes(path.read_bytes())
    assert len(ledger.rows()) == 1


def test_a_part_of_several_row_groups_is_read_whole(home, make_row):
    """Arrow puts no lists of encoded text of two row groups into one table, so parts are read group by group."""
    rows = [complete_row(make_row(number), f"{number:032x}-entry") for number in range(ROW_GROUP + 5)]
    write_part(pa.Table.from_pylist(rows, schema=LEDGER_SCHEMA), Location.of(home.ledger))
    read = Ledger(home).rows()
    assert len(read) == len(rows)
    assert sorted(read, key=lambda row: row["seed"]) == rows
    assert Ledger(home).find(rows[-1]["run_id"])["seed"] == ROW_GROUP + 4
