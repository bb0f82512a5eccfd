"""`fewgood leaderboard` reads large ledgers a cell at a time and prints what `leaderboard` makes of all rows at once."""

import pyarrow as pa
import pytest

from fewgood.leaderboard import format_leaderboard, leaderboard
from fewgood.leaderboard.runs import read_runs
from fewgood.leaderboard.tables import leaderboard_of
from fewgood.store import LEDGER_SCHEMA, Location, write_part
from fewgood.store.schema import complete_row


@pytest.fixture
def rows(make_row, make_cell):
    """More than a row group holds: two cells, one of them of another study, and failed runs."""
    found = [*make_cell("bolt", images=4), *make_cell("nut", images=4, study="other")]
    found += [
        make_row("none", seed, category="bolt", status="failed", error="no luck", test_names=None, image_auroc=None)
        for seed in range(3, 1100)
    ]
    return [complete_row({**row, "schema_version": 2}, f"entry-{number:05d}") for number, row in enumerate(found)]


@pytest.fixture
def ledger(rows, tmp_path):
    folder = tmp_path / "ledger"
    folder.mkdir()
    write_part(pa.Table.from_pylist(rows, schema=LEDGER_SCHEMA), Location.of(folder))
    return folder


@pytest.mark.parametrize("form", ["csv", "json"])
def test_it_prints_the_leaderboard_of_all_rows(fewgood, rows, ledger, form):
    outcome = fewgood("leaderboard", "--format", form, "--ledger", ledger, home=ledger.parent / "home")
    assert outcome.status == 0, outcome.err
    assert outcome.out == format_leaderboard(leaderboard(rows), form)


def test_one_study_alone(fewgood, rows, ledger):
    outcome = fewgood("leaderboard", "--format", "csv", "--ledger", ledger, "--study", "other", home=ledger.parent)
    assert outcome.out == format_leaderboard(leaderboard([row for row in rows if row["study"] == "other"]), "csv")
    refused = fewgood("leaderboard", "--ledger", ledger, "--study", "nobody", home=ledger.parent)
    assert refused.status == 2
    assert "known studies are other" in refused.err


def test_a_file_that_cannot_be_read_is_named(fewgood, rows, ledger):
    (ledger / "half.parquet").write_bytes(b"PAR1")
    outcome = fewgood("leaderboard", "--format", "csv", "--ledger", ledger, home=ledger.parent / "home")
    assert outcome.status == 0
    assert "half.parquet cannot be read and is left out" in outcome.err
    assert "bolt" in outcome.out


def test_cells_are_opened_one_at_a_time(make_cell):
    rows = [row for name in ("bolt", "nut") for row in make_cell(name, images=4)]
    whole = {run.run_id: run for run in read_runs(rows)}
    narrow = [row | dict.fromkeys(("spec_json", "test_names", "test_labels", "test_scores")) for row in rows]
    opened = []

    def opening(runs):
        opened.append({run.category for run in runs})
        return [whole[run.run_id] for run in runs]

    runs = read_runs([row | {"baseline_options": whole[row["run_id"]].options} for row in narrow])
    assert leaderboard_of(runs, opened=opening) == leaderboard(rows)
    assert sorted(map(sorted, opened)) == [["bolt"], ["nut"]]
