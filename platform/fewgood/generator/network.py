"""The variance-aware VQGAN: taming-transformers' encoder, quantiser and decoder, with a distribution per latent position.

Paper (arXiv 2403.06247, section 3.2): features are encoded into a normal distribution whose variance is embedded.
Ours: `z = mu + w * exp(logvar / 2) * eps`, then quantise, then decode; the mean is the plain VQGAN's latent, and the
log-variance comes from one more 1x1 convolution, so that a network without it *is* the plain VQGAN (Esser et al. 2021).
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from taming.modules.diffusionmodules.model import Decoder, Encoder
from taming.modules.vqvae.quantize import VectorQuantizer
from torch import Tensor, nn

from fewgood.specs import GeneratorSpec

__all__ = ["LOGVAR_INIT", "LOGVAR_RANGE", "TAMING_GROUPS", "Architecture", "Output", "VarianceVQGAN"]

TAMING_GROUPS = 32
"""Groups of every group norm in taming-transformers, which therefore takes multiples of 32 channels only."""

LOGVAR_INIT = -2.0
"""Log-variance at the start of training: a standard deviation of 0.37 where latents have about 1."""

LOGVAR_RANGE = (-12.0, 2.0)
"""The log-variance is kept within this range, so that `exp` neither vanishes nor overflows."""

_COMMITMENT = 0.25
_OWN_GROUP_WIDTH = 8


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The shape of a network: what a specification asks for, or what a checkpoint turns out to hold."""

    channels: int
    """Width of the first level; a multiple of 32."""
    channel_multipliers: tuple[int, ...]
    """Width of each level relative to `channels`; each level but the first halves the resolution."""
    residual_blocks: int
    """Residual blocks per level of the encoder (the decoder has one more)."""
    z_channels: int
    """Channels between encoder and `quant_conv`, and between `post_quant_conv` and decoder."""
    code_channels: int
    """Length of a codebook entry."""
    codebook_size: int
    """Entries in the codebook."""
    group_width: int | None
    """Channels per group of a group norm; None is taming's: 32 groups whatever the width."""
    attention_levels: tuple[int, ...] = ()
    """Levels (0 is full resolution) with an attention block after each residual block."""
    middle_attention: bool = False
    """Whether the attention block of the coarsest level is there; its memory is quadratic in the latent positions."""
    variance: bool = True
    """Whether there is a log-variance."""

    @property
    def stride(self) -> int:
        """Image pixels per latent position, along one side."""
        return int(2 ** (len(self.channel_multipliers) - 1))

    @property
    def has_attention(self) -> bool:
        """Whether any block's memory grows with the square of the image."""
        return self.middle_attention or bool(self.attention_levels)

    @classmethod
    def from_spec(cls, spec: GeneratorSpec) -> Architecture:
        """The network that `spec` asks for when it starts from nothing.

        Ours: no attention, so that cost is linear in the image, and groups of 8 channels: 32 groups of a 32-channel
        map would be an instance norm, which loses the brightness of a crop.
        """
        return cls(
            channels=spec.channels,
            channel_multipliers=tuple(spec.channel_multipliers),
            residual_blocks=spec.residual_blocks,
            z_channels=spec.latent_channels,
            code_channels=spec.latent_channels,
            codebook_size=spec.codebook_size,
            group_width=_OWN_GROUP_WIDTH,
            variance=spec.variance,
        )


class Output(NamedTuple):
    """What one pass through the network gives."""

    image: Tensor
    """(B, 3, H, W), about [-1, 1], not clipped."""
    quantiser_loss: Tensor
    """Scalar: codebook and commitment loss."""
    codes: Tensor
    """(B, h, w) int64: the codebook entry of every latent position."""
    mu: Tensor
    """(B, C, h, w): the mean of the latent distribution."""
    logvar: Tensor | None
    """(B, C, h, w): its log-variance; None for a plain VQGAN."""


class VarianceVQGAN(nn.Module):
    """Encoder, distribution, quantiser and decoder, under the parameter names of taming's `VQModel`.

    Images are (B, 3, H, W) in [-1, 1], taming's range, with H and W multiples of `architecture.stride`.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        parts = _taming_arguments(architecture)
        with contextlib.redirect_stdout(io.StringIO()):  # taming's decoder prints its shape
            self.encoder = Encoder(double_z=False, **parts)
            self.decoder = Decoder(**parts)
        if not architecture.middle_attention:
            self.encoder.mid.attn_1 = nn.Identity()
            self.decoder.mid.attn_1 = nn.Identity()
        if architecture.group_width is not None:
            for module in self.modules():
                if isinstance(module, nn.GroupNorm):
                    module.num_groups = module.num_channels // architecture.group_width
        z, code = architecture.z_channels, architecture.code_channels
        self.quantize = VectorQuantizer(architecture.codebook_size, code, beta=_COMMITMENT)
        self.quant_conv = nn.Conv2d(z, code, 1)
        self.post_quant_conv = nn.Conv2d(code, z, 1)
        self.logvar_conv: nn.Conv2d | None = None
        if architecture.variance:  # built last: with the same seed, a plain VQGAN's weights are the same
            self.logvar_conv = nn.Conv2d(z, code, 1)
            nn.init.zeros_(self.logvar_conv.weight)
            nn.init.constant_(self.logvar_conv.bias, LOGVAR_INIT)  # type: ignore[arg-type]

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """The latent distribution of images (B, 3, H, W) in [-1, 1]: `mu` and `logvar`, (B, C, h, w) each."""
        features = self.encoder(image)
        mu = self.quant_conv(features)
        if self.logvar_conv is None:
            return mu, None
        return mu, self.logvar_conv(features).float().clamp(*LOGVAR_RANGE)

    def perturb(self, mu: Tensor, logvar: Tensor | None, noise: Tensor | None, scale: float = 1.0) -> Tensor:
        """`mu + scale * exp(logvar / 2) * noise`; `mu` itself without a variance, without noise or at scale 0."""
        if logvar is None or noise is None or scale == 0:
            return mu
        return mu.float() + scale * torch.exp(0.5 * logvar) * noise

    def quantise(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The nearest codebook entries of (B, C, h, w): the entries (straight-through), the loss, (B, h, w) codes."""
        with torch.autocast(latent.device.type, enabled=False):  # distances need float32
            quantised, loss, (_, _, codes) = self.quantize(latent.float())
        return quantised, loss, codes.view(latent.shape[0], *latent.shape[2:])

    def decode(self, quantised: Tensor) -> Tensor:
        """Images (B, 3, H, W), about [-1, 1], of codebook entries (B, C, h, w)."""
        image: Tensor = self.decoder(self.post_quant_conv(quantised))
        return image

    def forward(self, image: Tensor, noise: Tensor | None = None, scale: float = 1.0) -> Output:
        """Encode, perturb, quantise and decode images (B, 3, H, W) in [-1, 1].

        Args:
            image: (B, 3, H, W) in [-1, 1]; H and W multiples of the stride.
            noise: (B, C, h, w) standard normal; None takes the mean. Ignored by a plain VQGAN.
            scale: w, the factor on the latent standard deviation.
        """
        mu, logvar = self.encode(image)
        quantised, loss, codes = self.quantise(self.perturb(mu, logvar, noise, scale))
        return Output(self.decode(quantised), loss, codes, mu, logvar)

    @property
    def last_layer(self) -> Tensor:
        """The decoder's last weight, on which the adversarial term is balanced."""
        weight: Tensor = self.decoder.conv_out.weight
        return weight


def _taming_arguments(architecture: Architecture) -> dict[str, Any]:
    # taming places attention by the resolution of a level, so any resolution with room for all halvings will do.
    resolution = 16 * architecture.stride
    return {
        "ch": architecture.channels,
        "out_ch": 3,
        "in_channels": 3,
        "ch_mult": architecture.channel_multipliers,
        "num_res_blocks": architecture.residual_blocks,
        "attn_resolutions": [resolution >> level for level in architecture.attention_levels],
        "resolution": resolution,
        "z_channels": architecture.z_channels,
        "dropout": 0.0,
    }
