"""The driver of a running study: it alone writes the event log, hears the trials, and sees when nothing can run any more."""

from __future__ import annotations

import _thread
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ray.tune import Callback

from fewgood.errors import ExecutionError, StoreError
from fewgood.execution.cluster import Cluster
from fewgood.execution.inbox import Inbox
from fewgood.execution.schedule import fits
from fewgood.execution.searcher import COST, OBJECTIVE, PHASE
from fewgood.execution.study import Study
from fewgood.execution.study_folder import StudyFolder
from fewgood.execution.trial import configuration_name

__all__ = ["Driver", "Listener", "Watch"]

Listener = Callable[[Mapping[str, Any]], None]

_HEAR_SECONDS = 0.5
_PUBLISH_SECONDS = 15.0
"""Least time between two copies of the study's files to the shared store."""
_LOOK_SECONDS = 10.0
_PATIENCE_SECONDS = 300.0
"""How long no host may have room for a trial before the sweep is given up: a host that restarts comes back sooner."""

logger = logging.getLogger(__name__)


class Watch:
    """Sees when no living host can hold a trial any more, which Tune would wait out for ever."""

    def __init__(self, study: Study, cluster: Cluster) -> None:
        self._study = study
        self._cluster = cluster
        self._looked = self._good = time.monotonic()

    def lost(self) -> str | None:
        """Why the sweep cannot go on; None while it can."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return None
        self._looked = now
        hosts = self._cluster.hosts()
        if fits(self._study, hosts, 1):
            self._good = now
        if now - self._good < _PATIENCE_SECONDS:
            return None
        left = ", ".join(f"{host.address} with {host.cpus:g} CPUs" for host in hosts) or "none"
        return f"for {_PATIENCE_SECONDS:.0f} s no living host had room for a trial (alive: {left})"


class Driver:
    """Writes a study's events and passes them on.

    Args:
        folder: The study's folder.
        labels: The searcher's cells by number.
        inbox: Where trials send their news.
        listener: Called with each event after it was written.
    """

    def __init__(self, folder: StudyFolder, labels: Sequence[str], inbox: Inbox, listener: Listener) -> None:
        self._folder = folder
        self.labels = labels
        self._inbox = inbox
        self._listener = listener
        self._lock = threading.Lock()
        self._published = time.monotonic()
        self._lost: str | None = None

    def emit(self, event: str, **details: Any) -> None:
        """Write one event, then tell the listener."""
        with self._lock:
            self._listener(self._folder.log.write(event, **details))

    def callback(self, gave_up: Callable[[str], bool]) -> Callback:
        """What Tune calls at each turn of a trial; `gave_up` says of one that died whether it was its last try."""
        return _Turns(self, gave_up)

    @contextmanager
    def following(self, watch: Watch) -> Iterator[None]:
        """Hear the trials while the block runs.

        Raises:
            ExecutionError: instead of waiting for ever, when the watch says that nothing can run any more.
        """
        ended = threading.Event()
        follower = threading.Thread(target=self._follow, args=(ended, watch), name="study", daemon=True)
        follower.start()
        try:
            yield
        except KeyboardInterrupt:
            if self._lost is None:
                raise
            raise ExecutionError(
                f"the sweep was given up: {self._lost}; what finished is kept, and `fewgood resume {self._folder.name}` "
                "carries on when the cluster has room"
            ) from None
        finally:
            ended.set()
            follower.join(timeout=10)

    def _follow(self, ended: threading.Event, watch: Watch) -> None:
        while True:
            last = ended.wait(_HEAR_SECONDS)
            for message in self._inbox.take():
                self.emit(message.pop("event"), **message)
            self._publish(last)
            if last:
                return
            self._lost = watch.lost()
            if self._lost is not None:
                _thread.interrupt_main()
                return

    def _publish(self, now: bool) -> None:
        if not now and time.monotonic() - self._published < _PUBLISH_SECONDS:
            return
        self._published = time.monotonic()
        try:
            self._folder.publish()
        except StoreError as error:
            # The files are whole here; the next copy brings them up to date.
            logger.warning("%s", error)


class _Turns(Callback):
    """Tune's callbacks as events."""

    def __init__(self, driver: Driver, gave_up: Callable[[str], bool]) -> None:
        self._driver = driver
        self._gave_up = gave_up

    def __getstate__(self) -> dict[str, Any]:
        """Tune keeps a copy of its callbacks for a `Tuner.restore` that fewgood never asks for: it carries on from the log."""
        return {}

    def on_trial_start(self, *, trial: Any, **_: Any) -> None:
        self._driver.emit("trial_started", **self._named(trial))

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:
        if not self._gave_up(trial.trial_id):
            self._driver.emit("trial_interrupted", **self._named(trial))
            return
        error = "its worker or host died more often than resources.restarts allows"
        self._driver.emit("trial_failed", **self._named(trial), error=error)

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:
        result = trial.last_result or {}
        named = self._named(trial)
        phase = result.get(PHASE)
        if phase == "finished":
            wanted = (OBJECTIVE, COST, "proxy", "test", "runs", "generated_runs", "generators_cached", "seconds")
            self._driver.emit("trial_finished", **named, **{key: result[key] for key in wanted if key in result})
        elif phase == "seeds":
            kept = {key: result[key] for key in (OBJECTIVE, COST, "seeds")}
            self._driver.emit("trial_stopped", **named, **kept)
        else:
            self._driver.emit("trial_failed", **named, error=result.get("error") or "it ended without a result")

    def _named(self, trial: Any) -> dict[str, Any]:
        settings = dict(trial.config["settings"])
        label = self._driver.labels[int(trial.config["cell"])]
        return {"cell": label, "trial": configuration_name(label, settings), "settings": settings}
