"""Drawing images from a trained generator at the support images' own resolution.

Ours (method.md, section 2), for a support image x: `decode` gives D(q(z)); `residual` gives
clip(x + D(q(mu + w sigma eps)) - D(q(mu)), 0, 1), in which the decoder's blur cancels and the sampled variance stays.
The result is put under other light (`generator.light`), which the latents do not vary. Last, since the network has seen
light close to the support images' only: under another its residuals are blotches.
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
from fewgood.generator.light import sample_light
from fewgood.generator.network import Architecture, VarianceVQGAN
from fewgood.generator.tiling import tiled
from fewgood.specs import GeneratorSpec, SamplingSpec

__all__ = ["CandidateBatch", "Drawing", "Generator", "draw_images", "load_generator", "sample_candidates"]

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


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One image that is wanted."""

    base: np.ndarray
    """uint8 (H, W, 3), the (augmented) support image that it is drawn around."""
    index: int
    """Its number in its series; 0 or more."""
    seed: int
    """Of the series' noise and light."""
    scale: float
    """w, the factor on the latent standard deviation; 0 or more."""
    light: float = 0.0
    """Largest change of brightness, contrast and gamma, as a fraction; 0 to below 1."""

    def relight(self, image: np.ndarray) -> np.ndarray:
        """What was drawn, uint8 (H, W, 3), under this image's light, which all its latent draws share."""
        return sample_light(image, light=self.light, seed=self.seed, index=self.index)


def sample_candidates(
    generator: Generator,
    bases: Sequence[np.ndarray],
    indices: Sequence[int],
    sampling: SamplingSpec,
    *,
    seed: int,
) -> CandidateBatch:
    """Draw one image, `sampling.latent_samples` times, for each base.

    Args:
        generator: A trained generator.
        bases: uint8 (H, W, 3), the (augmented) support image for each index; any sizes.
        indices: One whole number from 0 per base.
        sampling: Mode, scale, light and number of draws.
        seed: Of the noise and the light.

    Raises:
        DataError: If a base is not uint8 (H, W, 3).
        ValueError: If `bases` and `indices` differ in length.
    """
    wanted = [
        Drawing(base=base, index=index, seed=seed, scale=sampling.scale, light=sampling.light)
        for base, index in zip(bases, indices, strict=True)
    ]
    draws = draw_images(generator, wanted, mode=sampling.mode, latent_samples=sampling.latent_samples)
    return CandidateBatch(images=[drawn[0] for drawn in draws], draws=draws, sources=list(indices))


@torch.inference_mode()
def draw_images(
    generator: Generator, wanted: Sequence[Drawing], *, mode: str, latent_samples: int, rows: int = 1
) -> list[list[np.ndarray]]:
    """Draw each wanted image `latent_samples` times, `rows` images at a time.

    The noise of a draw depends on (seed, index, draw) only, and what the network is given has `rows` rows whatever is
    wanted: too few are filled up with repetitions. So the bytes of an image depend on `rows`, which chooses the kernels,
    and not on which other images are drawn with it.

    Args:
        generator: A trained generator.
        wanted: Any images of any series; those of one size share passes through the network.
        mode: `residual` or `decode`.
        latent_samples: Draws per image; 1 or more.
        rows: Images per pass; 1 or more.

    Returns:
        For each wanted image its draws, uint8 (H, W, 3) of its base's size.

    Raises:
        DataError: If a base is not uint8 (H, W, 3).
    """
    if not wanted:
        return []
    check_images([one.base for one in wanted])
    sizes: dict[tuple[int, ...], list[int]] = {}
    for number, one in enumerate(wanted):
        sizes.setdefault(one.base.shape, []).append(number)
    drawn: dict[int, list[np.ndarray]] = {}
    for numbers in sizes.values():
        for start in range(0, len(numbers), rows):
            own = numbers[start : start + rows]
            filled = [wanted[number] for number in (*own, *[own[-1]] * (rows - len(own)))]
            drawn |= zip(own, _draw_rows(generator, filled, mode, latent_samples), strict=False)
    return [drawn[number] for number in range(len(wanted))]


def _draw_rows(generator: Generator, rows: Sequence[Drawing], mode: str, latent_samples: int) -> list[list[np.ndarray]]:
    network = generator.network
    shape = rows[0].base.shape
    mu, logvar = _encode(network, [row.base for row in rows], generator.device)
    mean_entries, _, mean_codes = network.quantise(mu)
    decoded_mean: list[Tensor] = []  # computed when first needed, at most once
    results: list[list[np.ndarray]] = [[] for _ in rows]

    def mean_image() -> Tensor:
        if not decoded_mean:
            decoded_mean.append(_decode(network, mean_entries, shape))
        return decoded_mean[0]

    for draw in range(latent_samples):
        entries, _, codes = network.quantise(_perturbed(network, mu, logvar, rows, draw))
        unchanged = torch.equal(codes, mean_codes)
        if mode == "residual" and unchanged:  # the residual is zero: nothing to decode
            for result, row in zip(results, rows, strict=True):
                result.append(row.relight(row.base.copy()))
            continue
        image = mean_image() if unchanged else _decode(network, entries, shape)
        if mode == "residual":
            bases = torch.stack([torch.from_numpy(row.base).to(generator.device) for row in rows])
            image = bases / 255.0 + image - mean_image()
        pixels = (image.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu().numpy()
        for result, row, one in zip(results, rows, pixels, strict=True):
            result.append(row.relight(one))
    return results


def _perturbed(network: VarianceVQGAN, mu: Tensor, logvar: Tensor | None, rows: Sequence[Drawing], draw: int) -> Tensor:
    if logvar is None:
        return mu
    latents = []
    for number, row in enumerate(rows):
        own = slice(number, number + 1)
        noise = _noise(mu[own].shape, row.seed, row.index, draw).to(mu.device)
        latents.append(network.perturb(mu[own], logvar[own], noise, row.scale))
    return torch.cat(latents)


def _noise(shape: torch.Size, seed: int, index: int, draw: int) -> Tensor:
    state = np.random.SeedSequence([seed, 5, index, draw]).generate_state(1, np.uint64)[0] >> np.uint64(1)
    return torch.randn(shape, generator=torch.Generator().manual_seed(int(state)))


def _encode(network: VarianceVQGAN, images: Sequence[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor | None]:
    architecture = network.architecture
    stride = architecture.stride
    height, width = (-(-side // stride) * stride for side in images[0].shape[:2])
    padded = np.stack([reflect_to(image, height, width) for image in images])
    # Contiguous: with one row PyTorch would otherwise guess the layout, and the layout chooses the kernels.
    pixels = torch.from_numpy(padded).to(device).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1.0

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
    """(B, H, W, 3) float32, about [0, 1], not clipped."""
    architecture = network.architecture
    image = tiled(network.decode, entries, tile=_tile(architecture), overlap=_OVERLAP, up=architecture.stride, down=1)
    return (image.permute(0, 2, 3, 1)[:, : shape[0], : shape[1]] + 1.0) / 2.0


def _tile(architecture: Architecture) -> int:
    """Side of a tile in latent positions: an attention's memory is quadratic in its square."""
    return _ATTENTION_POSITIONS if architecture.has_attention else _TILE // architecture.stride
