"""The arms by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from fewgood.arms.augment import augment
from fewgood.arms.base import ArmInputs, TrainingSet
from fewgood.arms.generated import generate, generate_random
from fewgood.arms.noise import noise
from fewgood.arms.plain import duplicate, full, none

__all__ = ["ARM_BUILDERS", "build_training_set"]

ARM_BUILDERS: Mapping[str, Callable[[ArmInputs], TrainingSet]] = MappingProxyType(
    {
        "none": none,
        "duplicate": duplicate,
        "augment": augment,
        "noise": noise,
        "generate-random": generate_random,
        "generate": generate,
        "full": full,
    }
)


def build_training_set(arm: str, inputs: ArmInputs) -> TrainingSet:
    """The training set of an arm; `arm` is a key of `ARM_BUILDERS`."""
    return ARM_BUILDERS[arm](inputs)
