"""A small real generator as a bundle, a registry that holds it, and a server of it in this process, without Ray."""

import asyncio
import hashlib
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from fewgood.generator import train_generator
from fewgood.specs import EmbeddingSpec, GeneratorSpec, SamplingSpec, SelectionSpec, plain
from fewgood.stages.embedding_model import embedding_identity
from fewgood.store import Location
from fewgood_serve.api import make_api
from fewgood_serve.bundle import write_bundle
from fewgood_serve.dispatch import Answer
from fewgood_serve.keys import KeyFile
from fewgood_serve.painter import Painter
from fewgood_serve.registry import Registry
from fewgood_serve.service import Service
from fewgood_serve.settings import settings_from

CPU = torch.device("cpu")


class Colours:
    """An image-text model that embeds an image by its coarse colours and a text by its hash."""

    name = "colours"
    weights_digest = "0" * 64

    def encode_images(self, images):
        small = [image.astype(np.float64).reshape(-1, 3)[:: max(1, image.size // 600)][:64].ravel() for image in images]
        return np.stack([vector / np.linalg.norm(vector) for vector in small]).astype(np.float32)

    def encode_texts(self, texts):
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
        drawn = np.stack([np.random.default_rng(seed).random(192) for seed in seeds])
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="session")
def colours():
    return Colours()


@pytest.fixture(scope="session")
def support():
    stream = np.random.default_rng(3)
    return [stream.integers(40, 200, size=(40, 48, 3), dtype=np.uint8) for _ in range(2)]


@pytest.fixture(scope="session")
def generator_folder(tmp_path_factory, support):
    folder = tmp_path_factory.mktemp("generator")
    spec = GeneratorSpec(steps=3, crop=32, batch_size=2, codebook_size=32, adversarial_weight=0.0)
    train_generator(support, spec, seed=1, out=folder, device=CPU, precision="float32")
    return folder


@pytest.fixture(scope="session")
def make_bundle(generator_folder, support):
    def make(folder: Path, *, scale: float = 4.0) -> list[dict]:
        return write_bundle(
            folder,
            generator=generator_folder,
            support=support,
            kind="texture",
            sampling=SamplingSpec(scale=scale, latent_samples=2, oversample=2),
            embedding=EmbeddingSpec(),
            embedding_identity=embedding_identity(EmbeddingSpec()),
            prompt="a photo of a part",
        )

    return make


@pytest.fixture(scope="session")
def bundle(tmp_path_factory, make_bundle):
    folder = tmp_path_factory.mktemp("bundle")
    make_bundle(folder)
    return folder


@pytest.fixture
def painter(bundle, colours, tmp_path):
    return Painter(bundle, home=tmp_path, device=CPU, embedder=colours)


@pytest.fixture(scope="session")
def card_of():
    """A card of a bundle's support images, but for its name and version."""
    return _card


def _card(trained_on, *, scale=4.0, **changes):
    return {
        "promoted_utc": "2026-01-01T00:00:00+00:00",
        "dataset": "sample",
        "category": "part",
        "kind": "texture",
        "baseline": "patchcore",
        "shots": "2",
        "keyword": "part",
        "prompt": "a photo of a part",
        "candidates": [{"prompt": "a photo of a part", "score": 0.4}],
        "trained_on": trained_on,
        "gains": [],
        "image_auroc": 0.7,
        "selected_on": "fixed",
        "limits": [],
        "licence": "not stated",
        "study": None,
        "spec_hash": "0" * 32,
        "run_id": "0" * 32,
        "generator_digest": "0" * 32,
        "support_digest": "0" * 32,
        "settings": {"sampling": plain(SamplingSpec(scale=scale, oversample=2)), "selection": plain(SelectionSpec())},
        "embedding": {"model": "colours"},
        "precision": "float32",
        "seconds": 1.0,
        "hardware": "test",
        "versions": {},
        **changes,
    }


@pytest.fixture
def publish(tmp_path, make_bundle):
    """Publish another version of a generator in the registry of this test."""

    def put(name="part", *, scale=4.0, latest=True, spoil=None):
        registry = Registry(Location.of(tmp_path / "home" / "registry"))
        folder = tmp_path / f"bundle-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        trained_on = make_bundle(folder, scale=scale)
        if spoil is not None:
            spoil(folder)
        reference = registry.publish(name, folder, _card(trained_on, scale=scale))
        if latest:
            registry.point(reference, why="promoted")
        return reference

    return put


@pytest.fixture
def registry(tmp_path):
    return Registry(Location.of(tmp_path / "home" / "registry"))


class Replicas:
    """Draws in this process, as a replica would; tests can make it slow or let it die."""

    def __init__(self, root, registry, colours):
        self._root, self._registry, self._colours = root, registry, colours
        self._painters = {}
        self.errors = []
        self.seconds = 0.0
        self.started = 0
        self.cancelled = 0

    async def __call__(self, reference, wanted):
        self.started += 1
        if self.errors:
            raise self.errors.pop(0)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if reference not in self._painters:
            folder = self._root / f"copy-{reference}-{self.started}"
            folder.mkdir()
            self._registry.fetch(reference, folder)
            self._painters[reference] = Painter(folder, home=self._root, device=CPU, embedder=self._colours)
        return Answer(self._painters[reference].draw([wanted])[0], 1)


@pytest.fixture
def replicas(tmp_path, registry, colours):
    return Replicas(tmp_path, registry, colours)


@pytest.fixture
def key_file(tmp_path):
    return KeyFile(Location.of(tmp_path / "home" / "serve"))


@pytest.fixture
def serving(tmp_path, replicas):
    """A server in this process: `async with serving(limits=...) as (http, service)`."""

    @asynccontextmanager
    async def start(key=None, **changes):
        settings = settings_from(home=str(tmp_path / "home"), poll_seconds=0.05, **{"no_auth": key is None, **changes})
        service = Service(settings, replicas, log=tmp_path / "requests.log")
        app = make_api(service)
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with (
            service.running(),
            httpx.AsyncClient(transport=transport, base_url="http://server", headers=headers, timeout=60) as http,
        ):
            yield http, service

    return start


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session")
def images_of():
    """The images of a JSON answer that has to be one."""
    return _images_of


def _images_of(response):
    assert response.status_code == 200, response.text
    return response.json()["images"]


@pytest.fixture(scope="session")
def problem_of():
    """The problem document of an answer that has to be that refusal."""
    return _problem_of


def _problem_of(response, status, kind):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["type"] == f"urn:fewgood:problem:{kind}"
    assert document["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in document["detail"]
    return document
