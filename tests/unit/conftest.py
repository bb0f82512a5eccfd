"""What the tests of text and embedding share: the session's home, in which the offline model is built once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fewgood.embedding import Embedder, load_embedder
from fewgood.specs import EmbeddingSpec


@pytest.fixture(scope="session")
def built_home(shared_home: Path) -> Path:
    return shared_home


@pytest.fixture(scope="session")
def embedder(built_home: Path) -> Embedder:
    return load_embedder(EmbeddingSpec(), home=built_home, device=torch.device("cpu"))


@pytest.fixture(scope="session")
def wordnet(built_home: Path):
    from fewgood.text.wordnet import load_wordnet

    return load_wordnet(built_home)
