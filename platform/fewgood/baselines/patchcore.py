"""PatchCore: distance of each patch to a memory bank of good patches (Roth et al. 2022, arXiv 2106.08265).

Network, embedding, nearest neighbours, image score and map are anomalib's `PatchcoreModel`; ours is that each image is
embedded once, that test embeddings can be kept for other trials, and that the memory bank has a fixed capacity.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fewgood.baselines.anomalib_parts import PatchcoreModel
from fewgood.baselines.backbone import expect_layers, load_weights
from fewgood.baselines.coreset import k_center_greedy
from fewgood.baselines.detection import Context
from fewgood.baselines.images import batches
from fewgood.baselines.registry import PatchcoreOptions
from fewgood.baselines.seeding import seeded

__all__ = ["PatchCore"]

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
        self.provenance: dict[str, Any] = {
            "backbone": options.backbone,
            "weights_digest": digest,
            "layers": list(options.layers),
        }

    @torch.no_grad()
    def fit(self, train: Sequence[np.ndarray]) -> None:
        """Embed the training images and keep a coreset of their patches."""
        patches = []
        for place, embedding in self._embed(train):
            patches.append(self.model.reshape_embedding(embedding))
            self.context.progress("baseline fit", place.stop, len(train))
        everything = torch.vstack(patches)
        count = self._capacity(len(everything))
        bank = everything
        if count < len(everything):
            # Seeded here again, so that the picks do not depend on what building the network drew.
            with seeded(self.context.seed, self.context.device):
                bank = everything[k_center_greedy(everything, count)]
        self.model.memory_bank = bank
        self.provenance |= {"memory_bank": len(bank), "patches": len(everything)}

    def score(self, test: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Image scores (N,) and maps (N, size, size)."""
        size = self.options.image_size
        scores = np.empty(len(test), np.float64)
        maps = np.empty((len(test), size, size), np.float32)
        for place, embedding in self._test_embeddings(test):
            found, found_maps = self._score(embedding)
            scores[place], maps[place] = found.cpu().numpy(), found_maps.cpu().numpy()
            self.context.progress("baseline score", place.stop, len(test))
        return scores, maps

    def _capacity(self, patches: int) -> int:
        ratio = self.options.coreset_sampling_ratio
        return min(patches, self.options.coreset_size) if ratio is None else max(1, int(patches * ratio))

    @torch.no_grad()
    def _embed(self, images: Sequence[np.ndarray]) -> Iterator[tuple[slice, torch.Tensor]]:
        """(place, (B, D, h, w)) for each batch; `PatchcoreModel.forward` up to its embedding."""
        options = self.options
        for place, batch in batches(
            images, options.image_size, options.batch_size, normalize=True, device=self.context.device
        ):
            features = self.model.feature_extractor(batch)
            pooled = {layer: self.model.feature_pooler(feature) for layer, feature in features.items()}
            yield place, self.model.generate_embedding(pooled)

    def _test_embeddings(self, test: Sequence[np.ndarray]) -> Iterator[tuple[slice, torch.Tensor]]:
        cache, digest = self.context.cache, self.context.test_digest
        if cache is None or digest is None:
            yield from self._embed(test)
            return
        key = {
            "kind": "patchcore-embeddings",
            "backbone": self.options.backbone,
            "weights_digest": self.provenance["weights_digest"],
            "layers": list(self.options.layers),
            "image_size": self.options.image_size,
            "test_digest": digest,
            "precision": "float32",
        }
        kept = cache.get(key, lambda: self._all_embeddings(test))["embeddings"]
        step = self.options.batch_size
        for start in range(0, len(test), step):
            place = slice(start, min(start + step, len(test)))
            yield place, torch.from_numpy(np.array(kept[place])).to(self.context.device)

    def _all_embeddings(self, test: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """{"embeddings": (N, D, h, w) float32} of the test images."""
        kept: np.ndarray | None = None
        for place, embedding in self._embed(test):
            if kept is None:
                kept = np.empty((len(test), *embedding.shape[1:]), np.float32)
            kept[place] = embedding.cpu().numpy()
            self.context.progress("baseline embed", place.stop, len(test))
        assert kept is not None, "score is called with at least one image"
        return {"embeddings": kept}

    @torch.no_grad()
    def _score(self, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`PatchcoreModel.forward` from the embedding on: scores (B,), maps (B, size, size)."""
        batch, _, height, width = embedding.shape
        rows = self.model.reshape_embedding(embedding)
        distances, locations = self.model.nearest_neighbors(embedding=rows, n_neighbors=1)
        distances, locations = distances.reshape(batch, -1), locations.reshape(batch, -1)
        scores = self.model.compute_anomaly_score(distances, locations, rows)
        size = (self.options.image_size, self.options.image_size)
        maps = self.model.anomaly_map_generator(distances.reshape(batch, 1, height, width), size)
        return scores, maps.squeeze(1)
