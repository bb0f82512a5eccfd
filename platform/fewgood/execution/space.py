"""A search space: which settings are searched, and over which values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import optuna

from fewgood.errors import SpecError
from fewgood.specs import GENERATE_ALONE, digest

__all__ = ["Choice", "FloatRange", "IntRange", "Parameter", "Space"]

_LARGEST_GRID = 100_000
"""Configurations that a grid may have: far more than can be run, and still few to list."""
_LATER_ROUNDS = ("prompts.", "embedding.", "sampling.", "selection.")
"""Sections that decide which images are fed back, and so what the generators of a second round are trained on."""


@dataclass(frozen=True)
class Choice:
    """A grid of values. Settings that need another generator belong on one, so that trials share generators."""

    values: Sequence[Any]

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """Optuna's form."""
        return optuna.distributions.CategoricalDistribution(list(self.values))

    def count(self) -> int:
        """Number of values."""
        return len(self.values)

    def all_values(self) -> list[Any]:
        """The values, in order."""
        return list(self.values)

    def to_json(self) -> dict[str, Any]:
        """As a space's file says it."""
        return {"type": "choice", "values": list(self.values)}


@dataclass(frozen=True)
class IntRange:
    """Whole numbers low, low + step, ... up to high."""

    low: int
    high: int
    step: int = 1

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """Optuna's form."""
        return optuna.distributions.IntDistribution(self.low, self.high, step=self.step)

    def count(self) -> int:
        """Number of values."""
        return len(range(self.low, self.high + 1, self.step))

    def all_values(self) -> list[int]:
        """The values, from the smallest."""
        return list(range(self.low, self.high + 1, self.step))

    def to_json(self) -> dict[str, Any]:
        """As a space's file says it."""
        return {"type": "int", "low": self.low, "high": self.high, "step": self.step}


@dataclass(frozen=True)
class FloatRange:
    """Real numbers from low to high, on a logarithmic scale if `log`, or only low, low + step, ... with a `step`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """Optuna's form."""
        return optuna.distributions.FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def count(self) -> int | None:
        """Number of values; None without a step, when there is no end of them."""
        if self.step is None:
            return 1 if self.low == self.high else None
        # In decimals, as Optuna counts them: 0.3 is 0.1 and two steps of 0.1.
        low, high, step = self._decimals()
        return int((high - low) / step) + 1

    def all_values(self) -> list[float] | None:
        """The values, from the smallest; None without a step, when there is no end of them."""
        count = self.count()
        if count is None or self.step is None:
            return None if count is None else [self.low]
        low, _, step = self._decimals()
        return [float(low + number * step) for number in range(count)]

    def _decimals(self) -> tuple[Decimal, Decimal, Decimal]:
        return Decimal(str(self.low)), Decimal(str(self.high)), Decimal(str(self.step))

    def to_json(self) -> dict[str, Any]:
        """As a space's file says it."""
        return {"type": "float", "low": self.low, "high": self.high, "log": self.log, "step": self.step}


Parameter = Choice | IntRange | FloatRange


@dataclass(frozen=True)
class Space:
    """Named parameters; the names are `--set` keys."""

    name: str
    version: int
    """Of the file's format."""
    parameters: Mapping[str, Parameter]

    def __post_init__(self) -> None:
        if not self.parameters:
            raise SpecError(f"search space {self.name!r} has no parameters: give at least one")

    @property
    def digest(self) -> str:
        """The name of what is searched: equal for two spaces with the same parameters, whatever file or order they come in."""
        return digest(
            {"version": self.version, "parameters": {key: value.to_json() for key, value in self.parameters.items()}}
        )

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

    def size(self) -> int | None:
        """Number of configurations; None when a range of real numbers makes it infinite."""
        counts = [parameter.count() for parameter in self.parameters.values()]
        return None if None in counts else math.prod(count or 0 for count in counts)

    def grid(self) -> list[dict[str, Any]]:
        """All combinations, in an order that the order of the file's keys does not change.

        Settings that need another generator change fastest: trials that run at once then train different generators, and
        those that follow find them made.

        Raises:
            SpecError: for a range of real numbers without a step, which has no end of values, or a grid too large to be meant.
        """
        for key, parameter in self.parameters.items():
            if parameter.count() is None:
                raise SpecError(
                    f"search space {self.name!r} cannot be run as a grid: {key} is a range of real numbers without a step; "
                    "give it a step, or a list of values with type: choice, or search it with search: tpe"
                )
        if (size := self.size() or 0) > _LARGEST_GRID:
            raise SpecError(
                f"search space {self.name!r} cannot be run as a grid: it has {size} configurations, at most {_LARGEST_GRID} are "
                "allowed; list fewer values, or search it with search: tpe"
            )
        shared = set(self.generator_keys())
        keys = sorted(self.parameters, key=lambda key: (key in shared, key))
        values = [self.parameters[key].all_values() or [] for key in keys]
        return [dict(zip(keys, combination, strict=True)) for combination in itertools.product(*values)]

    def generator_keys(self, *, rounds: int = 1) -> tuple[str, ...]:
        """The parameters whose values need another trained generator, sorted.

        With one round that is the section `generator`. With several, the generators of later rounds also train on the
        images that were fed back, by the text alone, and so depend on all that decides which these are.

        Args:
            rounds: `selection.rounds` where it is fixed for all trials; a searched one is read from the space.
        """
        searched = self.parameters.get("selection.rounds")
        if searched is not None:
            rounds = max(searched.values) if isinstance(searched, Choice) else int(searched.high)
        sections = ("generator.", *(_LATER_ROUNDS if rounds > 1 else ()))
        alone = {f"{section}.{name}" for section, name in GENERATE_ALONE}
        return tuple(sorted(key for key in self.parameters if key.startswith(sections) and key not in alone))
