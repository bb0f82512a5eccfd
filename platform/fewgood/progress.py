"""How a long stage tells that it is alive: one callable, which a command, a Ray trial or a test supplies."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "silent"]


class Progress(Protocol):
    """Called by a stage after each piece of work; must be cheap and must not raise."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Say that `done` of `total` pieces of `stage` are finished; `note` is a short human remark."""


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """A `Progress` that says nothing."""
