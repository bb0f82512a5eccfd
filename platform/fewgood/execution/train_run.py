"""One Ray Train run: the actor that drives it beside its caller, its name, and what it leaves."""

from __future__ import annotations

import hashlib
import json
import os
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fewgood import errors
from fewgood.errors import FewgoodError
from fewgood.execution.train_worker import ERROR_FILE, FINISHED
from fewgood.progress import Progress
from fewgood.specs import GeneratorSpec, digest, plain

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["Ended", "Note", "drive", "run_name"]

Note = tuple[str, int, int, str]
"""Progress: stage, done, total, remark."""

_FORMAT = 1
"""Of the checkpoints: part of a run's name, so that a training never goes on from another format's."""
_POLL = 0.25
"""Seconds between looks at the workers' progress."""
_HEALTH_CHECK = ("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
"""Ray's 2 s would be the least that a run's end takes to be seen, and a checkpoint to count."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ended: with a last checkpoint, or with what its workers died of once too often."""

    folder: str
    """The run's folder on `filesystem`."""
    filesystem: FileSystem
    checkpoint: str | None
    """The last checkpoint's folder; None for a run that was given up."""
    failures: tuple[Exception, ...] = ()

    def take_files(self, out: Path) -> None:
        """Copy the generator's files into `out`, spec.json last.

        Raises:
            FewgoodError: What the training failed with, if the last checkpoint holds that instead.
        """
        from pyarrow.fs import FileSelector, FileType, LocalFileSystem, copy_files

        failure = f"{self.checkpoint}/{ERROR_FILE}"
        if self.filesystem.get_file_info(failure).type != FileType.NotFound:
            with self.filesystem.open_input_stream(failure) as stream:
                found = json.loads(stream.read())
            kind: type[FewgoodError] = getattr(errors, found["type"])
            raise kind(found["message"])
        files = self.filesystem.get_file_info(FileSelector(f"{self.checkpoint}/{FINISHED}"))
        for info in sorted(files, key=lambda info: str(info.base_name)):
            target = str(out.absolute() / info.base_name)
            copy_files(info.path, target, source_filesystem=self.filesystem, destination_filesystem=LocalFileSystem())

    def remove(self) -> None:
        """Delete the run's folder with its checkpoints."""
        self.filesystem.delete_dir(self.folder)


def drive(build: Callable[[Any], Any], progress: Progress) -> Ended:
    """Run a trainer to its end in an actor of its own, passing its workers' progress on.

    The actor's environment names this cluster. Ray Train asks the State API whether its controller lives, and removes the
    workers if not; without the name it asks whichever cluster of this machine was started last. And `fit` in a main thread
    would take over Ctrl-C, for good, and end the process with status 0.

    Args:
        build: Makes the trainer, given the actor that workers send `tell(note)`.
        progress: Called from this thread.
    """
    here = ray.get_runtime_context()
    name, default = _HEALTH_CHECK
    environment = {"RAY_ADDRESS": here.gcs_address, name: os.environ.get(name, default)}
    driver = (
        ray.remote(_Driver)
        .options(
            num_cpus=0,
            max_concurrency=4,
            runtime_env={"env_vars": environment},
            scheduling_strategy=NodeAffinitySchedulingStrategy(here.get_node_id(), soft=False),
        )
        .remote()
    )
    try:
        outcome = driver.run.remote(build)
        while True:
            done, _ = ray.wait([outcome], timeout=_POLL)
            for note in ray.get(driver.news.remote()):
                progress(*note)
            if done:
                ended: Ended = ray.get(outcome)
                return ended
    finally:
        ray.kill(driver)


class _Driver:
    """Ray's actor around `fit`: its methods run in threads beside each other."""

    def __init__(self) -> None:
        self._notes: queue.SimpleQueue[Note] = queue.SimpleQueue()

    def run(self, build: Callable[[Any], Any]) -> Ended:
        from ray.train import TrainingFailedError

        trainer = build(ray.get_runtime_context().current_actor)
        storage = trainer.run_config.storage_context
        folder, filesystem = storage.experiment_fs_path, storage.storage_filesystem
        try:
            result = trainer.fit()
        except TrainingFailedError as error:
            failures = tuple(getattr(error, "worker_failures", {}).values()) or (error,)
            return Ended(folder=folder, filesystem=filesystem, checkpoint=None, failures=failures)
        return Ended(folder=folder, filesystem=filesystem, checkpoint=result.checkpoint.path)

    def tell(self, note: Note) -> None:
        self._notes.put(note)

    def news(self) -> list[Note]:
        return [self._notes.get() for _ in range(self._notes.qsize())]


def run_name(images: Sequence[np.ndarray], spec: GeneratorSpec, *, seed: int, precision: str) -> str:
    """The name of a training's folder: equal for equal trainings, whatever their workers, so that one can go on."""
    content = hashlib.sha256()
    for image in images:
        content.update(f"{image.shape}".encode())
        content.update(np.ascontiguousarray(image).data)
    described = {
        "format": _FORMAT,
        "spec": plain(spec, hashed_only=False),
        "seed": seed,
        "precision": precision,
        "images": content.hexdigest(),
    }
    return f"generator-{digest(described)}"
