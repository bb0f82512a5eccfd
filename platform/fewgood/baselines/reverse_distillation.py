"""Reverse Distillation: a decoder restores a teacher's features (Deng and Li 2022, arXiv 2201.10703).

Bottleneck, decoder, loss and map are anomalib's; the loop repeats `ReverseDistillation.training_step` and
`configure_optimizers` of `anomalib/models/image/reverse_distillation/lightning_model.py` (Adam, lr 0.005, betas .5/.99).

Ours: anomalib's decoder exists for ResNets only. Any other backbone becomes a teacher of ResNet-18's shape: its maps at
strides 4, 8 and 16 are put onto 64, 128 and 256 channels by a fixed projection with orthonormal columns, which keeps
angles, and a ReLU, because the decoder ends in one. What differs from the published schedule (200 epochs of batches of
16): 100 steps of 8 images, the teacher's features of the training images are computed once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from fewgood.baselines.anomalib_parts import (
    AnomalyMapGenerationMode,
    ReverseDistillationLoss,
    ReverseDistillationModel,
    TimmFeatureExtractor,
)
from fewgood.baselines.backbone import expect_layers, load_weights
from fewgood.baselines.detection import Context
from fewgood.baselines.frozen import FrozenFeatures
from fewgood.baselines.registry import ReverseDistillationOptions
from fewgood.errors import BaselineError, SpecError

__all__ = ["ReverseDistillation"]

logger = logging.getLogger(__name__)

RESNETS = frozenset(
    {
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
        "wide_resnet50_2", "wide_resnet101_2",
    }
)  # fmt: skip
"""Backbones for which anomalib has a decoder."""

_SHAPE = "resnet18"
_CHANNELS = (64, 128, 256)
_STRIDES = (4, 8, 16)
_PROJECTION_SEED = 20240306
"""The teacher is part of the method, so its projection does not change with the run's seed."""


class ProjectedTeacher(nn.Module):
    """A frozen backbone whose three maps are projected onto the channels of ResNet-18."""

    def __init__(self, extractor: Any, channels: Sequence[int]) -> None:
        super().__init__()
        self.extractor = extractor
        generator = torch.Generator().manual_seed(_PROJECTION_SEED)
        for index, (have, want) in enumerate(zip(channels, _CHANNELS, strict=True)):
            # QR of a tall matrix has orthonormal columns; a wide projection gets orthonormal rows instead.
            tall = torch.linalg.qr(torch.randn(max(have, want), min(have, want), generator=generator)).Q
            self.register_buffer(f"projection{index}", (tall if want >= have else tall.T).contiguous())

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Three maps, non-negative: (B, 64, H/4, W/4), (B, 128, H/8, W/8), (B, 256, H/16, W/16)."""
        return self.project(self.extractor(images))

    def project(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """As `forward`, from the backbone's maps on."""
        return {
            layer: torch.einsum("oc,bchw->bohw", getattr(self, f"projection{index}"), found).relu()
            for index, (layer, found) in enumerate(maps.items())
        }


class ReverseDistillation:
    """Reverse Distillation with anomalib's model and, where needed, a projected teacher."""

    def __init__(self, options: ReverseDistillationOptions, context: Context) -> None:
        if len(options.layers) != len(_STRIDES):
            raise SpecError(f"baseline.layers has {len(options.layers)} layers, allowed is 3, at strides 4, 8 and 16")
        self.options, self.context = options, context
        native = options.backbone in RESNETS
        self.model: Any = ReverseDistillationModel(
            backbone=options.backbone if native else _SHAPE,
            input_size=(options.image_size, options.image_size),
            layers=options.layers if native else ("layer1", "layer2", "layer3"),
            anomaly_map_mode=AnomalyMapGenerationMode(options.anomaly_map_mode),
            pre_trained=False,
        )
        extractor = self.model.encoder if native else self._extractor()
        digest = load_weights(extractor, options.backbone)
        if not native:
            self.model.encoder = ProjectedTeacher(extractor, extractor.out_dims)
        self.model.to(context.device)
        self.features = FrozenFeatures(
            extractor,
            context,
            backbone=options.backbone,
            weights_digest=digest,
            layers=options.layers,
            image_size=options.image_size,
        )
        self.provenance: dict[str, Any] = {
            "backbone": options.backbone,
            "weights_digest": digest,
            "layers": list(options.layers),
            "teacher": "backbone" if native else f"projected onto {_SHAPE}",
        }

    def fit(self, train: Sequence[np.ndarray]) -> None:
        """Train bottleneck and decoder to restore the teacher's features of the training images."""
        options, model = self.options, self.model
        taught = self._taught(train)
        optimizer = torch.optim.Adam(
            [*model.decoder.parameters(), *model.bottleneck.parameters()], lr=options.lr, betas=(0.5, 0.99)
        )
        loss_of = ReverseDistillationLoss()
        model.train()
        for step, chosen in enumerate(_shuffled(len(train), options.batch_size, options.steps)):
            encoder = [layer[chosen].to(self.context.device) for layer in taught]
            loss = loss_of(encoder, model.decoder(model.bottleneck(encoder)))
            if not torch.isfinite(loss):
                raise BaselineError(
                    f"reverse_distillation's loss is {float(loss)} in step {step + 1}; lower baseline.lr ({options.lr})"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self.context.progress("baseline fit", step + 1, options.steps, f"loss {float(loss.detach()):.3f}")
        self.provenance["loss"] = float(loss.detach())

    @torch.no_grad()
    def score(self, test: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Image scores (N,), the largest value of each map, and maps (N, size, size)."""
        model, size = self.model, self.options.image_size
        maps = np.empty((len(test), size, size), np.float32)
        scores = np.empty(len(test), np.float64)
        model.eval()
        for place, backbone_maps in self.features.test(test, self.options.batch_size):
            # `ReverseDistillationModel.forward` in evaluation, from its encoder's maps on.
            encoder = self._teacher(backbone_maps)
            found = model.anomaly_map_generator(encoder, model.decoder(model.bottleneck(encoder)))
            maps[place] = found.squeeze(1).cpu().numpy()
            scores[place] = torch.amax(found, dim=(-2, -1)).reshape(-1).cpu().numpy()
            self.context.progress("baseline score", place.stop, len(test))
        return scores, maps

    def _extractor(self) -> Any:
        extractor = TimmFeatureExtractor(backbone=self.options.backbone, layers=self.options.layers, pre_trained=False)
        expect_layers(extractor, self.options.layers)
        strides = tuple(int(stride) for stride in extractor.reductions)
        if strides != _STRIDES:
            raise SpecError(
                f"baseline.layers of {self.options.backbone} have strides {', '.join(map(str, strides))}, allowed is "
                "4, 8, 16: Reverse Distillation's decoder has ResNet's shape"
            )
        return extractor

    def _teacher(self, maps: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """The teacher's three maps from the backbone's."""
        encoder = self.model.encoder
        return list((encoder.project(maps) if isinstance(encoder, ProjectedTeacher) else maps).values())

    @torch.no_grad()
    def _taught(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """The teacher's three maps of all images, (N, C, h, w), kept on the CPU."""
        self.model.eval()
        step = self.options.batch_size
        found = self.features.train_in_batches(images, step)
        parts = [
            self._teacher({layer: maps[start : start + step].to(self.context.device) for layer, maps in found.items()})
            for start in range(0, len(images), step)
        ]
        return [torch.cat([maps.cpu() for maps in layer]) for layer in zip(*parts, strict=True)]


def _shuffled(count: int, batch_size: int, steps: int) -> Iterator[torch.Tensor]:
    """`steps` index batches that go through all `count` images in a new order each time."""
    taken = 0
    while True:
        for chosen in torch.randperm(count).split(min(batch_size, count)):
            if taken == steps:
                return
            taken += 1
            yield chosen
