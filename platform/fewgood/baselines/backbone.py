"""Pretrained feature extractors: Lite0 from PyPI without a download, any other timm network from timm's source."""

from __future__ import annotations

import difflib
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch

from fewgood.baselines.registry import LITE0
from fewgood.embedding.files import tensor_digest
from fewgood.embedding.lite0 import lite0_digest, lite0_state_dict
from fewgood.errors import AssetError, SpecError

__all__ = ["expect_layers", "layers_by_stride", "load_weights"]

logger = logging.getLogger(__name__)


def layers_by_stride(backbone: str) -> Mapping[int, str]:
    """The feature modules that timm offers for a network.

    Args:
        backbone: A timm model name.

    Returns:
        Output stride (pixels) to module name; of several modules with the same stride the last, as timm orders them.

    Raises:
        SpecError: timm has no such model, or it has no feature maps.
    """
    name = backbone.partition(".")[0]
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=1)
        hint = f", did you mean {close[0]}?" if close else ""
        raise SpecError(
            f"baseline.backbone is {backbone!r}, which timm does not have{hint}; allowed is {LITE0} or any timm model name"
        )
    try:
        network = timm.create_model(backbone, pretrained=False, features_only=True)
    except (RuntimeError, AttributeError, TypeError, ValueError) as error:
        raise SpecError(
            f"baseline.backbone {backbone} gives no feature maps in timm ({_one_line(error)}); "
            f"use {LITE0} or a convolutional network"
        ) from error
    return {int(info["reduction"]): str(info["module"]) for info in network.feature_info.get_dicts()}


def load_weights(extractor: Any, backbone: str) -> str:
    """Give an untrained anomalib `TimmFeatureExtractor` its pretrained weights.

    Args:
        extractor: Made with `pre_trained=False`; changed in place and put into evaluation mode.
        backbone: The timm name it was made with.

    Returns:
        The digest of the weights, 64 hexadecimal characters.

    Raises:
        AssetError: The weights are neither built in nor in timm's local cache, and the hub cannot be reached.
    """
    network = extractor.feature_extractor
    if backbone == LITE0:
        weights, digest = lite0_state_dict(), lite0_digest()
    else:
        weights = _hub_weights(backbone)
        digest = tensor_digest(weights)
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in weights and not name.endswith("num_batches_tracked")]
    if missing:
        raise AssetError(
            f"the weights of {backbone} lack {missing[0]} and {len(missing) - 1} more; clear timm's cache and retry"
        )
    network.load_state_dict({name: weights[name] for name in wanted if name in weights}, strict=False)
    extractor.eval()
    for parameter in extractor.parameters():
        parameter.requires_grad_(False)
    return digest


def _hub_weights(backbone: str) -> dict[str, torch.Tensor]:
    """The state dictionary of timm's pretrained feature network."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = timm.create_model(backbone, pretrained=True, features_only="vit" not in backbone.lower())
    except Exception as error:  # each hub client has its own exceptions, all with the same meaning for the user
        raise AssetError(
            f"the weights of baseline.backbone {backbone} are not on this machine and could not be fetched "
            f"({_one_line(error)}); place them in timm's cache (HF_HOME) or use {LITE0}, which needs no download"
        ) from error
    return dict(model.state_dict())


def _one_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:120]}" if text else type(error).__name__


def expect_layers(extractor: Any, layers: Sequence[str]) -> None:
    """Refuse an extractor that silently dropped a layer, as anomalib's does for names that it does not find."""
    if list(extractor.layers) != list(layers):
        raise SpecError(
            f"baseline.layers is {', '.join(layers)}, but the backbone only has {', '.join(extractor.layers)}"
        )
