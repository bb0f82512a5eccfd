"""Ledgers to test with: rows that differ, and the places that they can lie in."""

from __future__ import annotations

import json

import fsspec
import pyarrow.fs as pafs
import pytest

from fewgood.store import Home, Location


def make_row(number=0, **values):
    """A row of run `number`, 32 hexadecimal characters."""
    spec = {"baseline": {"name": "patchcore", "options": {"b": 1, "a": [0.5]}}, "selection": {"count": 16}}
    row = {
        "run_id": f"{number:032x}",
        "spec_hash": f"{number:032x}",
        "config_hash": f"{number // 5:032x}",
        "status": "ok",
        "arm": "generate",
        "dataset": "made",
        "category": f"c{number % 3}",
        "baseline": "patchcore",
        "shots": "1",
        "select_on": "proxy",
        "seed": number,
        "spec_json": json.dumps(spec),
        "image_auroc": number / 1000,
        "test_names": ["a", "b"],
        "test_labels": ["good", "scratch"],
        "test_scores": [0.5, float(number)],
        "hardware": "x86_64 CPU, 2 threads",
    }
    return row | values


@pytest.fixture(name="make_row")
def _make_row():
    return make_row


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").prepare()


@pytest.fixture(params=["local", "subtree", "memory"])
def location(request, tmp_path):
    """A place that a ledger can lie in: on this disk, under another filesystem's root, and not on a disk at all."""
    if request.param == "local":
        return Location.of(tmp_path / "ledger")
    if request.param == "subtree":
        (tmp_path / "root").mkdir()
        return Location(pafs.SubTreeFileSystem(str(tmp_path / "root"), pafs.LocalFileSystem()), "ledger", "sub/ledger")
    memory = fsspec.filesystem("memory", skip_instance_cache=True)
    memory.store.clear()  # what lies in memory is shared by the whole process
    memory.pseudo_dirs[:] = [""]
    return Location(pafs.PyFileSystem(pafs.FSSpecHandler(memory)), "/ledger", "memory://ledger")
