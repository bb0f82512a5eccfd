"""A search space: which settings are searched, and over which values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from fewgood.errors import SpecError

__all__ = ["Choice", "FloatRange", "IntRange", "Parameter", "Space"]


@dataclass(frozen=True)
class Choice:
    """A grid of values. Settings that need another generator belong on one, so that trials share generators."""

    values: Sequence[Any]

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """Optuna's form."""
        return optuna.distributions.CategoricalDistribution(list(self.values))


@dataclass(frozen=True)
class IntRange:
    """Whole numbers low, low + step, ... up to high."""

    low: int
    high: int
    step: int = 1

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """Optuna's form."""
        return optuna.distributions.IntDistribution(self.low, self.high, step=self.step)


@dataclass(frozen=True)
class FloatRange:
    """Real numbers from low to high, on a logarithmic scale if `log`."""

    low: float
    high: float
    log: bool = False

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """Optuna's form."""
        return optuna.distributions.FloatDistribution(self.low, self.high, log=self.log)


Parameter = Choice | IntRange | FloatRange


@dataclass(frozen=True)
class Space:
    """Named parameters; the names are `--set` keys."""

    name: str
    version: int
    parameters: Mapping[str, Parameter]

    def __post_init__(self) -> None:
        if not self.parameters:
            raise SpecError(f"search space {self.name!r} has no parameters: give at least one")

    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Optuna's form of all parameters."""
        return {key: parameter.distribution() for key, parameter in self.parameters.items()}

    def corners(self) -> list[dict[str, Any]]:
        """Configurations that hold the first and the last value of each parameter: enough to check every key's type."""
        ends = {
            key: (parameter.values[0], parameter.values[-1])
            if isinstance(parameter, Choice)
            else (parameter.low, parameter.high)
            for key, parameter in self.parameters.items()
        }
        return [{key: pair[end] for key, pair in ends.items()} for end in (0, 1)]
