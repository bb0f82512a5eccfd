"""The ledger keeps whole rows, and a damaged file costs only itself."""

import logging

import pytest

from fewgood.store import LEDGER_SCHEMA, Home, Ledger


@pytest.fixture
def ledger(tmp_path):
    return Ledger(Home(tmp_path / "dataset=x" / "home").prepare())


def row(run_id="a" * 32, **values):
    return {"run_id": run_id, "status": "ok", "arm": "none", "seed": 0, "test_scores": [0.5, 1.0], **values}


def test_a_row_comes_back(ledger):
    ledger.append(row(image_auroc=0.75))
    (found,) = ledger.rows()
    assert found["image_auroc"] == 0.75
    assert found["test_scores"] == [0.5, 1.0]
    assert found["pixel_auroc"] is None
    assert found["schema_version"] == 1
    assert set(found) == set(LEDGER_SCHEMA.names)


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
