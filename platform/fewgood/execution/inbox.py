"""What running trials say while they run: from any host to the driver, which alone writes the study's event log."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Protocol

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

__all__ = ["Inbox", "Reporter"]

_KEPT = 10_000
"""Messages held for a driver that does not fetch them; older ones are dropped."""


class Reporter(Protocol):
    """Takes news of a running trial."""

    def __call__(self, event: str, **details: Any) -> None:
        """One event; it is news and nothing depends on it."""


class _Box:
    def __init__(self) -> None:
        self._messages: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    def put(self, message: dict[str, Any]) -> None:
        self._messages.append(message)

    def take(self) -> list[dict[str, Any]]:
        taken = list(self._messages)
        self._messages.clear()
        return taken


class Inbox:
    """A Ray actor on the driver's host that holds messages until the driver takes them; travels to trials as a handle."""

    def __init__(self) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._box: Any = ray.remote(_Box).options(num_cpus=0, scheduling_strategy=here).remote()

    def __call__(self, event: str, **details: Any) -> None:
        """Send without waiting: a host that is cut off goes on with its work."""
        self._box.put.remote({"event": event, **details})

    def take(self, timeout: float = 5.0) -> list[dict[str, Any]]:
        """The messages since the last call; none when the actor does not answer in `timeout` seconds."""
        try:
            return list(ray.get(self._box.take.remote(), timeout=timeout))
        except (ray.exceptions.RayError, TimeoutError):
            time.sleep(0.1)
            return []
