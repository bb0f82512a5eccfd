"""Bundles: what they hold comes back, and nothing that could run code is opened."""

import pickle
import shutil

import numpy as np
import pytest
import torch

from fewgood.errors import StoreError
from fewgood.generator import load_generator
from fewgood_serve.bundle import read_bundle

CPU = torch.device("cpu")


@pytest.fixture
def copy(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "copy")


class Runs:
    """Pickles to something that leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_bundle_comes_back(bundle, support):
    found = read_bundle(bundle)
    assert found.prompt == "a photo of a part"
    assert found.sampling.latent_samples == 2
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(found.support, support, strict=True))


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "support/00000.pkl", "run.py"])
def test_a_file_that_is_no_part_of_one_is_refused(copy, name, tmp_path):
    (copy / name).write_bytes(pickle.dumps(Runs(tmp_path / "ran")))
    with pytest.raises(StoreError, match="no part of one"):
        read_bundle(copy)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_in_the_place_of_the_weights_is_refused(copy, tmp_path):
    with (copy / "model.safetensors").open("wb") as file:
        torch.save({"decoder": Runs(tmp_path / "ran")}, file)
    with pytest.raises(StoreError, match="no whole generator"):
        load_generator(copy, device=CPU)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["bundle.json", "support/00001.png"])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(StoreError, match="not whole"):
        read_bundle(copy)


def test_an_exchanged_support_image_is_noticed(copy):
    shutil.copyfile(copy / "support" / "00000.png", copy / "support" / "00001.png")
    with pytest.raises(StoreError, match="not the image that was promoted"):
        read_bundle(copy)


@pytest.mark.parametrize("text", ["[]", "{", "{}", '{"format": 99}'])
def test_a_document_that_is_none_is_refused(copy, text):
    (copy / "bundle.json").write_text(text)
    with pytest.raises(StoreError):
        read_bundle(copy)
