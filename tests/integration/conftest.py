"""Running the command line inside the test's process."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Outcome:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


@pytest.fixture
def fewgood(monkeypatch, capfd, shared_home):
    """Call `fewgood` with words; the home is the session's unless the words give another."""
    from fewgood.cli.main import _run

    def call(*words: str | Path, home: Path | None = None) -> Outcome:
        monkeypatch.setenv("FEWGOOD_HOME", str(home or shared_home))
        monkeypatch.setattr(sys, "argv", ["fewgood", *map(str, words)])
        capfd.readouterr()
        status = _run()
        captured = capfd.readouterr()
        return Outcome(status, captured.out, captured.err)

    return call
