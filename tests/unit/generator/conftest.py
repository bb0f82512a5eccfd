from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fewgood.generator import Generator, TrainingReport, load_generator, train_generator
from fewgood.specs import GeneratorSpec

CPU = torch.device("cpu")


def blur_distance(generated: Tensor, original: Tensor) -> Tensor:
    """A feature distance that needs no weights."""
    return functional.mse_loss(functional.avg_pool2d(generated, 4), functional.avg_pool2d(original, 4))


def stripes(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A striped uint8 image with grain."""
    stream = np.random.default_rng(seed)
    wave = 128 + 50 * np.sin(np.arange(width) / 3 + seed)
    image = np.repeat(wave[None, :, None], height, axis=0) + stream.normal(0, 8, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def tiny(**changes: object) -> GeneratorSpec:
    values = {
        "steps": 4,
        "batch_size": 2,
        "crop": 16,
        "channel_multipliers": (1, 1, 1),
        "latent_channels": 4,
        "codebook_size": 16,
        "variance_weight": 0.3,
    }
    return GeneratorSpec(**{**values, **changes})


def train(folder: Path, spec: GeneratorSpec, **changes: object) -> TrainingReport:
    folder.mkdir(exist_ok=True)
    arguments = {"seed": 3, "out": folder, "device": CPU, "precision": "float32", "perceptual": blur_distance}
    images = changes.pop("images", [stripes(40, 52), stripes(33, 20, seed=1)])
    return train_generator(images, spec, **{**arguments, **changes})


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(folder, tiny(steps=30, variance_weight=1.0))
    return folder


@pytest.fixture(scope="package")
def generator(trained: Path) -> Generator:
    return load_generator(trained, device=CPU)


@pytest.fixture(name="stripes", scope="session")
def stripes_fixture() -> Callable[..., np.ndarray]:
    return stripes


@pytest.fixture(name="tiny", scope="session")
def tiny_fixture() -> Callable[..., GeneratorSpec]:
    return tiny


@pytest.fixture(name="train", scope="session")
def train_fixture() -> Callable[..., TrainingReport]:
    return train


@pytest.fixture(name="blur_distance", scope="session")
def blur_distance_fixture() -> Callable[[Tensor, Tensor], Tensor]:
    return blur_distance


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Sums in one order whatever the machine: the golden curve and the digests of two runs are compared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
