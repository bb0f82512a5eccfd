"""What an arm's builder is given and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["AddedImage", "ArmInputs", "Candidate", "TrainingSet"]


@dataclass(frozen=True)
class Candidate:
    """One generated image of the pool."""

    index: int
    """Its place in the pool: with the seed it fixes the image."""
    image: np.ndarray
    """uint8 (H, W, 3), RGB."""
    base: np.ndarray | None
    """What it would be without what the network drew, uint8 (H, W, 3); given to `noise` alone."""
    source: int
    """Index of the support image."""
    score: float | None
    """The integrator's score; None where the arm does not score."""


@dataclass(frozen=True)
class AddedImage:
    """One image that an arm adds to the support set, and where it came from."""

    image: np.ndarray
    """uint8 (H, W, 3), RGB."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """How it was made, as plain JSON: arm, source, index, prompt, score."""


@dataclass(frozen=True)
class ArmInputs:
    """Everything a builder may use. Builders are pure functions of it."""

    support: Sequence[np.ndarray]
    """The k support images, uint8 (H, W, 3)."""
    support_names: Sequence[str]
    count: int
    """m, the number of images to add; 0 or more."""
    seed: int
    kind: str
    """object, texture or unknown: which augmentations keep the part good."""
    all_good: Sequence[np.ndarray] = ()
    """Every good training image; given to `full` alone."""
    all_good_names: Sequence[str] = ()
    candidates: Sequence[Candidate] = ()
    """The pool, by index; given to the generating arms."""
    prompt: str | None = None
    text_share: float = 0.0
    """`SelectionSpec.text_share`."""
    patches: Callable[[Sequence[np.ndarray]], np.ndarray] | None = None
    """The patch features of N images, (N, L, D); asked for where `text_share` leaves a choice."""


@dataclass(frozen=True)
class TrainingSet:
    """The good images a detector is fitted on: the support set first, then what the arm added."""

    support: Sequence[np.ndarray]
    added: Sequence[AddedImage]

    @property
    def images(self) -> list[np.ndarray]:
        """All images, uint8 (H, W, 3) each."""
        return [*self.support, *(added.image for added in self.added)]
