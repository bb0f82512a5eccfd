"""What each worker of a Ray Train run does: its part of every step, and on rank 0 checkpoints and the finished generator.

A checkpoint's folder holds the trainer's state and the losses so far. The last one holds instead the generator's files, or
the error that ended the training, and every worker then reports as often as the others, which Ray's barrier needs.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fewgood.errors import FewgoodError
from fewgood.progress import Progress, silent
from fewgood.specs import GeneratorSpec

if TYPE_CHECKING:
    import torch

    from fewgood.generator.loop import History
    from fewgood.generator.trainer import Trainer
    from fewgood.generator.training import Start

__all__ = ["ERROR_FILE", "FINISHED", "Work", "conclude", "train_worker"]

FINISHED = "generator"
"""The folder with the generator's files in the last checkpoint."""
ERROR_FILE = "error.json"
"""In place of it where the training failed in a way that another attempt would repeat: `{"type", "message"}`."""

_STATE_FILE = "state.safetensors"
_LOSSES_FILE = "history.json"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a worker is told: the arguments of `prepare`, and how often it saves."""

    images: Sequence[np.ndarray]
    spec: GeneratorSpec
    start: Start
    seed: int
    precision: str
    micro_batch: int | None
    checkpoint_every: int
    threads: int
    on_gpu: bool


def train_worker(config: dict[str, Any]) -> None:
    """Ray Train's entry: `config` holds a `Work`, and as `teller` an actor whose `tell` takes rank 0's progress."""
    import torch
    from ray import train

    work: Work = config["work"]
    torch.set_num_threads(work.threads)
    context = train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        config["teller"].tell.remote((stage, done, total, note))

    tell = progress if rank == 0 else silent
    found = train.get_checkpoint()
    if found is None:
        _attempt(work, rank, workers, None, tell)
        return
    with found.as_directory() as folder:
        earlier = Path(folder)
        if (earlier / FINISHED).exists() or (earlier / ERROR_FILE).exists():
            return
        _attempt(work, rank, workers, earlier, tell)


def _attempt(work: Work, rank: int, workers: int, earlier: Path | None, progress: Progress) -> None:
    from fewgood.generator.collective import ProcessGroup
    from fewgood.generator.loop import run_steps
    from fewgood.generator.training import prepare

    images = [np.array(image) for image in work.images]  # Ray hands out read-only arrays
    trainer = prepare(
        images,
        work.spec,
        start=work.start,
        seed=work.seed,
        device=_device(work.on_gpu),
        precision=work.precision,
        micro_batch=work.micro_batch,
        workers=workers,
        collective=ProcessGroup() if workers > 1 else None,
    )
    history = {} if earlier is None else _restore(trainer, earlier)

    def after_step(done: int) -> None:
        if done % work.checkpoint_every == 0 and done < work.spec.steps:
            _report(rank, done, lambda folder: _save(trainer, history, folder))

    failure: FewgoodError | None = None
    try:
        run_steps(trainer, images, history, rank=rank, workers=workers, progress=progress, after_step=after_step)
    except FewgoodError as error:  # a loss that is no number: found by all workers in the same step
        failure = error
    _report(rank, trainer.step_number, lambda folder: conclude(trainer, images, history, failure, folder))


def conclude(
    trainer: Trainer, images: Sequence[np.ndarray], history: History, failure: FewgoodError | None, folder: Path
) -> None:
    """The last checkpoint: the generator's files, or what went wrong."""
    from fewgood.generator.training import finish

    if failure is None:
        (folder / FINISHED).mkdir()
        try:
            finish(trainer, images, history, folder / FINISHED)
        except FewgoodError as error:
            failure = error
            shutil.rmtree(folder / FINISHED)
    if failure is not None:
        text = json.dumps({"type": type(failure).__name__, "message": str(failure)})
        (folder / ERROR_FILE).write_text(text, encoding="utf-8")


def _report(rank: int, done: int, write: Callable[[Path], None]) -> None:
    """A barrier for all workers; rank 0 brings a checkpoint that `write` fills."""
    from ray import train

    if rank != 0:
        train.report({"step": done})
        return
    with tempfile.TemporaryDirectory(prefix="fewgood-") as folder:
        write(Path(folder))
        train.report({"step": done}, checkpoint=train.Checkpoint.from_directory(folder))


def _save(trainer: Trainer, history: History, folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(trainer.state(), folder / _STATE_FILE)
    (folder / _LOSSES_FILE).write_text(json.dumps(history), encoding="utf-8")


def _restore(trainer: Trainer, folder: Path) -> History:
    from safetensors.torch import load_file

    trainer.restore(load_file(folder / _STATE_FILE))
    history: History = json.loads((folder / _LOSSES_FILE).read_text(encoding="utf-8"))
    return history


def _device(on_gpu: bool) -> torch.device:
    """This worker's GPU, or the CPU; deterministic kernels are asked for on either, as in place."""
    import torch
    from ray.train.torch import get_device

    from fewgood.hardware import pick_device

    pick_device()
    if not on_gpu:
        return torch.device("cpu")
    found: torch.device = get_device()
    return found
