"""`fewgood ledger compact` and `fewgood leaderboard --ledger`."""

import json
import logging
import sys

import pytest

from fewgood.cli.main import main
from fewgood.store import Ledger, Location


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `fewgood` with words; its exit status, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["fewgood", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        told = capsys.readouterr()
        return caught.value.code, told.out, told.err

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setenv("FEWGOOD_LOG", "INFO")  # at this level a command leaves the warnings' filters alone
    yield run
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level


def test_compact_says_what_it_did(command, home, make_row):
    for number in range(3):
        path = Ledger(home).append(make_row(number))
    path.write_bytes(path.read_bytes()[:300])
    status, out, _ = command("ledger", "compact", "--home", home.root, "--json")
    document = json.loads(out)
    assert status == 0
    assert {key: document[key] for key in ("status", "files_before", "files_after", "rows")} == {
        "status": "ok",
        "files_before": 3,
        "files_after": 2,
        "rows": 2,
    }
    assert [item["file"] for item in document["left_out"]] == [path.name]
    status, out, err = command("ledger", "compact", "--home", home.root)
    assert (status, out) == (0, "")
    assert "2 files before, 2 after, 0 rows merged" in err
    assert path.name in err


def test_the_leaderboard_of_another_place(command, tmp_path, make_row):
    place = tmp_path / "elsewhere"
    for seed in range(2):
        Ledger(Location.of(place)).append(make_row(seed, arm="none", config_hash="a", study="there"))
    for where in (place, place.as_uri()):
        status, out, _ = command("leaderboard", "--ledger", where, "--json", "--home", tmp_path / "home")
        assert status == 0
        assert "patchcore" in out
    status, _, err = command("leaderboard", "--ledger", place, "--study", "no", "--home", tmp_path / "home")
    assert status == 2
    assert f"--study 'no' has no runs in {place}: known studies are there" in err
    status, _, err = command("leaderboard", "--ledger", "xyz://a/b", "--home", tmp_path / "home")
    assert status == 2
    assert "give a folder, or a URI" in err
