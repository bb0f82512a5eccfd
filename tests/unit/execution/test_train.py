"""Ray Train without Ray: the choice of where to train, what is refused, and what a run leaves for its caller."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow.fs import LocalFileSystem

from fewgood.errors import ExecutionError, FewgoodError, SpecError
from fewgood.execution.train import RayGeneratorTraining, choose_training, relative_work
from fewgood.execution.train_run import Ended, run_name
from fewgood.execution.train_worker import conclude
from fewgood.generator import train_generator
from fewgood.generator.loop import run_steps
from fewgood.generator.training import prepare, starting_point
from fewgood.specs import GeneratorSpec

SMALL = GeneratorSpec(steps=2, batch_size=4, crop=16, channel_multipliers=(1, 1), codebook_size=8, perceptual_weight=0)
LARGE = GeneratorSpec(steps=4000, batch_size=12)
IMAGES = [np.arange(20 * 24 * 3, dtype=np.uint8).reshape(20, 24, 3)]


def choose(spec: GeneratorSpec, **changes: object):
    return choose_training(spec, **{"mode": "auto", "workers": 2, "storage_path": "/shared/train", **changes})


def test_auto_takes_ray_where_sharing_the_work_repays_its_cost():
    assert choose(SMALL) is None
    assert choose(LARGE, workers=1) is None
    assert choose(LARGE).workers == 2
    assert choose(LARGE, storage_path="s3://bucket/train", max_failures=7, checkpoint_every=9).max_failures == 7
    assert choose(dataclasses.replace(SMALL, steps=4000, init_from="released.ckpt")).workers == 2


def test_auto_leaves_out_workers_that_the_batch_does_not_split_over():
    assert choose(LARGE, workers=5).workers == 4
    assert choose(dataclasses.replace(LARGE, batch_size=7), workers=3) is None


def test_a_forced_mode_is_obeyed():
    assert choose(LARGE, mode="in_place") is None
    assert choose(SMALL, mode="ray", workers=1) == RayGeneratorTraining(workers=1, storage_path="/shared/train")
    with pytest.raises(SpecError, match=r"workers is 3.*batch_size 4.*1, 2 or 4"):
        choose(SMALL, mode="ray", workers=3)
    with pytest.raises(SpecError, match="in_place, ray"):
        choose(SMALL, mode="elsewhere")


def test_micro_batches_are_obeyed_in_place_too(tmp_path):
    training = choose(SMALL, micro_batch=2)
    parts = {"seed": 1, "out": tmp_path, "device": torch.device("cpu"), "precision": "float32"}
    report = training(IMAGES, SMALL, **parts)
    assert report.losses["loss"] == train_generator(IMAGES, SMALL, micro_batch=2, **parts).losses["loss"]
    with pytest.raises(SpecError, match=r"micro_batch is 3.*1, 2 or 4"):
        choose(SMALL, micro_batch=3)
    with pytest.raises(SpecError, match=r"micro_batch is 4.*2 crops.*1 or 2"):
        choose(SMALL, mode="ray", micro_batch=4)


def test_work_grows_with_what_is_computed():
    default = GeneratorSpec(steps=400)
    assert relative_work(default) == 1.0
    assert relative_work(dataclasses.replace(default, steps=100)) == 0.25
    assert relative_work(dataclasses.replace(default, steps=800, crop=128)) == pytest.approx(8.0)
    assert relative_work(dataclasses.replace(default, channels=64)) == pytest.approx(4.0)
    assert relative_work(dataclasses.replace(default, init_from="released.ckpt")) > 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 0}, r"training\.workers is 0, allowed is a whole number from 1"),
        ({"max_failures": -1}, r"training\.max_failures is -1"),
        ({"checkpoint_every": 0}, r"training\.checkpoint_every is 0"),
        ({"gpus_per_worker": 1.5}, r"training\.gpus_per_worker is 1\.5, allowed is 0, a part"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        RayGeneratorTraining(**{"workers": 2, "storage_path": "/shared/train", **changes})


def test_without_a_cluster_it_says_so(tmp_path):
    training = RayGeneratorTraining(workers=2, storage_path=str(tmp_path))
    with pytest.raises(ExecutionError, match="joined none"):
        training(IMAGES, SMALL, seed=1, out=tmp_path, device=torch.device("cpu"), precision="float32")


def test_a_run_is_named_by_all_that_decides_its_result():
    name = run_name(IMAGES, SMALL, seed=1, precision="float32")
    assert name == run_name([IMAGES[0].copy()], SMALL, seed=1, precision="float32")
    others = [
        run_name([IMAGES[0].transpose(1, 0, 2)], SMALL, seed=1, precision="float32"),
        run_name(IMAGES * 2, SMALL, seed=1, precision="float32"),
        run_name(IMAGES, LARGE, seed=1, precision="float32"),
        run_name(IMAGES, SMALL, seed=2, precision="float32"),
        run_name(IMAGES, SMALL, seed=1, precision="bfloat16"),
    ]
    assert len({name, *others}) == 6


@pytest.mark.parametrize("learning_rate", [4e-4, 1e30])
def test_a_last_checkpoint_holds_the_files_or_the_error(tmp_path, learning_rate):
    """A training that diverges would diverge again: its error comes back as it is, and no worker is started again."""
    spec = dataclasses.replace(SMALL, steps=9, learning_rate=learning_rate)
    parts = {"seed": 1, "device": torch.device("cpu"), "precision": "float32"}
    trainer = prepare(IMAGES, spec, start=starting_point(spec), **parts)
    history, failure = {}, None
    try:
        run_steps(trainer, IMAGES, history)
    except FewgoodError as error:
        failure = error
    for name in ("last", "out"):
        (tmp_path / "run" / name).mkdir(parents=True)
    conclude(trainer, IMAGES, history, failure, tmp_path / "run" / "last")
    ended = Ended(folder=str(tmp_path / "run"), filesystem=LocalFileSystem(), checkpoint=str(tmp_path / "run" / "last"))
    out = Path(tmp_path / "out")
    out.mkdir()
    if learning_rate > 1:
        with pytest.raises(FewgoodError, match=r"generator\.learning_rate"):
            ended.take_files(out)
        assert not list(out.iterdir())
    else:
        ended.take_files(out)
        assert json.loads((out / "losses.json").read_text())["losses"] == history
        assert {path.name for path in out.iterdir()} == {"losses.json", "model.safetensors", "spec.json"}
    ended.remove()
    assert not (tmp_path / "run").exists()
