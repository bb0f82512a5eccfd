"""Training a generator with Ray Train: data-parallel workers, checkpoints on shared storage, recovery from a dead worker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from fewgood.errors import ExecutionError, FewgoodError, SpecError
from fewgood.execution.train_run import Ended, drive, run_name
from fewgood.execution.train_worker import Work, train_worker
from fewgood.progress import Progress, silent
from fewgood.specs import GeneratorSpec

if TYPE_CHECKING:
    import torch
    from pyarrow.fs import FileSystem

    from fewgood.generator import TrainingReport
    from fewgood.stages.context import GeneratorTraining

__all__ = ["RayGeneratorTraining", "TrainingMode", "choose_training", "relative_work"]

TrainingMode = Literal["auto", "in_place", "ray"]

_KEPT = 2
"""Checkpoints of a run that stay: the last, and one before it should the last be on its way when everything dies."""
_REPAID = 0.75
"""Work taken off the first worker, in `relative_work`, from which a Ray Train run repays its fixed cost.

Measured on 2 busy cores: 400 steps of the default spec take 0.28 CPU seconds a step on one thread, 112 s in all; each of two
workers takes 0.18, which saves 39 s. A run of two workers costs 20 to 30 s before and after its steps. Two workers therefore
need 600 such steps, which they shorten by about twice the cost.
"""
_UNIT_STEPS = 400
_GPU_SPEED = 20.0
"""The same with GPUs, which do the work so much sooner while the cost stays: an assumption, no GPU was at hand."""
_RELEASED = 133_000.0
"""`_work` per pixel of the released VQGANs (128 channels, multiples 1 1 2 2 4, 2 blocks), which `init_from` stands for."""
_GROUP_STARTS = 10
"""Times that Ray waits a minute for the workers' resources before the training is given up: it must not hang."""
_EXCHANGE_TIMEOUT = 300
"""Seconds after which a worker that waits for another's part counts the other as lost."""


@dataclass(frozen=True, kw_only=True)
class RayGeneratorTraining:
    """A `GeneratorTraining` on the Ray cluster that this process has joined, also from inside a Ray Tune trial.

    The batch of every step is the spec's whatever the number of workers. A training whose caller died goes on from its last
    checkpoint when it is asked for again with the same storage.
    """

    workers: int
    """Processes that share each batch; a divisor of the spec's batch size."""
    storage_path: str
    """Where checkpoints go, seen by every host: a folder, a URI, or a path on `storage_filesystem`."""
    storage_filesystem: FileSystem | None = None
    """What `storage_path` is a path of; None takes it from the path."""
    cpus_per_worker: int = 1
    """CPUs of a worker, and the threads it computes with."""
    gpus_per_worker: float = 0.0
    """GPUs of a worker: 0 computes on the CPU, 1 and more uses nccl, less than 1 shares a GPU and uses gloo."""
    checkpoint_every: int = 100
    """Steps between checkpoints: what a dead worker costs at most."""
    max_failures: int = 3
    """Times that the workers are started again after one died."""
    micro_batch: int | None = None
    """Crops that go through the network at once, a divisor of a worker's part of the batch; None for all of it."""

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("cpus_per_worker", 1), ("checkpoint_every", 1), ("max_failures", 0)):
            value = getattr(self, name)
            if value < least:
                raise SpecError(f"training.{name} is {value}, allowed is a whole number from {least}")
        if self.gpus_per_worker < 0 or (self.gpus_per_worker > 1 and self.gpus_per_worker % 1):
            raise SpecError(
                f"training.gpus_per_worker is {self.gpus_per_worker}, allowed is 0, a part of one GPU, or whole GPUs"
            )

    def __call__(
        self,
        images: Sequence[np.ndarray],
        spec: GeneratorSpec,
        *,
        seed: int,
        out: Path,
        device: torch.device,  # noqa: ARG002 - each worker computes on its own
        precision: str,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """Train as `train_generator` does, with the same files in `out` afterwards.

        Raises:
            SpecError: If the batch does not split evenly over the workers and micro-batches, or `init_from` is unusable.
            DataError: If the images are none, or not uint8 (H, W, 3).
            ExecutionError: If no cluster is joined, it is too small, or workers died more often than `max_failures`.
            FewgoodError: If the training diverges.
        """
        from fewgood.generator.collective import check_split
        from fewgood.generator.crops import check_images
        from fewgood.generator.training import read_report, starting_point

        images = list(images)
        check_images(images)
        check_split(spec, workers=self.workers, micro_batch=self.micro_batch)
        self._check_cluster()
        started = time.monotonic()
        work = Work(
            images=images,
            spec=spec,
            start=starting_point(spec),
            seed=seed,
            precision=precision,
            micro_batch=self.micro_batch,
            checkpoint_every=self.checkpoint_every,
            threads=self.cpus_per_worker,
            on_gpu=self.gpus_per_worker > 0,
        )
        name = run_name(images, spec, seed=seed, precision=precision)
        ended = drive(partial(self.trainer, name, work), progress or silent)
        if ended.checkpoint is None:
            raise self._explained(ended)
        try:
            ended.take_files(out)
        finally:
            ended.remove()
        return read_report(out, seconds=time.monotonic() - started)

    def trainer(self, name: str, work: Work, teller: Any) -> Any:
        """Ray's trainer for `work`, whose workers send their progress to the actor `teller`."""
        from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        return TorchTrainer(
            train_worker,
            train_loop_config={"work": work, "teller": teller},
            torch_config=TorchConfig(
                backend="nccl" if self.gpus_per_worker >= 1 else "gloo", timeout_s=_EXCHANGE_TIMEOUT
            ),
            scaling_config=ScalingConfig(
                num_workers=self.workers,
                use_gpu=self.gpus_per_worker > 0,
                resources_per_worker=self._resources(),
            ),
            run_config=RunConfig(
                name=name,
                storage_path=self._storage(),
                storage_filesystem=self.storage_filesystem,
                checkpoint_config=CheckpointConfig(num_to_keep=_KEPT),
                failure_config=FailureConfig(max_failures=self.max_failures, controller_failure_limit=_GROUP_STARTS),
            ),
        )

    def _resources(self) -> dict[str, float]:
        asked: dict[str, float] = {"CPU": self.cpus_per_worker}
        return asked | {"GPU": self.gpus_per_worker} if self.gpus_per_worker else asked

    def _storage(self) -> str:
        if self.storage_filesystem is not None or "://" in self.storage_path:
            return self.storage_path
        return str(Path(self.storage_path).absolute())

    def _check_cluster(self) -> None:
        import ray

        if not ray.is_initialized():
            raise ExecutionError(
                "training with Ray needs a cluster and this process has joined none: run it in a sweep, "
                "or train in place"
            )
        there = ray.cluster_resources()
        for resource, each in self._resources().items():
            if self.workers * each > there.get(resource, 0.0):
                raise ExecutionError(
                    f"a generator's training asks for {self.workers} workers with {each:g} {resource} each, the cluster "
                    f"has {there.get(resource, 0.0):g} {resource}: lower training.workers or "
                    f"training.{resource.lower()}s_per_worker, train in place, or add a host"
                )

    def _explained(self, ended: Ended) -> FewgoodError:
        for failure in ended.failures:
            if isinstance(failure, FewgoodError):
                return failure
        reason = (" ".join(str(ended.failures[0]).split()) or type(ended.failures[0]).__name__)[-300:]
        return ExecutionError(
            f"the generator's training was given up after {self.max_failures} restarts of its {self.workers} workers "
            f"({reason}); what it had reached is kept in {ended.folder}: start again to go on from there, "
            "with a larger training.max_failures if hosts come and go"
        )


def choose_training(
    spec: GeneratorSpec,
    *,
    mode: TrainingMode,
    workers: int,
    storage_path: str,
    storage_filesystem: FileSystem | None = None,
    cpus_per_worker: int = 1,
    gpus_per_worker: float = 0.0,
    checkpoint_every: int = 100,
    max_failures: int = 3,
    micro_batch: int | None = None,
) -> GeneratorTraining | None:
    """How to train `spec`.

    Args:
        spec: The generator.
        mode: `in_place` trains in the calling process, `ray` on Ray Train workers. `auto` takes Ray where it ends sooner:
            with at least two workers, and with so much work that sharing it repays the fixed cost of a Ray Train run.
            It leaves workers out that the batch does not split over.
        workers: Workers that may be used.
        storage_path: Of the checkpoints; this and the rest as in `RayGeneratorTraining`.
        storage_filesystem: Of the checkpoints.
        cpus_per_worker: CPUs and threads of a worker.
        gpus_per_worker: GPUs of a worker.
        checkpoint_every: Steps between checkpoints.
        max_failures: Restarts after a worker's death.
        micro_batch: Crops at once; also obeyed in place.

    Returns:
        None to train in place in the plain way.

    Raises:
        SpecError: If `mode` is unknown, or the workers cannot share the batch that they are forced to.
    """
    from fewgood.generator.collective import check_split

    if mode not in get_args(TrainingMode):
        raise SpecError(f"training.mode is {mode!r}, allowed is {', '.join(get_args(TrainingMode))}")
    if mode == "auto":
        workers = max(number for number in range(1, max(workers, 1) + 1) if spec.batch_size % number == 0)
        enough = _REPAID * (_GPU_SPEED if gpus_per_worker else 1.0)
        mode = "ray" if workers > 1 and relative_work(spec) * (1 - 1 / workers) >= enough else "in_place"
    if mode == "in_place":
        check_split(spec, workers=1, micro_batch=micro_batch)
        return None if micro_batch is None else partial(_train_in_place, micro_batch=micro_batch)
    check_split(spec, workers=workers, micro_batch=micro_batch)
    return RayGeneratorTraining(
        workers=workers,
        storage_path=storage_path,
        storage_filesystem=storage_filesystem,
        cpus_per_worker=cpus_per_worker,
        gpus_per_worker=gpus_per_worker,
        checkpoint_every=checkpoint_every,
        max_failures=max_failures,
        micro_batch=micro_batch,
    )


def relative_work(spec: GeneratorSpec) -> float:
    """About how many times the work of 400 steps of the default spec `spec` is: its convolutions' multiplications."""
    return _work(spec) / _work(GeneratorSpec(steps=_UNIT_STEPS))


def _work(spec: GeneratorSpec) -> float:
    per_pixel = sum(
        (spec.channels * multiplier) ** 2 / 4**level for level, multiplier in enumerate(spec.channel_multipliers)
    ) * (2 * spec.residual_blocks + 1)
    if spec.init_from is not None:
        per_pixel = max(per_pixel, _RELEASED)
    return float(spec.steps * spec.batch_size * spec.crop**2 * per_pixel)


def _train_in_place(*args: Any, **kwargs: Any) -> TrainingReport:
    from fewgood.generator import train_generator

    return train_generator(*args, **kwargs)
