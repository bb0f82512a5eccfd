from __future__ import annotations

import huggingface_hub.constants
import pytest
import torch

from fewgood.embedding import load_embedder
from fewgood.errors import AssetError, SpecError
from fewgood.specs import EmbeddingSpec

CPU = torch.device("cpu")


def load(home, **fields):
    return load_embedder(EmbeddingSpec(**fields), home=home, device=CPU)


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"model": "ViT-B-23", "pretrained": "openai"}, SpecError, "did you mean .*ViT-B-32"),
        ({"model": "ViT-B-32"}, SpecError, "--clip-pretrained .*openai"),
        ({"model": "ViT-B-32", "pretrained": "nonsense"}, SpecError, "neither a file nor a tag"),
        ({"model": "ViT-B-32", "pretrained": "absent/weights.pt"}, AssetError, "do not exist"),
        ({"model": "lite0-minilm", "pretrained": "absent.safetensors"}, AssetError, "place the checkpoint"),
        ({"model": "hf-hub:someone/model", "pretrained": "x"}, SpecError, "its own weights"),
        ({"model": "local-dir:absent"}, AssetError, "open_clip_config.json"),
    ],
)
def test_what_cannot_be_meant_is_one_line(tmp_path, fields, error, words):
    with pytest.raises(error, match=words) as caught:
        load(tmp_path, **fields)
    assert "\n" not in str(caught.value)


def test_weights_on_an_unreachable_hub_say_what_to_place(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        AssetError, match=r"open_clip_model.safetensors of huggingface.co/.*--clip-pretrained"
    ) as caught:
        load(tmp_path, model="ViT-B-32", pretrained="laion2b_s34b_b79k")
    assert "\n" not in str(caught.value)


def test_another_open_clip_model_loads_from_its_checkpoint(tmp_path):
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model("RN50", load_weights=False)
    file = tmp_path / "rn50.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, file)
    embedder = load(tmp_path, model="RN50", pretrained=str(file))
    assert embedder.name == "RN50/rn50.safetensors"
    assert embedder.encode_texts(["a screw"]).shape == (1, 1024)
    with pytest.raises(AssetError, match="does not hold weights of open_clip's ViT-B-32"):
        load(tmp_path, model="ViT-B-32", pretrained=str(file))
