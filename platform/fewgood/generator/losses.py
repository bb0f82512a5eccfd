"""The terms of the generator's loss: VQGAN's (Esser et al. 2021), the paper's squared error and our divergence.

Paper (arXiv 2403.06247, section 3.2): the squared error between original and generated image is added to the VQGAN loss.
Ours: the KL divergence of the latent distribution, weighted by `variance_weight`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "adaptive_weight",
    "build_discriminator",
    "hinge_discriminator_loss",
    "hinge_generator_loss",
    "kl_divergence",
    "layer_gradients",
]

# Ours (VQGAN: 1e4): a discriminator that knows nothing yet has tiny gradients, which 1e4 would blow up into noise.
_MAX_ADAPTIVE = 10.0


def build_discriminator(width: int = 32, layers: int = 2) -> nn.Module:
    """The patch discriminator of taming-transformers for (B, 3, H, W) in [-1, 1], with group norm in place of batch norm.

    Ours: a batch norm's statistics of 4 crops are noise, and differ between one worker and two.
    """
    from taming.modules.discriminator.model import NLayerDiscriminator, weights_init

    network: nn.Module = NLayerDiscriminator(input_nc=3, ndf=width, n_layers=layers)
    network.apply(weights_init)
    for name, module in list(network.main.named_children()):  # type: ignore[union-attr]
        if isinstance(module, nn.BatchNorm2d):
            setattr(network.main, name, nn.GroupNorm(8, module.num_features))
    return network


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's hinge loss from its outputs for real and generated images, any shape."""
    return 0.5 * (functional.relu(1.0 - real).mean() + functional.relu(1.0 + fake).mean())


def hinge_generator_loss(fake: Tensor) -> Tensor:
    """The generator's part of the hinge loss from the discriminator's outputs for generated images."""
    return -fake.mean()


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, 1)) in nats per latent channel, the mean over all of (B, C, h, w)."""
    return 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar).mean()


def layer_gradients(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of both terms at the decoder's last layer; the graph is kept."""
    (own,) = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)
    (opposed,) = torch.autograd.grad(adversarial, last_layer, retain_graph=True)
    return own, opposed


def adaptive_weight(own: Tensor, opposed: Tensor) -> Tensor:
    """VQGAN's balance: the ratio of the norms of `layer_gradients`, of the whole batch, 0 to 10."""
    weight: Tensor = (own.norm() / (opposed.norm() + 1e-4)).clamp(0.0, _MAX_ADAPTIVE).detach()
    return weight
