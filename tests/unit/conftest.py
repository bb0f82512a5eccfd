"""What the tests of text and embedding share: one home, in which the offline model is built once per session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from fewgood.embedding import Embedder, load_embedder
from fewgood.specs import EmbeddingSpec


@pytest.fixture(scope="session")
def built_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("FEWGOOD_TEST_HOME")
    return Path(given) if given else tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def embedder(built_home: Path) -> Embedder:
    return load_embedder(EmbeddingSpec(), home=built_home, device=torch.device("cpu"))


@pytest.fixture(scope="session")
def wordnet(built_home: Path):
    from fewgood.text.wordnet import load_wordnet

    return load_wordnet(built_home)
