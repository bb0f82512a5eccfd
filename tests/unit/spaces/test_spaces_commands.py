"""`fewgood spaces list|show|check`."""

import json
import logging
import sys

import pytest

from fewgood.cli.main import main
from fewgood_spaces import list_spaces, load_space


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `fewgood spaces` with words; its exit status, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["fewgood", "spaces", *map(str, words)])
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


def test_list_says_which_pairs_take_each(command):
    status, out, _ = command("list", "--json")
    document = json.loads(out)
    spaces = {entry["name"]: entry for entry in document["spaces"]}
    assert status == 0
    assert list(spaces) == list_spaces()
    assert spaces["mvtec_loco-patchcore"]["used_by"] == ["mvtec_loco/patchcore"]
    assert sum(len(entry["used_by"]) for entry in spaces.values()) == document["pairs"] == 24
    assert spaces["demo"]["size"] == 12
    status, out, _ = command("list")
    assert status == 0
    assert "demo: 3 parameters, 12 configurations, format version 1, taken where it is named" in out


def test_show_says_where_each_parameter_stands_and_what_needs_a_generator(command):
    status, out, _ = command("show", "auto", "--dataset", "btad", "--baseline", "cflow", "--json")
    document = json.loads(out)
    rows = {row["key"]: row for row in document["values"]}
    assert (status, document["name"], document["digest"]) == (0, "cflow", load_space("cflow").digest)
    assert [key for key, row in rows.items() if row["needs_generator"]] == ["generator.variance_weight"]
    assert {key: row["file"].rsplit("/", 1)[1] for key, row in rows.items()} == dict.fromkeys(
        load_space("default").parameters, "default.yaml"
    ) | {"selection.count": "cflow.yaml"}
    status, out, _ = command("show", "default")
    assert status == 0
    assert any(line.startswith("* generator.variance_weight  0.03, 0.3, 3.0") for line in out.splitlines())
    assert "4 to 32 in steps of 4" in out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("show",), "give --dataset and --baseline"),
        (("show", "demo", "--dataset", "btad"), "it goes with auto and --baseline"),
        (("show", "demo", "--baseline", "patchcor"), "did you mean patchcore"),
        (("show", "dmeo"), "did you mean demo"),
    ],
)
def test_show_refuses_what_cannot_be_meant(command, words, reason):
    status, out, err = command(*words, "--json")
    assert status == 2
    assert reason in err
    assert json.loads(out)["status"] == "failed"


def test_check_names_each_wrong_file(command, tmp_path):
    right, wrong = tmp_path / "right.yaml", tmp_path / "wrong.yaml"
    right.write_text("version: 1\nextends: demo\n")
    wrong.write_text("version: 1\nparameters:\n  prompt.count: {type: choice, values: [1]}\n")
    assert command("check", right, "default")[:2] == (
        0,
        f"{right}: OK, 12 configurations\ndefault: OK, 288 configurations\n",
    )
    status, out, err = command("check", right, wrong)
    assert status == 2
    assert f"{right}: OK" in out
    assert err.startswith(f"fewgood: search space {wrong}:3: prompt.count: ")
    status, out, _ = command("check", right, wrong, "--json")
    document = json.loads(out)
    assert (status, document["status"]) == (2, "failed")
    assert [entry["status"] for entry in document["files"]] == ["ok", "failed"]
