"""Training the variance-aware VQGAN on a few good images: the starting point, the loop, the files it leaves."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewgood.errors import FewgoodError, SpecError
from fewgood.generator import checkpoint
from fewgood.generator.crops import check_images, crop_batch
from fewgood.generator.network import Architecture, VarianceVQGAN
from fewgood.generator.trainer import Trainer
from fewgood.progress import Progress, silent
from fewgood.specs import GeneratorSpec

__all__ = ["LOSSES_FILE", "TrainingReport", "starting_point", "train_generator"]

LOSSES_FILE = "losses.json"

_STAGE = "generator"
_REPORTS = 100
_MEASURED_BATCHES = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """What a training did."""

    folder: Path
    steps: int
    seconds: float
    losses: dict[str, list[float]] = field(repr=False)
    """Each loss term's value per step, NaN-free; terms that start late are shorter and end with the last step."""
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

    Returns:
        What the training did.

    Raises:
        DataError: If the images are none, or not uint8 (H, W, 3).
        SpecError: If `init_from` or `crop` cannot be used.
        FewgoodError: If the training diverges; nothing is written then.
        StoreError: If `out` cannot hold the files.
    """
    check_images(images)
    weights, architecture = starting_point(spec)
    if spec.crop % architecture.stride:
        raise SpecError(
            f"generator.crop is {spec.crop}, allowed is a multiple of the network's stride {architecture.stride}"
        )
    report = progress or silent
    trainer = Trainer(
        spec,
        architecture,
        seed=seed,
        device=device,
        precision=precision,
        perceptual=_perceptual(spec, device) if perceptual is None else perceptual,
        weights=weights,
    )
    history: dict[str, list[float]] = {}
    every = max(1, spec.steps // _REPORTS)
    started = time.monotonic()
    for step in range(spec.steps):
        crops = crop_batch(images, count=spec.batch_size, side=spec.crop, seed=seed, step=step)
        terms = trainer.step(crops, trainer.noise(spec.batch_size, spec.crop))
        for name, value in terms.items():
            history.setdefault(name, []).append(value)
        if (step + 1) % every == 0 or step + 1 == spec.steps:
            note = _note(step + 1, spec.steps, time.monotonic() - started, terms["loss"])
            report(_STAGE, step + 1, spec.steps, note)
    network = averaged_network(trainer, device)
    measured = _measure(network, images, spec, seed)
    checkpoint.write_json(out / LOSSES_FILE, {"losses": history, "measured": measured})
    checkpoint.write_folder(
        out, network.state_dict(), spec, architecture, {"seed": seed, "precision": precision, "images": len(images)}
    )
    seconds = time.monotonic() - started
    _log.info("generator trained: %d steps in %.1f s, %s", spec.steps, seconds, measured)
    return TrainingReport(
        folder=out,
        steps=spec.steps,
        seconds=seconds,
        losses=history,
        architecture=architecture,
        absolute=measured["absolute"],
        codes_used=int(measured["codes_used"]),
        sigma=measured["sigma"],
    )


def starting_point(spec: GeneratorSpec) -> tuple[dict[str, Tensor] | None, Architecture]:
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


def _note(done: int, total: int, seconds: float, loss: float) -> str:
    rate = done / max(seconds, 1e-9)
    left = round((total - done) / rate)
    return f"loss {loss:.3f}, {rate:.1f} steps/s, {left // 60}:{left % 60:02d} left"
