"""EfficientAd's teacher without its download: a PDN distilled from Lite0 on photographs of textures, once per machine.

Paper (arXiv 2303.14535, section 3.1): the patch description network learns the features of a deep ImageNet network on
ImageNet images, by mean squared error against channel-normalised features. Ours: the deep network is Lite0 and the
images are crops of scikit-image's own photographs (brick, gravel, grass), recoloured at random so that the
network meets colour.
"""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as transforms

from fewgood.baselines.anomalib_parts import (
    MediumPatchDescriptionNetwork,
    SmallPatchDescriptionNetwork,
    TimmFeatureExtractor,
)
from fewgood.baselines.backbone import load_weights
from fewgood.baselines.images import IMAGENET_MEAN, IMAGENET_STD
from fewgood.baselines.registry import LITE0, LITE0_LAYERS
from fewgood.embedding.files import exclusive, tensor_digest, write_atomically
from fewgood.embedding.lite0 import lite0_digest
from fewgood.progress import Progress
from fewgood.specs import digest

__all__ = ["build_pdn", "pdn_teacher", "texture_crops"]

logger = logging.getLogger(__name__)

_VERSION = 1
"""Part of the cached teacher's name: raise it when anything in this file changes the weights."""
_SEED = 20230326
_CROP = 128
_BATCH = 8
_LEARNING_RATE = 1e-3
_PHOTOGRAPHS = ("brick.png", "gravel.png", "grass.png")
_LAYERS = (LITE0_LAYERS[8], LITE0_LAYERS[16])
_BORDER = 4
"""Positions of stride 4 that an unpadded PDN loses at each side."""


def build_pdn(model_size: str, out_channels: int, width: float) -> nn.Module:
    """Anomalib's patch description network with its hidden channels scaled.

    Args:
        model_size: "small" or "medium".
        out_channels: Channels of the output map.
        width: Factor on the hidden channels, 1 for the published network.

    Returns:
        A network from (B, 3, H, W) in [0, 1] to (B, out_channels, ceil(H/4) - 8, ceil(W/4) - 8).
    """
    kind = SmallPatchDescriptionNetwork if model_size == "small" else MediumPatchDescriptionNetwork
    network: nn.Module = kind(out_channels=out_channels, padding=False)
    if width == 1:
        return network
    names = [name for name, module in network.named_children() if isinstance(module, nn.Conv2d)]
    before, ending = 3, {"conv4"} if model_size == "small" else {"conv5", "conv6"}
    for name in names:
        old: Any = getattr(network, name)
        after = out_channels if name in ending else max(8, round(old.out_channels * width))
        setattr(network, name, nn.Conv2d(before, after, old.kernel_size, old.stride, old.padding))
        before = after
    return network


def pdn_teacher(
    home: Path,
    *,
    model_size: str,
    out_channels: int,
    width: float,
    steps: int,
    device: torch.device,
    progress: Progress,
) -> tuple[nn.Module, str]:
    """The distilled teacher, built on first use and kept in `home/models/efficient_ad/`.

    Args:
        home: Where built assets are kept.
        model_size: "small" or "medium".
        out_channels: Channels of the teacher's output.
        width: Factor on the hidden channels.
        steps: Optimiser steps of the distillation.
        device: Where it is built and returned.
        progress: Told about each step of a build.

    Returns:
        The frozen teacher, and the digest of its weights.

    Raises:
        AssetError: Lite0's package is not installed.
        StoreError: `home` cannot be written.
    """
    recipe = {
        "version": _VERSION, "model_size": model_size, "out_channels": out_channels, "width": width, "steps": steps,
        "backbone": LITE0, "weights_digest": lite0_digest(),
    }  # fmt: skip
    folder = home / "models" / "efficient_ad" / digest(recipe)[:16]
    weights, manifest = folder / "teacher.safetensors", folder / "manifest.json"
    network = build_pdn(model_size, out_channels, width)
    with exclusive(folder):
        # The manifest is written last: where it exists the weights are complete.
        if not manifest.is_file():
            logger.info("distilling EfficientAd's teacher from %s into %s", LITE0, folder)
            built = _distil(network, out_channels, steps, device, progress)
            write_atomically(weights, save(built))
            described = {**recipe, "teacher_digest": tensor_digest(built)}
            write_atomically(manifest, json.dumps(described, indent=2, sort_keys=True).encode())
    tensors = load(weights.read_bytes())
    network.load_state_dict(tensors)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.eval().to(device), tensor_digest(tensors)


def texture_crops(count: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Random crops of scikit-image's texture photographs, scaled, mirrored and recoloured.

    Args:
        count: Crops to draw.
        size: Side of a crop, pixels.
        generator: Source of every random choice.

    Returns:
        (count, 3, size, size) float32 in [0, 1].
    """
    photographs = _photographs()
    crops = []
    for _ in range(count):
        photograph = photographs[int(torch.randint(len(photographs), (1,), generator=generator))]
        numbers = torch.rand(12, generator=generator)
        side = round(96 + float(numbers[0]) * (min(photograph.shape[-2:]) - 96))
        top = round(float(numbers[1]) * (photograph.shape[-2] - side))
        left = round(float(numbers[2]) * (photograph.shape[-1] - side))
        crop = transforms.resized_crop(photograph, top, left, side, side, [size, size], antialias=True)
        if numbers[3] < 0.5:
            crop = crop.flip(-1)
        if numbers[4] < 0.5:
            crop = crop.flip(-2)
        # A third stay grey, as EfficientAd greys a third of its ImageNet images; the others are tinted.
        if numbers[5] > 0.3:
            gain, offset = 0.6 + 0.8 * numbers[6:9, None, None], 0.3 * (numbers[9:12, None, None] - 0.5)
            crop = crop * gain + offset
        crops.append(crop.clamp(0, 1))
    return torch.stack(crops)


@functools.cache
def _photographs() -> tuple[torch.Tensor, ...]:
    """The photographs, each (3, H, W) float32 in [0, 1]."""
    import skimage
    from PIL import Image

    folder = Path(skimage.__file__).parent / "data"
    found = []
    for name in _PHOTOGRAPHS:
        with Image.open(folder / name) as image:
            found.append(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255)
    return tuple(found)


def _distil(
    network: nn.Module, out_channels: int, steps: int, device: torch.device, progress: Progress
) -> dict[str, torch.Tensor]:
    """Train a PDN to give Lite0's features; returns its weights on the CPU."""
    generator = torch.Generator().manual_seed(_SEED)
    _initialise(network, generator)
    extractor: Any = TimmFeatureExtractor(backbone=LITE0, layers=_LAYERS, pre_trained=False)
    load_weights(extractor, LITE0)
    extractor.to(device)
    network.to(device).train()
    have = sum(extractor.out_dims)
    tall = torch.linalg.qr(torch.randn(max(have, out_channels), min(have, out_channels), generator=generator)).Q
    projection = (tall if out_channels >= have else tall.T).to(device)

    def target(crops: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            maps = list(extractor(transforms.normalize(crops, list(IMAGENET_MEAN), list(IMAGENET_STD))).values())
            grid = [crops.shape[-1] // 4, crops.shape[-1] // 4]
            joined = torch.cat([F.interpolate(found, size=grid, mode="bilinear") for found in maps], dim=1)
            inner = joined[:, :, _BORDER:-_BORDER, _BORDER:-_BORDER]
            return torch.einsum("oc,bchw->bohw", projection, inner)

    sample = torch.cat([target(texture_crops(_BATCH, _CROP, generator).to(device)) for _ in range(4)])
    mean, std = sample.mean(dim=(0, 2, 3), keepdim=True), sample.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-6)
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=max(steps, 2))
    for step in range(steps):
        crops = texture_crops(_BATCH, _CROP, generator).to(device)
        loss = F.mse_loss(network(crops), (target(crops) - mean) / std)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress("efficient_ad teacher", step + 1, steps, f"loss {float(loss.detach()):.3f}")
    logger.info("teacher distilled: loss %.3f", float(loss.detach()))
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def _initialise(network: nn.Module, generator: torch.Generator) -> None:
    """He initialisation from a generator of our own, so that the teacher does not depend on who asks first."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
            with torch.no_grad():
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * (2 / fan) ** 0.5)
                if module.bias is not None:
                    module.bias.zero_()
