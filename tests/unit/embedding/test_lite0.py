from __future__ import annotations

import timm
import torch
from safetensors.torch import load_file

from fewgood.embedding.files import tensor_digest
from fewgood.embedding.lite0 import LITE0_MEAN, LITE0_MODEL, LITE0_STD, lite0_checkpoint, lite0_digest, lite0_state_dict


def test_weights_recognise_a_photograph():
    from skimage.data import coffee

    model = timm.create_model(LITE0_MODEL, pretrained=False)
    model.load_state_dict(lite0_state_dict())
    image = torch.from_numpy(coffee()).permute(2, 0, 1)[None].float() / 255
    image = torch.nn.functional.interpolate(image[..., 100:500], (224, 224), mode="bicubic", antialias=True)
    image = (image - torch.tensor(LITE0_MEAN)[:, None, None]) / torch.tensor(LITE0_STD)[:, None, None]
    with torch.inference_mode():
        probability = model.eval()(image).softmax(-1)[0]
    assert int(probability.argmax()) == 967  # espresso
    assert float(probability[967]) > 0.5


def test_checkpoint_holds_the_same_tensors_and_is_written_once(tmp_path):
    path = lite0_checkpoint(tmp_path)
    written = path.stat().st_mtime_ns
    assert tensor_digest(load_file(path)) == lite0_digest()
    assert lite0_checkpoint(tmp_path) == path
    assert path.stat().st_mtime_ns == written
    assert [item.name for item in path.parent.iterdir() if item.name != ".lock"] == [path.name]


def test_digest_sees_name_shape_and_value():
    base = {"a": torch.zeros(2, 3)}
    digests = {
        tensor_digest(base),
        tensor_digest({"b": torch.zeros(2, 3)}),
        tensor_digest({"a": torch.zeros(3, 2)}),
        tensor_digest({"a": torch.zeros(2, 3, dtype=torch.float16)}),
        tensor_digest({"a": torch.tensor([[0.0, 0, 0], [0, 0, 1e-30]])}),
    }
    assert len(digests) == 5
    assert tensor_digest({"a": torch.zeros(3, 2).T}) == tensor_digest(base)
