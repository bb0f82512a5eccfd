"""What all tests share: the real data where it is, one home for what is expensive to build, and no network."""

import os
from pathlib import Path

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
    """A home whose models are built once per session; a test that counts artifacts makes its own."""
    return tmp_path_factory.mktemp("home")
