"""What keeps a server from being overrun: rates per key, and bounds on requests and images in progress."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fewgood_serve.monitoring import Monitor
from fewgood_serve.problems import Problem
from fewgood_serve.settings import Limits

__all__ = ["Admission"]

_KEYS = 10_000
"""Keys whose rates are remembered; the one that was silent longest is forgotten, and is full again by then."""


class _Bucket:
    """A token bucket that holds one minute's worth."""

    def __init__(self, per_minute: float, now: float) -> None:
        self._size = per_minute
        self._level = per_minute
        self._time = now

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there; takes it if that is now."""
        self._level = min(self._size, self._level + (now - self._time) * self._size / 60.0)
        self._time = now
        if amount <= self._level:
            self._level -= amount
            return 0.0
        return (min(amount, self._size) - self._level) * 60.0 / self._size


class Admission:
    """Lets requests in, or says when to come again."""

    def __init__(self, limits: Limits, monitor: Monitor, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._monitor = monitor
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()
        self._queued = 0
        self._open = 0

    @property
    def queued(self) -> int:
        """Images that requests in progress still wait for."""
        return self._queued

    @property
    def open(self) -> int:
        """Requests in progress."""
        return self._open

    def rate(self, key: str, *, images: int) -> None:
        """Count a request of a key.

        Raises:
            Problem: 429 if the key asked for too much in the last minute.
        """
        for kind, amount, per_minute in (
            ("requests", 1, self._limits.requests_per_minute),
            ("images", images, self._limits.images_per_minute),
        ):
            if amount > per_minute:
                raise Problem(
                    422,
                    "too-many-images",
                    f"{amount} images are more than a minute's allowance of {per_minute}: ask for fewer",
                )
            wait = self._bucket(key, kind, per_minute).wait(amount, self._clock())
            if wait > 0:
                raise Problem(
                    429,
                    "too-often",
                    f"this key may ask for {per_minute} {kind} a minute: wait {math.ceil(wait)} s",
                    retry_after=math.ceil(wait),
                )

    @contextmanager
    def request(self) -> Iterator[None]:
        """Hold a place among the requests in progress.

        Raises:
            Problem: 503 if all are taken.
        """
        if self._open >= self._limits.requests:
            raise Problem(
                503, "full", f"{self._open} requests are in progress, as many as are allowed: try again", retry_after=2
            )
        self._open += 1
        self._monitor.open.set(self._open)
        try:
            yield
        finally:
            self._open -= 1
            self._monitor.open.set(self._open)

    def enter(self, images: int) -> Place:
        """Take places for `images` in the queue.

        Raises:
            Problem: 503 if it has no room for them.
        """
        if self._queued + images > self._limits.queued_images:
            raise Problem(
                503,
                "full",
                f"{self._queued} images are waited for and {self._limits.queued_images} may be: try again",
                retry_after=2,
            )
        self._change(images)
        return Place(self, images)

    def _change(self, images: int) -> None:
        self._queued += images
        self._monitor.queued.set(self._queued)

    def _bucket(self, key: str, kind: str, per_minute: float) -> _Bucket:
        bucket = self._buckets.pop((key, kind), None) or _Bucket(per_minute, self._clock())
        self._buckets[key, kind] = bucket
        while len(self._buckets) > 2 * _KEYS:
            self._buckets.popitem(last=False)
        return bucket


class Place:
    """A request's places in the queue, given back one by one and at the end all."""

    def __init__(self, admission: Admission, images: int) -> None:
        self._admission = admission
        self._images = images

    def done(self, images: int = 1) -> None:
        """Give back places of images that were drawn."""
        images = min(images, self._images)
        self._images -= images
        self._admission._change(-images)

    def leave(self) -> None:
        """Give back what is left."""
        self.done(self._images)
