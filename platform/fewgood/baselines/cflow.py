"""CFLOW-AD: likelihood of features under conditional normalising flows (Gudovskiy et al. 2022, arXiv 2107.12571).

Networks, likelihood and map are anomalib's `CflowModel`; the loop repeats `Cflow.training_step` of
`anomalib/models/image/cflow/lightning_model.py`. What differs from the published schedule (50 epochs, lr 1e-4):
the number of optimiser steps is fixed instead of the epochs, so that a larger training set is not also trained longer,
and small, with a learning rate to match (at .0002 and 500 steps 16 more real images taught the flows little; docs/LOG.md);
features of the frozen encoder are computed once; a layer with fewer vectors than a fibre batch is one batch, where
anomalib refuses it. The likelihoods are scaled by their maximum over the whole test set, as the authors do; anomalib
does it per batch, which makes scores depend on the batch size. Maps and scores are -log(p) of the summed probability p
where anomalib has max(p) - p: the same order, but small p do not round to ties (one-shot, every image's score was equal).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from fewgood.baselines.anomalib_parts import CflowModel, get_logp, positional_encoding_2d
from fewgood.baselines.backbone import expect_layers, load_weights
from fewgood.baselines.detection import Context
from fewgood.baselines.frozen import FrozenFeatures
from fewgood.baselines.registry import CflowOptions
from fewgood.errors import BaselineError

__all__ = ["CFlow"]

logger = logging.getLogger(__name__)

_SCORING_ROWS = 8192
"""Feature vectors decoded at a time when scoring; rows are independent, so this only bounds memory."""
_SMALLEST = 1e-300
"""Summed probabilities below this are alike."""


class CFlow:
    """CFLOW-AD with anomalib's model and a fixed number of optimiser steps."""

    def __init__(self, options: CflowOptions, context: Context) -> None:
        self.options, self.context = options, context
        self.model: Any = CflowModel(
            backbone=options.backbone,
            layers=options.layers,
            pre_trained=False,
            fiber_batch_size=options.fiber_batch_size,
            condition_vector=options.condition_vector,
            coupling_blocks=options.coupling_blocks,
            clamp_alpha=options.clamp_alpha,
            permute_soft=options.permute_soft,
        )
        expect_layers(self.model.encoder, options.layers)
        digest = load_weights(self.model.encoder, options.backbone)
        self.model.to(context.device)
        self.features = FrozenFeatures(
            self.model.encoder,
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

    def fit(self, train: Sequence[np.ndarray]) -> None:
        """Train the flows on the training images' feature vectors."""
        found, step = self.features.train_in_batches(train, self.options.batch_size), self.options.batch_size
        groups = [
            self._vectors({layer: maps[start : start + step] for layer, maps in found.items()})
            for start in range(0, len(train), step)
        ]
        per_epoch = sum(self._fibre_batches(len(rows)) for group in groups for rows, _ in group)
        epochs = max(1, round(self.options.steps / per_epoch))
        parameters = [parameter for decoder in self.model.decoders for parameter in decoder.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=self.options.lr)
        self.model.decoders.train()
        for epoch in range(epochs):
            total = 0.0
            for index in torch.randperm(len(groups)).tolist():
                for layer, (rows, conditions) in enumerate(groups[index]):
                    total += self._train_layer(layer, rows, conditions, optimizer)
            if not np.isfinite(total):
                raise BaselineError(
                    f"cflow's loss is {total} in epoch {epoch + 1}; lower baseline.lr ({self.options.lr})"
                )
            self.context.progress("baseline fit", epoch + 1, epochs, f"loss {total / per_epoch:.3f}")
        self.provenance |= {"epochs": epochs, "steps": epochs * per_epoch, "loss": total / per_epoch}

    def score(self, test: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Image scores (N,), the largest value of each map, and maps (N, size, size)."""
        kept: list[list[torch.Tensor]] = [[] for _ in self.options.layers]
        sizes: list[tuple[int, ...]] = []
        self.model.decoders.eval()
        for place, found in self.features.test(test, self.options.batch_size):
            for layer, (rows, conditions) in enumerate(self._vectors(found)):
                kept[layer].append(self._log_likelihood(layer, rows, conditions))
            sizes = [tuple(found[layer].shape[-2:]) for layer in self.options.layers]
            self.context.progress("baseline score", place.stop, len(test))
        likelihoods = [torch.cat(parts).reshape(len(test), *size) for parts, size in zip(kept, sizes, strict=True)]
        maps = self._maps(likelihoods)
        return maps.max(axis=(1, 2)).astype(np.float64), maps

    def _fibre_batches(self, rows: int) -> int:
        return max(1, rows // self.options.fiber_batch_size)

    def _vectors(self, maps: Mapping[str, torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Of each layer's maps (B, C, h, w) the feature vectors (B*h*w, C) and their positions (B*h*w, P)."""
        group = []
        for layer in self.options.layers:
            found = maps[layer].to(self.context.device)
            count, channels, height, width = found.shape
            positions = positional_encoding_2d(self.options.condition_vector, height, width).to(found.device)
            conditions = positions.permute(1, 2, 0).reshape(-1, self.options.condition_vector).repeat(count, 1)
            group.append((found.permute(0, 2, 3, 1).reshape(-1, channels), conditions))
        return group

    def _train_layer(self, layer: int, rows: torch.Tensor, conditions: torch.Tensor, optimizer: Any) -> float:
        """One pass over a batch's vectors of one layer; returns the sum of the steps' losses."""
        size, count = self.options.fiber_batch_size, self._fibre_batches(len(rows))
        order = torch.randperm(len(rows)).to(rows.device)
        total = 0.0
        for number in range(count):
            # The last fibre batch takes the remainder, as in anomalib.
            stop = (number + 1) * size if number < count - 1 else len(rows)
            chosen = order[number * size : stop]
            optimizer.zero_grad()
            latent, log_determinant = self.model.decoders[layer](rows[chosen], [conditions[chosen]])
            log_prob = get_logp(rows.shape[1], latent, log_determinant) / rows.shape[1]
            loss = -F.logsigmoid(log_prob).mean()
            loss.backward()
            optimizer.step()
            total += float(loss.detach())
        return total

    @torch.no_grad()
    def _log_likelihood(self, layer: int, rows: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Log-likelihood per dimension of each vector, (B*h*w,), on the CPU."""
        found = []
        for part, condition in zip(rows.split(_SCORING_ROWS), conditions.split(_SCORING_ROWS), strict=True):
            latent, log_determinant = self.model.decoders[layer](part, [condition])
            found.append((get_logp(rows.shape[1], latent, log_determinant) / rows.shape[1]).cpu())
        return torch.cat(found)

    def _maps(self, likelihoods: Sequence[torch.Tensor]) -> np.ndarray:
        """`AnomalyMapGenerator.compute_anomaly_map` over all images (N, h, w) per layer, a few images at a time."""
        size, count = self.options.image_size, len(likelihoods[0])
        maps = np.empty((count, size, size), np.float32)
        tops = [likelihood.max() for likelihood in likelihoods]
        for start in range(0, count, self.options.batch_size):
            part = slice(start, min(start + self.options.batch_size, count))
            joined = torch.zeros((part.stop - part.start, 1, size, size), dtype=torch.float64)
            for likelihood, top in zip(likelihoods, tops, strict=True):
                probabilities = torch.exp((likelihood[part] - top).double()).unsqueeze(1)
                joined += F.interpolate(probabilities, size=(size, size), mode="bilinear", align_corners=True)
            maps[part] = -joined.clamp_min(_SMALLEST).log().squeeze(1).float().numpy()
        return maps
