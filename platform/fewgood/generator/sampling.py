"""Drawing images from a trained generator at the support images' own resolution.

Ours (method.md, section 2), for a support image x: `decode` gives D(q(z)); `residual` gives
clip(x + D(q(mu + w sigma eps)) - D(q(mu)), 0, 1), in which the decoder's blur cancels and the sampled variance stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewgood.generator.checkpoint import load_weights, read_folder
from fewgood.generator.crops import check_images, reflect_to
from fewgood.generator.network import Architecture, VarianceVQGAN
from fewgood.generator.tiling import tiled
from fewgood.specs import GeneratorSpec, SamplingSpec

__all__ = ["CandidateBatch", "Generator", "load_generator", "sample_candidates"]

_TILE = 1024
_ATTENTION_POSITIONS = 64
_OVERLAP = 8


@dataclass(frozen=True, kw_only=True)
class Generator:
    """A trained network, ready to sample from."""

    network: VarianceVQGAN
    spec: GeneratorSpec
    device: torch.device

    @property
    def architecture(self) -> Architecture:
        """The network's shape, which a checkpoint may have decided."""
        return self.network.architecture


@dataclass(frozen=True, kw_only=True)
class CandidateBatch:
    """Generated images, one entry per index."""

    images: list[np.ndarray]
    """uint8 (H, W, 3), the first latent draw."""
    draws: list[list[np.ndarray]]
    """All latent draws of the same image; draw 0 is the image."""
    sources: list[int]
    """The index that each was drawn for."""


def load_generator(folder: Path, *, device: torch.device) -> Generator:
    """The generator that `train_generator` wrote into `folder`.

    Raises:
        StoreError: If the folder is incomplete or damaged.
        SpecError: If the weights do not fit their description.
    """
    weights, architecture, spec = read_folder(folder)
    network = VarianceVQGAN(architecture)
    load_weights(network, weights, folder)
    return Generator(network=network.to(device).eval().requires_grad_(False), spec=spec, device=device)


@torch.inference_mode()
def sample_candidates(
    generator: Generator,
    bases: Sequence[np.ndarray],
    indices: Sequence[int],
    sampling: SamplingSpec,
    *,
    seed: int,
) -> CandidateBatch:
    """Draw one image, `sampling.latent_samples` times, for each base.

    The noise of a draw depends on (seed, index, draw) only and each image is computed by itself, so the bytes do not
    depend on which others are in the batch.

    Args:
        generator: A trained generator.
        bases: uint8 (H, W, 3), the (augmented) support image for each index; any sizes.
        indices: One whole number from 0 per base.
        sampling: Mode, scale and number of draws.
        seed: Of the noise.

    Raises:
        DataError: If a base is not uint8 (H, W, 3).
        ValueError: If `bases` and `indices` differ in length.
    """
    draws = []
    if len(bases) > 0:
        check_images(bases)
    for base, index in zip(bases, indices, strict=True):
        draws.append(_draws(generator, base, index, sampling, seed))
    return CandidateBatch(images=[drawn[0] for drawn in draws], draws=draws, sources=list(indices))


def _draws(generator: Generator, base: np.ndarray, index: int, sampling: SamplingSpec, seed: int) -> list[np.ndarray]:
    network = generator.network
    mu, logvar = _encode(network, base, generator.device)
    mean_entries, _, mean_codes = network.quantise(mu)
    decoded_mean: list[Tensor] = []  # computed when first needed, at most once
    results = []

    def mean_image() -> Tensor:
        if not decoded_mean:
            decoded_mean.append(_decode(network, mean_entries, base.shape))
        return decoded_mean[0]

    for draw in range(sampling.latent_samples):
        noise = None if logvar is None else _noise(mu.shape, seed, index, draw).to(generator.device)
        entries, _, codes = network.quantise(network.perturb(mu, logvar, noise, sampling.scale))
        unchanged = torch.equal(codes, mean_codes)
        if sampling.mode == "residual" and unchanged:  # the residual is zero: nothing to decode
            results.append(base.copy())
            continue
        image = mean_image() if unchanged else _decode(network, entries, base.shape)
        if sampling.mode == "residual":
            image = torch.from_numpy(base).to(generator.device) / 255.0 + image - mean_image()
        results.append((image.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu().numpy())
    return results


def _noise(shape: torch.Size, seed: int, index: int, draw: int) -> Tensor:
    state = np.random.SeedSequence([seed, 5, index, draw]).generate_state(1, np.uint64)[0] >> np.uint64(1)
    return torch.randn(shape, generator=torch.Generator().manual_seed(int(state)))


def _encode(network: VarianceVQGAN, image: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor | None]:
    architecture = network.architecture
    stride = architecture.stride
    height, width = (-(-side // stride) * stride for side in image.shape[:2])
    padded = np.ascontiguousarray(reflect_to(image, height, width))
    pixels = torch.from_numpy(padded).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1.0

    def both(part: Tensor) -> Tensor:
        mu, logvar = network.encode(part)
        return mu if logvar is None else torch.cat([mu, logvar], dim=1)

    tile = _tile(architecture)
    latent = tiled(both, pixels, tile=tile * stride, overlap=_OVERLAP * stride, up=1, down=stride)
    if not architecture.variance:
        return latent, None
    mu, logvar = latent.chunk(2, dim=1)
    return mu, logvar


def _decode(network: VarianceVQGAN, entries: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(H, W, 3) float32, about [0, 1], not clipped."""
    architecture = network.architecture
    image = tiled(network.decode, entries, tile=_tile(architecture), overlap=_OVERLAP, up=architecture.stride, down=1)
    return (image[0].permute(1, 2, 0)[: shape[0], : shape[1]] + 1.0) / 2.0


def _tile(architecture: Architecture) -> int:
    """Side of a tile in latent positions: an attention's memory is quadratic in its square."""
    return _ATTENTION_POSITIONS if architecture.has_attention else _TILE // architecture.stride
