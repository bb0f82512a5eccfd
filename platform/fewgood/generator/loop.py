"""The training loop: every step's batch, this worker's part of it, and what is told and kept on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from fewgood.generator.crops import crop_batch
from fewgood.generator.trainer import Trainer
from fewgood.progress import Progress, silent

__all__ = ["STAGE", "History", "run_steps"]

STAGE = "generator"

History = dict[str, list[float]]
"""Each loss term's value per step; terms that start late are shorter and end with the last step."""

_REPORTS = 100


def run_steps(
    trainer: Trainer,
    images: Sequence[np.ndarray],
    history: History,
    *,
    rank: int = 0,
    workers: int = 1,
    progress: Progress = silent,
    after_step: Callable[[int], None] | None = None,
) -> None:
    """Take the steps that `trainer` has still to do.

    Args:
        trainer: New, or restored from a state.
        images: uint8 (H, W, 3) RGB each: the training set, the same on every worker.
        history: Gets each step's losses; holds those of the steps that a restored trainer has done.
        rank: This worker's number.
        workers: Workers that take the steps together; each computes an equal part of the batch.
        progress: Called about a hundred times.
        after_step: Called after each step with the number of steps done, on every worker.

    Raises:
        FewgoodError: If the training diverges, at the same step on every worker.
    """
    spec = trainer.spec
    share = spec.batch_size // workers
    own = slice(rank * share, (rank + 1) * share)
    every = max(1, spec.steps // _REPORTS)
    first, started = trainer.step_number, time.monotonic()
    for step in range(first, spec.steps):
        crops = crop_batch(images, count=spec.batch_size, side=spec.crop, seed=trainer.seed, step=step)
        noise = trainer.noise(spec.batch_size, spec.crop)
        terms = trainer.step(crops[own], None if noise is None else noise[own])
        for name, value in terms.items():
            history.setdefault(name, []).append(value)
        done = step + 1
        if done % every == 0 or done == spec.steps:
            rate = (done - first) / max(time.monotonic() - started, 1e-9)
            progress(STAGE, done, spec.steps, _note(spec.steps - done, rate, terms["loss"]))
        if after_step is not None:
            after_step(done)


def _note(left: int, rate: float, loss: float) -> str:
    seconds = round(left / rate)
    return f"loss {loss:.3f}, {rate:.1f} steps/s, {seconds // 60}:{seconds % 60:02d} left"
