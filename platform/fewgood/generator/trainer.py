"""One optimiser step of the variance-aware VQGAN, as an object that a data-parallel worker can hold as well."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fewgood.errors import FewgoodError
from fewgood.generator import checkpoint, codebook, losses
from fewgood.generator.network import Architecture, Output, VarianceVQGAN
from fewgood.specs import GeneratorSpec

__all__ = ["Collective", "Trainer"]

_REVIVE_EVERY = 20
_REVIVE_UNTIL = 0.7
_BETAS = (0.5, 0.9)  # VQGAN's


class Collective(Protocol):
    """What several workers must exchange so that their steps equal one worker's on the whole batch."""

    def mean(self, value: Tensor) -> Tensor:
        """The mean of `value` over the workers, on each of them."""

    def gather(self, value: Tensor) -> Tensor:
        """The workers' `value`s, concatenated along the first axis in the workers' order, on each of them."""


class _Alone:
    def mean(self, value: Tensor) -> Tensor:
        return value

    def gather(self, value: Tensor) -> Tensor:
        return value


class Trainer:
    """A generator in training, and its discriminator.

    Args:
        spec: What to train.
        architecture: The network's shape (a checkpoint's, or the spec's).
        seed: Of all random numbers.
        device: Where to compute.
        precision: "float32", or "bfloat16" for mixed precision.
        perceptual: Scalar distance of generated and original (B, 3, H, W) in [-1, 1].
        weights: A checkpoint's tensors to start from.
        collective: The exchange between workers; None for one worker.
    """

    def __init__(
        self,
        spec: GeneratorSpec,
        architecture: Architecture,
        *,
        seed: int,
        device: torch.device,
        precision: str,
        perceptual: Callable[[Tensor, Tensor], Tensor],
        weights: dict[str, Tensor] | None = None,
        collective: Collective | None = None,
    ) -> None:
        self.spec = spec
        self.seed = seed
        self.device = device
        self.precision = precision
        self.perceptual = perceptual
        self.collective: Collective = collective or _Alone()
        self.step_number = 0
        self._own_codebook = weights is None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_stream(seed, 2))
            network = VarianceVQGAN(architecture)
            discriminator = losses.build_discriminator()
        if weights is not None:
            checkpoint.load_weights(network, weights, f"--init-from {spec.init_from}")
        self.network = network.to(device).train()
        self.discriminator = discriminator.to(device).train()
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=spec.learning_rate, betas=_BETAS)
        self._opponent = torch.optim.Adam(self.discriminator.parameters(), lr=spec.learning_rate, betas=_BETAS)
        self._used = torch.zeros(architecture.codebook_size, dtype=torch.bool, device=device)
        self._adversarial_from = math.ceil(spec.adversarial_start * spec.steps)

    def noise(self, count: int, side: int) -> Tensor | None:
        """The latent noise of this step for `count` crops, on the CPU; None for a plain VQGAN."""
        architecture = self.network.architecture
        if not architecture.variance:
            return None
        latent = side // architecture.stride
        generator = torch.Generator().manual_seed(_stream(self.seed, 3, self.step_number))
        return torch.randn((count, architecture.code_channels, latent, latent), generator=generator)

    def step(self, crops: Tensor, noise: Tensor | None) -> dict[str, float]:
        """One update of generator and discriminator.

        Args:
            crops: (B, 3, S, S) in [-1, 1]: this worker's part of the batch.
            noise: (B, C, s, s): this worker's part of `noise()`.

        Returns:
            Each loss term's mean over the workers.

        Raises:
            FewgoodError: If a loss is no number any more.
        """
        crops = crops.to(self.device)
        noise = None if noise is None else noise.to(self.device)
        if self.step_number == 0 and self._own_codebook:
            self._start_codebook(crops)
        adversarial = self.spec.adversarial_weight > 0 and self.step_number >= self._adversarial_from
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
            output = self.network(crops, noise)
            terms, total = self._generator_loss(crops, output, adversarial)
        self._check(total, "loss")
        self._update(self._optimiser, total, self.network)
        if adversarial:
            terms["discriminator"] = self._discriminator_step(crops, output.image.detach())
        self._keep_codebook(output)
        self._average_weights()
        self.step_number += 1
        names = list(terms)
        values = self.collective.mean(torch.stack([terms[name].detach().float() for name in names])).tolist()
        return dict(zip(names, values, strict=True))

    def _generator_loss(self, crops: Tensor, output: Output, adversarial: bool) -> tuple[dict[str, Tensor], Tensor]:
        spec = self.spec
        image = output.image.float()
        absolute = (image - crops).abs().mean()
        square = functional.mse_loss(image, crops)
        reconstruction = absolute + spec.mse_weight * square
        terms = {"absolute": absolute, "square": square, "codebook": output.quantiser_loss}
        if spec.perceptual_weight > 0:
            terms["perceptual"] = self.perceptual(image, crops)
            reconstruction = reconstruction + spec.perceptual_weight * terms["perceptual"]
        total = reconstruction + output.quantiser_loss
        if output.logvar is not None:
            terms["divergence"] = losses.kl_divergence(output.mu.float(), output.logvar)
            terms["sigma"] = torch.exp(0.5 * output.logvar).mean()
            total = total + spec.variance_weight * terms["divergence"]
        if adversarial:
            self.discriminator.requires_grad_(False)
            terms["adversarial"] = losses.hinge_generator_loss(self.discriminator(image).float())
            self._check(reconstruction, "reconstruction loss")
            balance = losses.adaptive_weight(
                reconstruction, terms["adversarial"], self.network.last_layer, self.collective.mean
            )
            total = total + spec.adversarial_weight * balance * terms["adversarial"]
            self.discriminator.requires_grad_(True)
        terms["loss"] = total
        return terms, total

    def _discriminator_step(self, crops: Tensor, generated: Tensor) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
            real, fake = self.discriminator(crops).float(), self.discriminator(generated).float()
        loss = losses.hinge_discriminator_loss(real, fake)
        self._check(loss, "discriminator's loss")
        self._update(self._opponent, loss, self.discriminator)
        return loss

    def _update(self, optimiser: torch.optim.Optimizer, loss: Tensor, module: nn.Module) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad = self.collective.mean(parameter.grad)
        optimiser.step()

    def _check(self, loss: Tensor, name: str) -> None:
        value = float(self.collective.mean(loss.detach()))
        if not math.isfinite(value):
            raise FewgoodError(
                f"the generator's {name} is {value} at step {self.step_number + 1} of {self.spec.steps}; "
                f"lower generator.learning_rate (now {self.spec.learning_rate:g}) or use precision float32"
            )

    @torch.no_grad()
    def _start_codebook(self, crops: Tensor) -> None:
        mu, _ = self.network.encode(crops)
        vectors = self.collective.gather(codebook.flatten_latents(mu))
        generator = torch.Generator().manual_seed(_stream(self.seed, 4))
        entries = codebook.cluster(vectors, self.network.architecture.codebook_size, generator)
        self.network.quantize.embedding.weight.copy_(entries)
        self.average["quantize.embedding.weight"].copy_(entries)

    @torch.no_grad()
    def _keep_codebook(self, output: Output) -> None:
        counts = torch.bincount(output.codes.flatten(), minlength=len(self._used))
        self._used |= self.collective.mean(counts.float()) > 0
        if not self._own_codebook or (self.step_number + 1) % _REVIVE_EVERY:
            return
        if self.step_number < _REVIVE_UNTIL * self.spec.steps:
            generator = torch.Generator().manual_seed(_stream(self.seed, 4, self.step_number))
            vectors = self.collective.gather(codebook.flatten_latents(output.mu))
            entries = self.network.quantize.embedding.weight
            moved = codebook.revive(entries, self._used, vectors, generator)
            self.average["quantize.embedding.weight"][moved] = entries[moved]
        self._used.zero_()

    @torch.no_grad()
    def _average_weights(self) -> None:
        # Early on the average would be mostly the random start: its decay grows with the steps.
        decay = min(self.spec.ema_decay, (1 + self.step_number) / (10 + self.step_number))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1.0 - decay)


def _stream(*words: int) -> int:
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))
