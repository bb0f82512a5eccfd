"""What data-parallel workers exchange: a protocol, one worker alone, and workers joined by `torch.distributed`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.distributed
from torch import Tensor

from fewgood.errors import SpecError
from fewgood.specs import GeneratorSpec

__all__ = ["Alone", "Collective", "ProcessGroup", "check_split", "mean_gradients"]


class Collective(Protocol):
    """What several workers must exchange so that their steps equal one worker's on the whole batch."""

    def mean(self, value: Tensor) -> Tensor:
        """The mean of `value` over the workers, on each of them."""

    def gather(self, value: Tensor) -> Tensor:
        """The workers' `value`s, concatenated along the first axis in the workers' order, on each of them."""


class Alone:
    """One worker: nothing to exchange."""

    def mean(self, value: Tensor) -> Tensor:
        """`value` itself."""
        return value

    def gather(self, value: Tensor) -> Tensor:
        """`value` itself."""
        return value


class ProcessGroup:
    """The workers of torch's default process group, which must be there: gloo for CPUs, nccl for one GPU each.

    Gloo exchanges through the host's memory, so that workers which share a GPU can use it as well.
    """

    def __init__(self) -> None:
        self._workers = torch.distributed.get_world_size()
        self._on_host = torch.distributed.get_backend() == "gloo"

    def mean(self, value: Tensor) -> Tensor:
        """The mean of `value` over the workers; `value` is left as it is."""
        total = self._outgoing(value).clone()
        torch.distributed.all_reduce(total)
        return (total / self._workers).to(value.device)

    def gather(self, value: Tensor) -> Tensor:
        """The workers' `value`s, of one shape, concatenated by rank."""
        own = self._outgoing(value).contiguous()
        parts = [torch.empty_like(own) for _ in range(self._workers)]
        torch.distributed.all_gather(parts, own)
        return torch.cat(parts).to(value.device)

    def _outgoing(self, value: Tensor) -> Tensor:
        return value.detach().cpu() if self._on_host else value.detach()


def mean_gradients(parameters: Sequence[Tensor], collective: Collective) -> None:
    """Replace the gradients by their means over the workers, all in one exchange; one worker's are left as they are."""
    if isinstance(collective, Alone):
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    bucket = collective.mean(torch.cat([gradient.flatten() for gradient in gradients]))
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, mean in zip(gradients, torch.split(bucket, sizes), strict=True):
        gradient.copy_(mean.view_as(gradient))


def check_split(spec: GeneratorSpec, *, workers: int, micro_batch: int | None) -> None:
    """Hold that the spec's batch splits evenly over the workers, and a worker's part into micro-batches.

    Means over equal parts are the mean over the batch; over unequal ones they are not.

    Raises:
        SpecError: If it does not.
    """
    batch = spec.batch_size
    if workers < 1 or batch % workers:
        raise SpecError(
            f"workers is {workers}, but generator.batch_size {batch} must split evenly over them: "
            f"use {_divisors(batch)} workers, or another batch size"
        )
    share = batch // workers
    if micro_batch is not None and (micro_batch < 1 or share % micro_batch):
        raise SpecError(
            f"micro_batch is {micro_batch}, but a worker's {share} crops per step (generator.batch_size {batch} over "
            f"{workers} workers) must split evenly into micro-batches: use {_divisors(share)}"
        )


def _divisors(number: int) -> str:
    found = [str(value) for value in range(1, number + 1) if number % value == 0]
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} or {found[-1]}"
