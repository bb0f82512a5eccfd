"""The state of an Adam optimiser as plain tensors by name, so that a training can be saved without pickling."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["restore_optimiser", "save_optimiser"]


def save_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """`<parameter's number>.<moment>` to its tensor; empty before the first step."""
    return {
        f"{number}.{name}": tensor
        for number, moments in optimiser.state_dict()["state"].items()
        for name, tensor in moments.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put what `save_optimiser` gave into an optimiser over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = tensor.clone()
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
