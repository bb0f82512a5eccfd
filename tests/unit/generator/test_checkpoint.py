"""Checkpoints: our folder, and released taming files, which load by their shapes and run no code."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fewgood.errors import SpecError, StoreError
from fewgood.generator import file_digest, load_generator
from fewgood.generator.checkpoint import infer_architecture, load_weights, read_taming
from fewgood.generator.network import Architecture, VarianceVQGAN

RELEASED = Architecture(
    channels=32,
    channel_multipliers=(1, 2, 2),
    residual_blocks=2,
    z_channels=6,
    code_channels=5,
    codebook_size=24,
    group_width=None,
    attention_levels=(2,),
    middle_attention=True,
    variance=False,
)


class Callback:
    """Like Lightning's: pickled by name beside the tensors."""

    def __init__(self) -> None:
        self.best = 0.5


def plant(mark: Path) -> None:
    mark.touch()


class Planted:
    """Unpickling it calls a function that leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (plant, (self.mark,))


class Reached(Planted):
    """The same through an attribute, which torch refuses to look up."""

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(5)
    return VarianceVQGAN(RELEASED).state_dict()


def lightning(path: Path, weights, **extra) -> Path:
    state = {**weights, "loss.discriminator.main.0.weight": torch.zeros(2)}
    torch.save({"state_dict": state, "epoch": 3, **extra}, path)
    return path


@pytest.mark.parametrize("layout", ["lightning", "bare", "safetensors"])
def test_a_released_checkpoint_loads_whatever_its_container(weights, tmp_path, layout):
    path = tmp_path / {"lightning": "last.ckpt", "bare": "model.pt", "safetensors": "m.safetensors"}[layout]
    if layout == "lightning":
        lightning(path, weights, callbacks={Callback: Callback()}, optimizer_states=[{"state": {}}])
    elif layout == "bare":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    found, architecture = read_taming(path)
    assert architecture == RELEASED
    network = VarianceVQGAN(architecture)
    load_weights(network, found, path)
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    expected = VarianceVQGAN(RELEASED)
    expected.load_state_dict(weights)
    assert torch.equal(network.eval()(image).image, expected.eval()(image).image)


@pytest.mark.parametrize("kind", [Planted, Reached])
def test_a_checkpoint_runs_no_code(weights, tmp_path, kind):
    mark = tmp_path / "executed"
    path = lightning(tmp_path / "bad.ckpt", weights, callbacks=kind(mark))
    if kind is Planted:
        assert read_taming(path)[1] == RELEASED
    else:
        with pytest.raises(SpecError, match="without running code"):
            read_taming(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists(), "the file would have run code"


def test_training_starts_from_the_checkpoint_and_keeps_its_architecture(weights, tmp_path, tiny, train):
    path = lightning(tmp_path / "last.ckpt", weights)
    spec = tiny(
        steps=1, learning_rate=1e-9, ema_decay=0.0, init_from=str(path), init_digest=file_digest(path), variance=True
    )
    report = train(tmp_path / "out", spec)
    assert report.architecture == dataclasses.replace(RELEASED, variance=True)
    described = json.loads((tmp_path / "out" / "spec.json").read_text())
    assert described["architecture"]["residual_blocks"] == 2
    assert described["spec"]["init_digest"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert str(tmp_path) not in (tmp_path / "out" / "spec.json").read_text()
    after = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.allclose(after[name], value, atol=1e-6) for name, value in weights.items())
    assert load_generator(tmp_path / "out", device=torch.device("cpu")).architecture == report.architecture


def test_our_own_weights_are_a_starting_point_too(trained, tmp_path, tiny, train):
    path = trained / "model.safetensors"
    report = train(tmp_path / "on", tiny(steps=1, learning_rate=1e-9, ema_decay=0.0, init_from=str(path)))
    assert report.architecture.group_width == 8
    before, after = load_file(path), load_file(tmp_path / "on" / "model.safetensors")
    assert all(torch.allclose(after[name], value, atol=1e-6) for name, value in before.items())
    plain = train(tmp_path / "off", tiny(steps=1, init_from=str(path), variance=False))
    assert not plain.architecture.variance


def test_a_mismatch_names_the_first_tensor_and_both_shapes(weights, tmp_path):
    broken = {**weights, "decoder.conv_out.weight": torch.zeros(3, 64, 3, 3)}
    network = VarianceVQGAN(infer_architecture(broken, "x.ckpt"))
    with pytest.raises(
        SpecError, match=r"decoder\.conv_out\.weight of shape \(3, 64, 3, 3\), here it is \(3, 32, 3, 3\)"
    ):
        load_weights(network, broken, "x.ckpt")
    with pytest.raises(SpecError, match=r"no decoder\.mid\.block_1\.norm1\.weight"):
        load_weights(network, {k: v for k, v in weights.items() if k != "decoder.mid.block_1.norm1.weight"}, "x.ckpt")
    with pytest.raises(SpecError, match=r"encoder\.foo"):
        load_weights(network, {**weights, "encoder.foo": torch.zeros(1)}, "x.ckpt")


@pytest.mark.parametrize("missing", ["quantize.embedding.weight", "encoder.conv_in.weight", "quant_conv.weight"])
def test_another_layout_is_refused(weights, tmp_path, missing):
    path = lightning(tmp_path / "l.ckpt", {k: v for k, v in weights.items() if k != missing})
    with pytest.raises(SpecError, match=f"has no {missing}"):
        read_taming(path)


@pytest.mark.parametrize("name", ["text.ckpt", "text.safetensors", "absent.ckpt", "list.pt"])
def test_an_unreadable_file_is_a_users_error(tmp_path, name):
    path = tmp_path / name
    if name.startswith("text"):
        path.write_text("not a checkpoint")
    elif name == "list.pt":
        torch.save([1, 2], path)
    with pytest.raises(SpecError, match=name) as caught:
        read_taming(path)
    assert "\n" not in str(caught.value)


def test_a_changed_file_is_refused(weights, tmp_path, tiny, train):
    path = lightning(tmp_path / "last.ckpt", weights)
    with pytest.raises(SpecError, match="SHA-256"):
        train(tmp_path / "out", tiny(init_from=str(path), init_digest="0" * 64))
    with pytest.raises(SpecError, match="--init-from"):
        train(tmp_path / "out", tiny(init_digest="0" * 64))


@pytest.mark.parametrize("name", ["model.safetensors", "spec.json"])
def test_a_damaged_folder_is_refused(trained, tmp_path, name):
    for file in trained.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: -200 if file.name == name else None])
    with pytest.raises(StoreError, match="train again"):
        load_generator(tmp_path, device=torch.device("cpu"))
