"""One optimiser step of the variance-aware VQGAN, as an object that a data-parallel worker can hold as well."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fewgood.errors import FewgoodError
from fewgood.generator import checkpoint, codebook, losses
from fewgood.generator.collective import Alone, Collective, mean_gradients
from fewgood.generator.network import Architecture, Output, VarianceVQGAN
from fewgood.generator.optimiser_state import restore_optimiser, save_optimiser
from fewgood.specs import GeneratorSpec

__all__ = ["Trainer"]

_REVIVE_EVERY = 20
_REVIVE_UNTIL = 0.7
_BETAS = (0.5, 0.9)  # VQGAN's
_STEP = "step"
_USED = "used_codes"


class Part(NamedTuple):
    """What goes through the network at once."""

    crops: Tensor
    """(b, 3, S, S) in [-1, 1]."""
    noise: Tensor | None
    """(b, C, s, s) standard normal; None for a plain VQGAN."""


class Made(NamedTuple):
    """What the discriminator and the codebook need of a part afterwards."""

    image: Tensor
    codes: Tensor
    mu: Tensor


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
        micro_batch: Crops that go through the network at once, for a batch that does not fit in memory: a divisor of
            this worker's part. None takes the part as a whole. The step is the same but for the order of sums; with the
            adversarial term on, several micro-batches go through the network twice.
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
        micro_batch: int | None = None,
    ) -> None:
        self.spec = spec
        self.seed = seed
        self.device = device
        self.precision = precision
        self.perceptual = perceptual
        self.collective: Collective = collective or Alone()
        self.micro_batch = micro_batch
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
        parts = self._parts(crops, noise)
        if self.step_number == 0 and self._own_codebook:
            self._start_codebook(parts)
        adversarial = self.spec.adversarial_weight > 0 and self.step_number >= self._adversarial_from
        terms, made = self._generator_step(parts, adversarial)
        if adversarial:
            terms["discriminator"] = self._discriminator_step(parts, made)
        self._keep_codebook(made)
        self._average_weights()
        self.step_number += 1
        names = list(terms)
        values = self.collective.mean(torch.stack([terms[name] for name in names])).tolist()
        return dict(zip(names, values, strict=True))

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on, apart from the constructor's arguments: tensors on the CPU, by name."""
        found = {
            _STEP: torch.tensor(self.step_number),
            _USED: self._used,
            **_prefixed("network", self.network.state_dict()),
            **_prefixed("discriminator", self.discriminator.state_dict()),
            **_prefixed("average", self.average),
            **_prefixed("optimiser", save_optimiser(self._optimiser)),
            **_prefixed("opponent", save_optimiser(self._opponent)),
        }
        return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in found.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave in a trainer with the same arguments, whatever its workers and micro-batches."""
        self.network.load_state_dict(_part_of(state, "network"))
        self.discriminator.load_state_dict(_part_of(state, "discriminator"))
        for name, value in _part_of(state, "average").items():
            self.average[name].copy_(value)
        restore_optimiser(self._optimiser, _part_of(state, "optimiser"))
        restore_optimiser(self._opponent, _part_of(state, "opponent"))
        self._used.copy_(state[_USED])
        self.step_number = int(state[_STEP])

    def _parts(self, crops: Tensor, noise: Tensor | None) -> list[Part]:
        count = len(crops) if self.micro_batch is None else self.micro_batch
        assert len(crops) % count == 0, "check_split holds that micro-batches are of one size"
        pieces = crops.to(self.device).split(count)  # type: ignore[no-untyped-call]
        if noise is None:
            return [Part(piece, None) for piece in pieces]
        return [Part(*pair) for pair in zip(pieces, noise.to(self.device).split(count), strict=True)]  # type: ignore[no-untyped-call]

    def _generator_step(self, parts: Sequence[Part], adversarial: bool) -> tuple[dict[str, Tensor], list[Made]]:
        # The balance is one number for the whole batch: with several parts it is known only after a pass over all.
        balance = self._balance(parts) if adversarial and len(parts) > 1 else None
        self._optimiser.zero_grad(set_to_none=True)
        found: list[dict[str, Tensor]] = []
        made: list[Made] = []
        for part in parts:
            terms, output = self._generator_loss(part, adversarial, balance)
            (terms["loss"] / len(parts)).backward()  # type: ignore[no-untyped-call]
            found.append({name: value.detach().float() for name, value in terms.items()})
            made.append(Made(output.image.detach(), output.codes, output.mu.detach()))
        means = {name: torch.stack([terms[name] for terms in found]).mean() for name in found[0]}
        self._check(means["loss"], "loss")
        self._update(self._optimiser, self.network)
        return means, made

    def _generator_loss(
        self, part: Part, adversarial: bool, balance: Tensor | None
    ) -> tuple[dict[str, Tensor], Output]:
        """The loss terms of one part, `loss` last; None for `balance` takes it from this part alone."""
        spec = self.spec
        with self._autocast():
            output = self.network(part.crops, part.noise)
            image = output.image.float()
            terms, reconstruction = self._reconstruction(part.crops, image)
            terms["codebook"] = output.quantiser_loss
            total = reconstruction + output.quantiser_loss
            if output.logvar is not None:
                terms["divergence"] = losses.kl_divergence(output.mu.float(), output.logvar)
                terms["sigma"] = torch.exp(0.5 * output.logvar).mean()
                total = total + spec.variance_weight * terms["divergence"]
            if adversarial:
                terms["adversarial"] = self._adversarial(image)
                if balance is None:
                    balance = self._mean_balance([self._layer_gradients(reconstruction, terms["adversarial"])])
                total = total + spec.adversarial_weight * balance * terms["adversarial"]
        terms["loss"] = total
        return terms, output

    def _reconstruction(self, crops: Tensor, image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        terms = {"absolute": (image - crops).abs().mean(), "square": functional.mse_loss(image, crops)}
        reconstruction = terms["absolute"] + self.spec.mse_weight * terms["square"]
        if self.spec.perceptual_weight > 0:
            terms["perceptual"] = self.perceptual(image, crops)
            reconstruction = reconstruction + self.spec.perceptual_weight * terms["perceptual"]
        return terms, reconstruction

    def _adversarial(self, image: Tensor) -> Tensor:
        self.discriminator.requires_grad_(False)
        loss = losses.hinge_generator_loss(self.discriminator(image).float())
        self.discriminator.requires_grad_(True)
        return loss

    def _balance(self, parts: Sequence[Part]) -> Tensor:
        gradients = []
        for part in parts:
            with self._autocast():
                image = self.network(part.crops, part.noise).image.float()
                _, reconstruction = self._reconstruction(part.crops, image)
                gradients.append(self._layer_gradients(reconstruction, self._adversarial(image)))
        return self._mean_balance(gradients)

    def _layer_gradients(self, reconstruction: Tensor, adversarial: Tensor) -> Tensor:
        return torch.stack(losses.layer_gradients(reconstruction, adversarial, self.network.last_layer))

    def _mean_balance(self, gradients: Sequence[Tensor]) -> Tensor:
        own, opposed = self.collective.mean(torch.stack(list(gradients)).mean(dim=0))
        return losses.adaptive_weight(own, opposed)

    def _discriminator_step(self, parts: Sequence[Part], made: Sequence[Made]) -> Tensor:
        self._opponent.zero_grad(set_to_none=True)
        found = []
        for part, result in zip(parts, made, strict=True):
            with self._autocast():
                real = self.discriminator(part.crops).float()
                fake = self.discriminator(result.image).float()
            loss = losses.hinge_discriminator_loss(real, fake)
            (loss / len(parts)).backward()  # type: ignore[no-untyped-call]
            found.append(loss.detach())
        mean = torch.stack(found).mean()
        self._check(mean, "discriminator's loss")
        self._update(self._opponent, self.discriminator)
        return mean

    def _update(self, optimiser: torch.optim.Optimizer, module: nn.Module) -> None:
        mean_gradients(list(module.parameters()), self.collective)
        optimiser.step()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")

    def _check(self, loss: Tensor, name: str) -> None:
        value = float(self.collective.mean(loss.detach()))
        if not math.isfinite(value):
            raise FewgoodError(
                f"the generator's {name} is {value} at step {self.step_number + 1} of {self.spec.steps}; "
                f"lower generator.learning_rate (now {self.spec.learning_rate:g}) or use precision float32"
            )

    @torch.no_grad()
    def _start_codebook(self, parts: Sequence[Part]) -> None:
        own = torch.cat([codebook.flatten_latents(self.network.encode(part.crops)[0]) for part in parts])
        vectors = self.collective.gather(own)
        generator = torch.Generator().manual_seed(_stream(self.seed, 4))
        entries = codebook.cluster(vectors, self.network.architecture.codebook_size, generator)
        self.network.quantize.embedding.weight.copy_(entries)
        self.average["quantize.embedding.weight"].copy_(entries)

    @torch.no_grad()
    def _keep_codebook(self, made: Sequence[Made]) -> None:
        codes = torch.cat([result.codes.flatten() for result in made])
        counts = torch.bincount(codes, minlength=len(self._used))
        self._used |= self.collective.mean(counts.float()) > 0
        if not self._own_codebook or (self.step_number + 1) % _REVIVE_EVERY:
            return
        if self.step_number < _REVIVE_UNTIL * self.spec.steps:
            generator = torch.Generator().manual_seed(_stream(self.seed, 4, self.step_number))
            vectors = self.collective.gather(torch.cat([codebook.flatten_latents(result.mu) for result in made]))
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


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _part_of(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)}
