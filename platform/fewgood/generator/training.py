"""Training the variance-aware VQGAN on a few good images: the starting point, the loop, the files it leaves."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewgood.errors import FewgoodError, SpecError, StoreError
from fewgood.generator import checkpoint
from fewgood.generator.collective import Collective, check_split
from fewgood.generator.crops import check_images, crop_batch
from fewgood.generator.loop import History, run_steps
from fewgood.generator.network import Architecture, VarianceVQGAN
from fewgood.generator.trainer import Trainer
from fewgood.progress import Progress, silent
from fewgood.specs import GeneratorSpec

__all__ = [
    "LOSSES_FILE",
    "Start",
    "TrainingReport",
    "finish",
    "prepare",
    "read_report",
    "starting_point",
    "train_generator",
]

LOSSES_FILE = "losses.json"

Start = tuple[dict[str, Tensor] | None, Architecture]
"""The weights that a training starts from (None for random ones), and the architecture."""

_MEASURED_BATCHES = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """What a training did."""

    folder: Path
    steps: int
    seconds: float
    losses: History = field(repr=False)
    architecture: Architecture
    absolute: float
    """Mean absolute error of the averaged network on fresh crops, in gray levels of 255."""
    codes_used: int
    """Codebook entries that it used on them."""
    sigma: float
    """Mean latent standard deviation on them; 0 without a variance."""


def train_generator(
    images: Sequence[np.ndarray],
    spec: GeneratorSpec,
    *,
    seed: int,
    out: Path,
    device: torch.device,
    precision: str,
    progress: Progress | None = None,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
    micro_batch: int | None = None,
) -> TrainingReport:
    """Train a generator on a few good images.

    Args:
        images: uint8 (H, W, 3) RGB each, of any sizes.
        spec: What to train. With `init_from`, the checkpoint's architecture goes before the spec's.
        seed: Of all random numbers: equal arguments give equal bytes on one machine with one number of threads.
        out: An existing folder; gets `model.safetensors` (the averaged weights), `losses.json` and, last, `spec.json`.
        device: Where to compute.
        precision: "float32", or "bfloat16" for mixed precision.
        progress: Called about a hundred times.
        perceptual: Scalar distance of generated and original (B, 3, H, W) in [-1, 1]; None takes Lite0's features.
        micro_batch: Crops that go through the network at once, a divisor of `spec.batch_size`, for a batch that does
            not fit in memory; None takes it as a whole.

    Returns:
        What the training did.

    Raises:
        DataError: If the images are none, or not uint8 (H, W, 3).
        SpecError: If `init_from`, `crop` or `micro_batch` cannot be used.
        FewgoodError: If the training diverges; nothing is written then.
        StoreError: If `out` cannot hold the files.
    """
    started = time.monotonic()
    trainer = prepare(
        images,
        spec,
        start=starting_point(spec),
        seed=seed,
        device=device,
        precision=precision,
        perceptual=perceptual,
        micro_batch=micro_batch,
    )
    history: History = {}
    run_steps(trainer, images, history, progress=progress or silent)
    finish(trainer, images, history, out)
    return read_report(out, seconds=time.monotonic() - started)


def prepare(
    images: Sequence[np.ndarray],
    spec: GeneratorSpec,
    *,
    start: Start,
    seed: int,
    device: torch.device,
    precision: str,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
    micro_batch: int | None = None,
    workers: int = 1,
    collective: Collective | None = None,
) -> Trainer:
    """A trainer before its first step; `start` is what `starting_point` gave, the rest as in `train_generator`.

    Args:
        images: The training set.
        spec: What to train.
        start: Weights and architecture.
        seed: Of all random numbers.
        device: Where to compute.
        precision: "float32", or "bfloat16".
        perceptual: None takes Lite0's features.
        micro_batch: Crops that go through the network at once, a divisor of a worker's part of the batch; None for all.
        workers: Workers that train together.
        collective: Their exchange; None for one worker.

    Raises:
        DataError: If the images are none, or not uint8 (H, W, 3).
        SpecError: If the crop does not fit the network, or the batch the workers and micro-batches.
    """
    check_images(images)
    check_split(spec, workers=workers, micro_batch=micro_batch)
    weights, architecture = start
    if spec.crop % architecture.stride:
        raise SpecError(
            f"generator.crop is {spec.crop}, allowed is a multiple of the network's stride {architecture.stride}"
        )
    return Trainer(
        spec,
        architecture,
        seed=seed,
        device=device,
        precision=precision,
        perceptual=_perceptual(spec, device) if perceptual is None else perceptual,
        weights=weights,
        collective=collective,
        micro_batch=micro_batch,
    )


def finish(trainer: Trainer, images: Sequence[np.ndarray], history: History, out: Path) -> None:
    """Measure the averaged network of a trainer after its last step, and write the generator's files into `out`.

    Raises:
        FewgoodError: If a weight is no number; nothing is written then.
        StoreError: If `out` cannot hold the files.
    """
    network = averaged_network(trainer, trainer.device)
    measured = _measure(network, images, trainer.spec, trainer.seed)
    checkpoint.write_json(out / LOSSES_FILE, {"losses": history, "measured": measured})
    checkpoint.write_folder(
        out,
        network.state_dict(),
        trainer.spec,
        network.architecture,
        {"seed": trainer.seed, "precision": trainer.precision, "images": len(images)},
    )


def read_report(folder: Path, *, seconds: float) -> TrainingReport:
    """The report of a training from the files that `finish` wrote; `seconds` is what it took.

    Raises:
        StoreError: If a file is missing or damaged.
    """
    _, architecture, spec = checkpoint.read_folder(folder)
    try:
        found = json.loads((folder / LOSSES_FILE).read_text(encoding="utf-8"))
        history, measured = found["losses"], found["measured"]
        report = TrainingReport(
            folder=folder,
            steps=spec.steps,
            seconds=seconds,
            losses=history,
            architecture=architecture,
            absolute=measured["absolute"],
            codes_used=int(measured["codes_used"]),
            sigma=measured["sigma"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{folder} holds no whole {LOSSES_FILE} ({type(error).__name__}: {error}); remove it and train again"
        ) from error
    _log.info("generator trained: %d steps in %.1f s, %s", spec.steps, seconds, measured)
    return report


def starting_point(spec: GeneratorSpec) -> Start:
    """The weights to start from (None for random ones) and the architecture: a checkpoint's goes before the spec's.

    Raises:
        SpecError: If `init_from` is unreadable, of another layout, or not the file of `init_digest`.
    """
    if spec.init_from is None:
        if spec.init_digest is not None:
            raise SpecError(
                f"generator.init_digest is {spec.init_digest[:12]}... but no checkpoint is given; "
                "give its path with --init-from"
            )
        return None, Architecture.from_spec(spec)
    found = checkpoint.file_digest(spec.init_from)
    if spec.init_digest is not None and spec.init_digest != found:
        raise SpecError(
            f"--init-from {spec.init_from} has the SHA-256 {found[:12]}..., the spec was made for "
            f"{spec.init_digest[:12]}...; give that file again or make the spec anew"
        )
    weights, architecture = checkpoint.read_taming(spec.init_from)
    return weights, dataclasses.replace(architecture, variance=spec.variance)


def averaged_network(trainer: Trainer, device: torch.device) -> VarianceVQGAN:
    """The network with the averaged weights of `trainer`, ready to sample from.

    Raises:
        FewgoodError: If a weight is no number.
    """
    network = VarianceVQGAN(trainer.network.architecture)
    for name, value in trainer.average.items():
        if not bool(torch.isfinite(value).all()):
            raise FewgoodError(
                f"the generator's weight {name} is no number after {trainer.step_number} steps; "
                f"lower generator.learning_rate (now {trainer.spec.learning_rate:g}) or use precision float32"
            )
    network.load_state_dict(trainer.average)
    return network.to(device).eval().requires_grad_(False)


def _perceptual(spec: GeneratorSpec, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    if spec.perceptual_weight == 0:
        return lambda generated, _: generated.new_zeros(())
    from fewgood.generator.perceptual import lite0_distance

    return lite0_distance().to(device)


@torch.inference_mode()
def _measure(
    network: VarianceVQGAN, images: Sequence[np.ndarray], spec: GeneratorSpec, seed: int
) -> Mapping[str, float]:
    device = network.last_layer.device
    used = torch.zeros(network.architecture.codebook_size, dtype=torch.bool)
    errors, sigmas = [], []
    for step in range(spec.steps, spec.steps + _MEASURED_BATCHES):
        crops = crop_batch(images, count=spec.batch_size, side=spec.crop, seed=seed, step=step).to(device)
        output = network(crops)
        used[output.codes.flatten().cpu()] = True
        errors.append(float((output.image - crops).abs().mean()) * 127.5)
        if output.logvar is not None:
            sigmas.append(float(torch.exp(0.5 * output.logvar).mean()))
    return {
        "absolute": float(np.mean(errors)),
        "codes_used": float(used.sum()),
        "sigma": float(np.mean(sigmas)) if sigmas else 0.0,
    }
