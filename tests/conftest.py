"""What all tests share: the real data where it is, one home for what is expensive to build, commands, and no network."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photographs, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("FEWGOOD_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "magnetic_tile").is_dir():
        pytest.skip(f"no real data in {folder}: set FEWGOOD_TEST_DATA to the folder that holds magnetic_tile")
    return folder


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose offline model, words and sample images are made once per session.

    A test that counts artifacts or rows takes a home of its own from `lend_models`.
    """
    from fewgood.data import load_category
    from fewgood.embedding.lite0_minilm import ensure_offline_model
    from fewgood.text.wordnet import load_wordnet

    home = tmp_path_factory.mktemp("home")
    ensure_offline_model(home)
    load_wordnet(home)
    for category in ("brick", "washer"):
        load_category("sample", category, root=None, home=home)
    return home


@pytest.fixture(scope="session")
def lend_models(shared_home: Path) -> Callable[[Path], Path]:
    """Make a new home that has what `shared_home` built, and nothing else.

    The models, 100 MB, are links: no file of a home is changed in place. NLTK refuses links, so the words are copied.
    """

    def lend(home: Path) -> Path:
        for name in ("models", "corpora", "cache", "data"):
            if (shared_home / name).is_dir():
                shutil.copytree(
                    shared_home / name, home / name, copy_function=os.link if name == "models" else shutil.copy2
                )
        return home

    return lend


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
def fewgood(monkeypatch, capfd, request):
    """Call `fewgood` with words in this process; the home is the session's unless the words give another."""
    from fewgood.cli.main import _run

    def call(*words: str | Path, home: Path | None = None) -> Outcome:
        monkeypatch.setenv("FEWGOOD_HOME", str(home or request.getfixturevalue("shared_home")))
        monkeypatch.setattr(sys, "argv", ["fewgood", *map(str, words)])
        capfd.readouterr()
        status = _run()
        captured = capfd.readouterr()
        return Outcome(status, captured.out, captured.err)

    return call
