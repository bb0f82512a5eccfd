"""EfficientAd: a student that cannot follow its teacher on defects (Batzner et al. 2024, arXiv 2303.14535).

Student, autoencoder, losses and maps are anomalib's `EfficientAdModel`; the loop repeats `EfficientAd.training_step`,
`configure_optimizers`, `teacher_channel_mean_std` and `map_norm_quantiles` of
`anomalib/models/image/efficient_ad/lightning_model.py`, with one image per step.

Ours, because the published parts need downloads and a GPU: the teacher is distilled from Lite0
(`fewgood.baselines.pdn_teacher`), crops of texture photographs take the place of ImageNette, the PDN's hidden channels
are a quarter, its output has 64 channels, and 150 steps at lr 1e-3 take the place of 70,000 at 1e-4. The published
values are `width=1`, `teacher_out_channels=384`, `steps=70000` and `lr=1e-4`. Quantiles of the maps come from the
training images, since a support set of one has none to spare for validation.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fewgood.baselines.anomalib_parts import EfficientAdModel, EfficientAdModelSize, reduce_tensor_elems
from fewgood.baselines.detection import Context
from fewgood.baselines.images import batches, to_batch
from fewgood.baselines.pdn_teacher import build_pdn, pdn_teacher, texture_crops
from fewgood.baselines.registry import LITE0, EfficientAdOptions
from fewgood.errors import BaselineError

__all__ = ["EfficientAd"]

logger = logging.getLogger(__name__)


class EfficientAd:
    """EfficientAd with anomalib's losses and maps on networks that a CPU can train."""

    def __init__(self, options: EfficientAdOptions, context: Context) -> None:
        self.options, self.context = options, context
        channels = options.teacher_out_channels
        teacher, teacher_digest = pdn_teacher(
            context.home,
            model_size=options.model_size,
            out_channels=channels,
            width=options.width,
            steps=options.teacher_steps,
            device=context.device,
            progress=context.progress,
        )
        # The teacher may have been built just now or long ago: what is drawn next must not depend on it.
        torch.manual_seed(int(np.random.SeedSequence([context.seed, 1]).generate_state(1)[0]))
        self.model: Any = EfficientAdModel(
            teacher_out_channels=channels, model_size=EfficientAdModelSize(options.model_size)
        )
        self.model.teacher = teacher
        self.model.student = build_pdn(options.model_size, 2 * channels, options.width)
        self.model.to(context.device)
        self.provenance: dict[str, Any] = {
            "backbone": f"pdn-{options.model_size} distilled from {LITE0}",
            "weights_digest": teacher_digest,
        }

    def fit(self, train: Sequence[np.ndarray]) -> None:
        """Train student and autoencoder, then set the scale of the two maps."""
        options, model, device = self.options, self.model, self.context.device
        model.mean_std.update(self._teacher_statistics(train))
        trained = [*model.student.parameters(), *model.ae.parameters()]
        optimizer = torch.optim.Adam(trained, lr=options.lr, weight_decay=options.weight_decay)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=max(1, int(0.95 * options.steps)), gamma=0.1)
        penalty = torch.Generator().manual_seed(
            int(np.random.SeedSequence([self.context.seed, 2]).generate_state(1)[0])
        )
        model.train()
        model.teacher.eval()
        order: list[int] = []
        for step in range(options.steps):
            order = order or torch.randperm(len(train)).tolist()
            batch = to_batch([train[order.pop()]], options.image_size, normalize=False).to(device)
            other = texture_crops(1, options.image_size, penalty).to(device)
            loss: torch.Tensor = sum(model(batch=batch, batch_imagenet=other))
            if not torch.isfinite(loss):
                raise BaselineError(
                    f"efficient_ad's loss is {float(loss)} in step {step + 1}; lower baseline.lr ({options.lr})"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            self.context.progress("baseline fit", step + 1, options.steps, f"loss {float(loss.detach()):.3f}")
        model.eval()
        model.quantiles.update(self._quantiles(train))
        self.provenance["loss"] = float(loss.detach())

    @torch.no_grad()
    def score(self, test: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Image scores (N,), the largest value of each map, and maps (N, size, size)."""
        size = self.options.image_size
        maps = np.empty((len(test), size, size), np.float32)
        scores = np.empty(len(test), np.float64)
        for place, batch in self._batches(test):
            found = self.model(batch)
            maps[place] = found.anomaly_map.squeeze(1).cpu().numpy()
            scores[place] = found.pred_score.reshape(-1).cpu().numpy()
            self.context.progress("baseline score", place.stop, len(test))
        return scores, maps

    def _batches(self, images: Sequence[np.ndarray]) -> Any:
        return batches(
            images, self.options.image_size, self.options.batch_size, normalize=False, device=self.context.device
        )

    @torch.no_grad()
    def _teacher_statistics(self, train: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """Mean and deviation of each teacher channel over the training images, (1, C, 1, 1)."""
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for _, batch in self._batches(train):
            found = self.model.teacher(batch).double()
            count += found[:, 0].numel()
            total = total + found.sum(dim=(0, 2, 3))
            squares = squares + (found**2).sum(dim=(0, 2, 3))
        mean = total / count
        # A channel that never changes on these images would divide by nothing.
        std = (squares / count - mean**2).clamp_min(1e-12).sqrt()
        return {"mean": mean.float()[None, :, None, None], "std": std.float()[None, :, None, None]}

    @torch.no_grad()
    def _quantiles(self, train: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """The 90 % and 99.5 % quantiles of both maps over the training images."""
        pairs = [self.model.get_maps(batch, normalize=False) for _, batch in self._batches(train)]
        found: dict[str, torch.Tensor] = {}
        for index, name in enumerate(("st", "ae")):
            values = reduce_tensor_elems(torch.cat([pair[index].flatten() for pair in pairs]))
            found[f"qa_{name}"], found[f"qb_{name}"] = torch.quantile(values, 0.9), torch.quantile(values, 0.995)
        return found
