"""Leases for work that several hosts might do: a named Ray actor grants them, and they expire when their holder dies."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

__all__ = ["LeaseTable", "RayLeases"]

NAME = "fewgood-leases"
NAMESPACE = "fewgood"

_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two tries of a waiter, at first and at most."""
_ANSWER_SECONDS = 10.0
"""An actor that does not answer for so long (it is restarted, or its host is cut off) is done without."""

_KEPT: dict[tuple[str, str], Any] = {}
"""Handles of the actors that this driver started: without one, Ray ends an actor."""

logger = logging.getLogger(__name__)


class LeaseTable:
    """Who holds which lease, and until when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, tuple[str, float]] = {}

    def acquire(self, name: str, owner: str, ttl: float) -> bool:
        """Give the lease to `owner` for `ttl` seconds from now, unless somebody else holds it; whether it was given.

        The holder gets it again, with the new end; so this also renews.
        """
        holder = self.holder(name)
        if holder not in (None, owner):
            return False
        self._held[name] = (owner, self._clock() + ttl)
        return True

    def release(self, name: str, owner: str) -> bool:
        """End the lease if `owner` holds it; whether it did."""
        if self.holder(name) != owner:
            return False
        del self._held[name]
        return True

    def holder(self, name: str) -> str | None:
        """Who holds the lease now."""
        owner, end = self._held.get(name, (None, 0.0))
        if owner is not None and end <= self._clock():
            del self._held[name]
            return None
        return owner


@dataclass(frozen=True)
class RayLeases:
    """`fewgood.store.Leases` from an actor of the cluster; travels to workers as its fields.

    Where the actor cannot be asked the work goes on without a lease, with a warning.
    """

    ttl: float = 30.0
    """Seconds after which the lease of a holder that says nothing more is free."""
    name: str = NAME
    namespace: str = NAMESPACE

    @classmethod
    def start(cls, *, ttl: float = 30.0, name: str = NAME, namespace: str = NAMESPACE) -> RayLeases:
        """Leases from an actor on this host, which is started unless the cluster has it; it ends with the job.

        Call it in the driver, so that losing another host does not lose the leases.
        """
        here = ray.get_runtime_context().get_node_id()
        actor = (
            ray.remote(LeaseTable)
            .options(
                name=name,
                namespace=namespace,
                get_if_exists=True,
                num_cpus=0,
                max_restarts=-1,
                scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
            )
            .remote()
        )
        _KEPT[namespace, name] = actor
        return cls(ttl=ttl, name=name, namespace=namespace)

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Wait until the work `name` is free, hold it while the block runs, then let it go."""
        owner = f"{os.getpid()}-{threading.get_ident()}-{uuid.uuid4().hex}"
        if not self._wait(name, owner):
            yield
            return
        ended = threading.Event()
        renewer = threading.Thread(target=self._renew, args=(name, owner, ended), daemon=True)
        renewer.start()
        try:
            yield
        finally:
            ended.set()
            renewer.join(_ANSWER_SECONDS)
            self._ask("release", name, owner)

    def _wait(self, name: str, owner: str) -> bool:
        """Ask until the lease is given; False if nobody answers."""
        pause = _PAUSE
        while True:
            given = self._ask("acquire", name, owner, self.ttl)
            if given is not False:
                return bool(given)
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _renew(self, name: str, owner: str, ended: threading.Event) -> None:
        while not ended.wait(self.ttl / 3):
            if self._ask("acquire", name, owner, self.ttl) is False:
                logger.warning("the lease on %s had expired and is another's now: the work may be done twice", name)
                return

    def _ask(self, method: str, *arguments: Any) -> bool | None:
        """The actor's answer; None, with a warning, if it gives none."""
        end = time.monotonic() + _ANSWER_SECONDS
        while True:
            try:
                if not ray.is_initialized():
                    raise ValueError("this process is not connected to Ray")
                actor = ray.get_actor(self.name, namespace=self.namespace)
                left = max(0.1, end - time.monotonic())
                return bool(ray.get(getattr(actor, method).remote(*arguments), timeout=left))
            except (ray.exceptions.RayError, ValueError) as error:
                if isinstance(error, ray.exceptions.ActorUnavailableError) and time.monotonic() < end:
                    time.sleep(_PAUSE)  # it is being restarted
                    continue
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                logger.warning("no lease on %s (%s): the work goes on without one", arguments[0], reason)
                return None
