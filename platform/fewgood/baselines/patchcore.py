"""PatchCore: distance of each patch to a memory bank of good patches (Roth et al. 2022, arXiv 2106.08265).

Network, embedding, nearest neighbours and image score are anomalib's `PatchcoreModel`, and so is the map but for the order in
which its blur adds up (a quarter of a trial's time where the features are kept). Ours is that each image goes
through the backbone once, that its features can be kept for other trials, and that the memory bank has a fixed capacity.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from fewgood.baselines.anomalib_parts import PatchcoreModel
from fewgood.baselines.backbone import expect_layers, load_weights
from fewgood.baselines.coreset import k_center_greedy
from fewgood.baselines.detection import Context
from fewgood.baselines.frozen import FrozenFeatures
from fewgood.baselines.registry import PatchcoreOptions
from fewgood.baselines.seeding import seeded

__all__ = ["PatchCore", "embed_patches"]

logger = logging.getLogger(__name__)


class PatchCore:
    """PatchCore with anomalib's model; differs from it only in the capacity of the memory bank (`coreset_size`)."""

    def __init__(self, options: PatchcoreOptions, context: Context) -> None:
        self.options, self.context = options, context
        self.model: Any = PatchcoreModel(
            layers=options.layers, backbone=options.backbone, pre_trained=False, num_neighbors=options.num_neighbors
        )
        expect_layers(self.model.feature_extractor, options.layers)
        digest = load_weights(self.model.feature_extractor, options.backbone)
        self.model.eval().to(context.device)
        self.features = FrozenFeatures(
            self.model.feature_extractor,
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
        }

    @torch.no_grad()
    def fit(self, train: Sequence[np.ndarray]) -> None:
        """Embed the training images and keep a coreset of their patches."""
        found, step = self.features.train(train), self.options.batch_size
        patches = []
        for start in range(0, len(train), step):
            part = {layer: maps[start : start + step].to(self.context.device) for layer, maps in found.items()}
            patches.append(self.model.reshape_embedding(self._embedding(part)))
            self.context.progress("baseline fit", min(start + step, len(train)), len(train))
        everything = torch.vstack(patches)
        count = self._capacity(len(everything))
        bank = everything
        if count < len(everything):
            # Seeded here again, so that the picks do not depend on what building the network drew.
            with seeded(self.context.seed, self.context.device):
                bank = everything[k_center_greedy(everything, count)]
        self.model.memory_bank = bank
        self.provenance |= {"memory_bank": len(bank), "patches": len(everything)}

    @torch.no_grad()
    def score(self, test: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Image scores (N,) and maps (N, size, size)."""
        size = self.options.image_size
        scores = np.empty(len(test), np.float64)
        maps = np.empty((len(test), size, size), np.float32)
        for place, backbone_maps in self.features.test(test, self.options.batch_size):
            found, found_maps = self._score(self._embedding(backbone_maps))
            scores[place], maps[place] = found.cpu().numpy(), found_maps.cpu().numpy()
            self.context.progress("baseline score", place.stop, len(test))
        return scores, maps

    def _capacity(self, patches: int) -> int:
        ratio = self.options.coreset_sampling_ratio
        return min(patches, self.options.coreset_size) if ratio is None else max(1, int(patches * ratio))

    def _embedding(self, maps: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(B, D, h, w) from the backbone's maps; `PatchcoreModel.forward` between its extractor and its bank."""
        pooled = {layer: self.model.feature_pooler(found) for layer, found in maps.items()}
        embedding: torch.Tensor = self.model.generate_embedding(pooled)
        return embedding

    def _score(self, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`PatchcoreModel.forward` from the embedding on: scores (B,), maps (B, size, size)."""
        batch, _, height, width = embedding.shape
        rows = self.model.reshape_embedding(embedding)
        distances, locations = self.model.nearest_neighbors(embedding=rows, n_neighbors=1)
        distances, locations = distances.reshape(batch, -1), locations.reshape(batch, -1)
        scores = self.model.compute_anomaly_score(distances, locations, rows)
        size = (self.options.image_size, self.options.image_size)
        maps = functional.interpolate(distances.reshape(batch, 1, height, width), size=size)
        return scores, self._blurred(maps).squeeze(1)

    def _blurred(self, maps: torch.Tensor) -> torch.Tensor:
        """`AnomalyMapGenerator.blur` of (B, 1, H, W) as two passes: its kernel of 33 x 33 is a product of two of 33."""
        blur = self.model.anomaly_map_generator.blur
        column, row = blur.kernel.sum(dim=3, keepdim=True), blur.kernel.sum(dim=2, keepdim=True)
        padded = functional.pad(maps, blur.padding_shape, mode=blur.border_type)
        return functional.conv2d(functional.conv2d(padded, column), row)


@torch.no_grad()
def embed_patches(images: Sequence[np.ndarray], *, home: Path, device: torch.device) -> np.ndarray:
    """The patches of images as PatchCore's defaults embed them, each image in a pass of its own.

    Args:
        images: N of them, uint8 (H, W, 3) RGB, of any sizes.
        home: Where built assets are kept.
        device: Where the network runs.

    Returns:
        (N, L, D) float32: L places of a square grid, row by row.

    Raises:
        AssetError: The backbone's weights are not on this machine.
    """
    options = PatchcoreOptions()
    with seeded(0, device):
        detector = PatchCore(options, Context(seed=0, home=home, device=device))
        found, parts = detector.features.train(images), []
        for start in range(0, len(images), options.batch_size):
            maps = {layer: all_[start : start + options.batch_size].to(device) for layer, all_ in found.items()}
            parts.append(detector._embedding(maps).flatten(2).transpose(1, 2).cpu().numpy())
    return np.concatenate(parts)
