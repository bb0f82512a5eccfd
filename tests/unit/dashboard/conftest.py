"""A home with a ledger of hand-made rows, and a source that reads it."""

import importlib.util
from pathlib import Path

import pytest

from fewgood.store import Home, Ledger
from fewgood_dashboard.source import Settings, Source

_SPEC = importlib.util.spec_from_file_location(
    "hand_made_rows", Path(__file__).parents[1] / "leaderboard" / "conftest.py"
)
rows = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(rows)


@pytest.fixture
def make_row():
    return rows.build_row


@pytest.fixture(scope="session")
def build_row():
    return rows.build_row


@pytest.fixture
def make_cell():
    return rows.build_cell


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").prepare()


def write_rows(home, found):
    """Append rows to a home's ledger, as runs do."""
    ledger = Ledger(home)
    for row in found:
        ledger.append({name: value for name, value in row.items() if name != "schema_version"})
    return home


@pytest.fixture(scope="session")
def write():
    return write_rows


@pytest.fixture
def fill(home):
    """Append rows to this test's ledger."""
    return lambda found: write_rows(home, found)


@pytest.fixture(scope="module")
def kept_home(tmp_path_factory):
    """A home by name, with rows that are written when it is first asked for: pages only read, so tests share it."""
    made = {}

    def get(name, rows):
        if name not in made:
            made[name] = write_rows(Home(tmp_path_factory.mktemp("kept")).prepare(), rows())
        return made[name]

    return get


@pytest.fixture
def source(home):
    made = Source(Settings(home=home))
    made.refresh()
    return made
