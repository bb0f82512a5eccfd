from __future__ import annotations

import json
import socket

import numpy as np
import pytest
import torch

from fewgood.embedding import load_embedder
from fewgood.embedding.lite0_minilm import ensure_offline_model, register_offline_model
from fewgood.errors import StoreError
from fewgood.specs import EmbeddingSpec


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a network connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def images(count, seed=0):
    generator = np.random.default_rng(seed)
    return [
        generator.integers(0, 256, (40 + 30 * (index % 4), 60 + 20 * (index % 3), 3), dtype=np.uint8)
        for index in range(count)
    ]


def test_unseen_classes_are_named(embedder, built_home):
    model = ensure_offline_model(built_home)
    assert model.held_out_top1 >= 0.35
    assert 0.58 <= model.held_out_top5 <= 0.75


def test_manifest_names_the_loaded_weights(embedder, built_home):
    manifest = json.loads((built_home / "models" / "lite0-minilm" / "manifest.json").read_text())
    assert manifest["weights_digest"] == embedder.weights_digest
    assert {"torch", "timm", "open_clip_torch", "transformers"} <= set(manifest["versions"])


def test_loads_as_an_open_clip_checkpoint_without_network(embedder, built_home, no_network):
    import open_clip

    register_offline_model()
    file = ensure_offline_model(built_home).checkpoint
    model = open_clip.create_model("lite0-minilm", pretrained=str(file)).eval()
    tokens = open_clip.get_tokenizer("lite0-minilm")(["a photo of a flawless screw"])
    with torch.inference_mode():
        text = model.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(text, embedder.encode_texts(["a photo of a flawless screw"]), atol=1e-6)


def test_checkpoint_given_as_a_file_is_the_same_space(embedder, built_home, no_network):
    file = ensure_offline_model(built_home).checkpoint
    spec = EmbeddingSpec(model="lite0-minilm", pretrained=str(file))
    again = load_embedder(spec, home=built_home / "unused", device=torch.device("cpu"))
    assert again.weights_digest == embedder.weights_digest
    assert not (built_home / "unused").exists()


def test_embeddings_are_unit_and_independent_of_the_batch(embedder):
    pictures = images(35)
    together = embedder.encode_images(pictures)
    assert together.shape == (35, 384)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for index in (0, 31, 32, 34):
        np.testing.assert_allclose(embedder.encode_images([pictures[index]])[0], together[index], atol=1e-5)
    texts = ["a screw", "a much longer sentence about a photograph of a machine screw", "nut"]
    separate = np.concatenate([embedder.encode_texts([text]) for text in texts])
    np.testing.assert_allclose(separate, embedder.encode_texts(texts), atol=1e-5)


def test_nothing_in_nothing_out(embedder):
    assert embedder.encode_images([]).shape == (0, 384)
    assert embedder.encode_texts([]).shape == (0, 384)


def test_loading_leaves_the_random_stream_alone(embedder, built_home):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_embedder(EmbeddingSpec(), home=built_home, device=torch.device("cpu"))
    assert torch.equal(torch.rand(2), expected)


def test_real_photographs_are_told_apart(embedder):
    from skimage import data

    similarity = (
        embedder.encode_images([data.coffee(), data.chelsea()])
        @ embedder.encode_texts(["a photo of a cup of coffee", "a photo of a cat"]).T
    )
    assert similarity[0, 0] > similarity[0, 1] + 0.1
    assert similarity[1, 1] > similarity[1, 0] + 0.1


def test_damaged_manifest_says_what_to_delete(tmp_path):
    folder = tmp_path / "models" / "lite0-minilm"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match="delete the folder"):
        ensure_offline_model(tmp_path)
