"""KubeRay's published definitions, and the files that `fewgood cluster init` writes."""

import os
from pathlib import Path

import pytest

from fewgood_cluster.render import render, write
from fewgood_cluster.settings import settings_from

IMAGE, STORE = "registry.example.com/fewgood:0.1.0", "s3://bucket/fewgood?endpoint_override=minio:9000&scheme=http"


@pytest.fixture(scope="session")
def crds(repository) -> Path:
    folder = Path(os.environ.get("FEWGOOD_TEST_CRDS", repository.parent / "shared" / "crds"))
    if not (folder / "ray.io_rayclusters.yaml").is_file():
        pytest.skip(f"no definitions of KubeRay in {folder}: set FEWGOOD_TEST_CRDS to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def rendered() -> dict[str, str]:
    return render(settings_from({"image": IMAGE, "store": STORE}))


@pytest.fixture
def written(tmp_path, rendered) -> Path:
    write(tmp_path / "files", rendered)
    return tmp_path / "files"
