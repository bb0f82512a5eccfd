"""Ray Train: two workers give the losses of training in place, also when workers die on the way."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from fewgood.errors import ExecutionError
from fewgood.execution.train import RayGeneratorTraining
from fewgood.generator import TrainingReport, load_generator, train_generator
from fewgood.specs import GeneratorSpec

pytestmark = pytest.mark.integration

TOLERANCE = 2e-3
"""Relative, of every loss term in the first 30 steps, as between processes without Ray: sums are taken in another order.

Later a latent that lies as near to one code as to another may take either by the last digit of a sum, and two curves part a
little, whatever made the sums differ: of those steps the mean loss is compared, within a tenth.
"""
SAME, LAST = 30, 10

SPEC = GeneratorSpec(
    steps=60,
    batch_size=4,
    crop=16,
    channel_multipliers=(1, 1, 1),
    latent_channels=4,
    codebook_size=64,
    perceptual_weight=0.0,
    adversarial_start=0.2,
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    import ray

    import fewgood.execution  # noqa: F401 - sets what Ray reads when it is imported

    options = {"include_dashboard": True, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init(address="local", num_cpus=3, object_store_memory=128 * 2**20, **options)
    yield
    ray.shutdown()


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def train() -> Callable[..., TrainingReport]:
    stream = np.random.default_rng(0)
    images = [stream.integers(0, 255, size, dtype=np.uint8) for size in ((40, 52, 3), (33, 20, 3))]

    def call(training, out: Path, spec: GeneratorSpec = SPEC, **more) -> TrainingReport:
        out.mkdir()
        return training(images, spec, seed=3, out=out, device=torch.device("cpu"), precision="float32", **more)

    return call


@pytest.fixture(scope="module")
def in_place(tmp_path_factory, train) -> TrainingReport:
    return train(train_generator, tmp_path_factory.mktemp("in_place") / "out")


def assert_same_curve(found: TrainingReport, expected: TrainingReport) -> None:
    assert set(found.losses) == set(expected.losses)
    assert {"absolute", "codebook", "divergence", "adversarial", "discriminator"} <= set(found.losses)
    for term, values in expected.losses.items():
        assert len(found.losses[term]) == len(values)
        early = SAME - (SPEC.steps - len(values))  # terms that start late end with the last step
        assert early > 10
        np.testing.assert_allclose(
            found.losses[term][:early], values[:early], rtol=TOLERANCE, atol=TOLERANCE * 0.05, err_msg=term
        )
    ends = [float(np.mean(report.losses["loss"][-LAST:])) for report in (found, expected)]
    assert ends[0] == pytest.approx(ends[1], rel=0.1)


def worker_processes() -> list[psutil.Process]:
    """Ray Train's workers among this process's descendants."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if any("RayTrainWorker" in word for word in words_of(child))]


def words_of(process: psutil.Process) -> list[str]:
    """A process's command line; nothing for one that has just ended."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def test_two_workers_give_the_curve_of_training_in_place(cluster, tmp_path, train, in_place):
    told = []
    training = RayGeneratorTraining(workers=2, storage_path=str(tmp_path / "storage"), micro_batch=1)
    report = train(training, tmp_path / "out", progress=lambda *note: told.append(note))
    assert_same_curve(report, in_place)
    assert report.folder == tmp_path / "out"
    assert {path.name for path in report.folder.iterdir()} == {path.name for path in in_place.folder.iterdir()}
    assert (report.folder / "spec.json").read_bytes() == (in_place.folder / "spec.json").read_bytes()
    assert load_generator(report.folder, device=torch.device("cpu")).architecture == in_place.architecture
    assert told[-1][:3] == ("generator", 60, 60)
    assert "steps/s" in told[-1][3]
    assert not list((tmp_path / "storage").iterdir()), "a finished training leaves no checkpoints"


def test_dead_workers_cost_the_steps_since_the_last_checkpoint(cluster, tmp_path, train, in_place):
    """One death is recovered from, a second is more than allowed, and the same training asked for again goes on."""
    storage = tmp_path / "storage"
    training = RayGeneratorTraining(workers=2, storage_path=str(storage), checkpoint_every=10, max_failures=1)
    steps, killed_at, old = [], [], set()

    def kill_twice(stage: str, done: int, total: int, note: str) -> None:
        saved = any(storage.glob("*/checkpoint_manager_snapshot.json"))
        workers = worker_processes()
        fresh = [worker for worker in workers if worker.pid not in old]
        steps.append(done)
        if not fresh or len(killed_at) == 2 or not (killed_at or saved):
            return
        old.update(worker.pid for worker in workers)  # a death ends them all, and new ones begin
        fresh[-1].kill()
        killed_at.append(len(steps))

    with pytest.raises(ExecutionError, match=r"given up after 1 restarts.*training\.max_failures"):
        train(training, tmp_path / "first", progress=kill_twice)
    assert len(killed_at) == 2
    assert min(steps[killed_at[0] :]) > 10, "the workers went on from a checkpoint"
    assert not list((tmp_path / "first").iterdir())
    later = []
    report = train(training, tmp_path / "second", progress=lambda *note: later.append(note[1]))
    assert later[0] > 10, "so did those of the next training"
    assert_same_curve(report, in_place)
    assert not list(storage.iterdir())


def test_a_cluster_that_is_too_small_is_refused_with_numbers(cluster, tmp_path, train):
    with pytest.raises(ExecutionError, match=r"4 workers with 1 CPU each, the cluster has 3 CPU"):
        train(RayGeneratorTraining(workers=4, storage_path=str(tmp_path)), tmp_path / "out")
