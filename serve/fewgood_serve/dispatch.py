"""Getting images from replicas: so many at once, again from another one when one is lost, in the order of their numbers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, nullcontext

from fewgood.errors import FewgoodError
from fewgood_serve.monitoring import Monitor
from fewgood_serve.names import Reference
from fewgood_serve.painter import Drawn, Wanted
from fewgood_serve.problems import Problem
from fewgood_serve.turns import Turns

__all__ = ["Answer", "Dispatcher", "Lost"]

_TRIES = 8
_PAUSE_SECONDS = 0.25
"""Before the second try; each later pause is twice as long, up to four seconds: a new replica takes some to load."""


class Lost(Exception):
    """The replica died or cannot be reached: another one would draw the same image."""


class Answer:
    """What a replica gives for one image."""

    def __init__(self, drawn: Drawn, rows: int) -> None:
        self.drawn = drawn
        self.rows = rows
        """Images that went through its networks together."""


Call = Callable[[Reference, Wanted], Awaitable[Answer]]


class Dispatcher:
    """All images of all requests and jobs go through one of these."""

    def __init__(self, call: Call, *, in_flight: int, image_seconds: float, monitor: Monitor) -> None:
        """Begin.

        Args:
            call: Has one image drawn; raises `Lost` where another try may help.
            in_flight: Images with replicas at once.
            image_seconds: Seconds for one image, waiting in a replica included.
            monitor: Told what happens.
        """
        self._call = call
        self._turns = Turns(in_flight)
        self._window = in_flight
        self._seconds = image_seconds
        self._monitor = monitor

    async def draw(self, reference: Reference, wanted: Wanted, *, owner: object | None = None) -> Drawn:
        """One image.

        Args:
            reference: The version.
            wanted: The image.
            owner: Whose turn it takes among all that wait; None waits for none, to see that it works at all.

        Raises:
            Problem: 503 if no replica could draw it.
        """
        pause = _PAUSE_SECONDS
        reason = ""
        for attempt in range(_TRIES):
            if attempt:
                self._monitor.retries.inc()
                await asyncio.sleep(pause)
                pause = min(2 * pause, 4.0)
            async with nullcontext() if owner is None else self._turns.turn(owner):
                started = time.monotonic()
                try:
                    async with asyncio.timeout(self._seconds):
                        answer = await self._call(reference, wanted)
                except Lost as error:
                    reason = str(error)
                    continue
                except TimeoutError:
                    reason = f"no answer within {self._seconds:g} s"
                    continue
                except FewgoodError as error:
                    raise Problem(
                        503, "generator-broken", f"{reference} cannot be drawn from: {error}", retry_after=30
                    ) from error
            self._monitor.draw.observe(time.monotonic() - started)
            self._monitor.batch.observe(answer.rows)
            self._monitor.images.labels(reference.name, str(reference.version)).inc()
            return answer.drawn
        raise Problem(503, "no-replica", f"no replica could draw from {reference} ({reason}): try again", retry_after=5)

    async def series(
        self, reference: Reference, wanted: Iterable[Wanted], *, window: int | None = None
    ) -> AsyncGenerator[Drawn]:
        """Images in the order asked for, up to `window` of them in work; that work is cancelled with the iterator."""
        pending: deque[asyncio.Task[Drawn]] = deque()
        owner = object()
        try:
            for one in wanted:
                pending.append(asyncio.create_task(self.draw(reference, one, owner=owner)))
                if len(pending) >= (window or self._window):
                    yield await pending[0]
                    pending.popleft()
            while pending:
                yield await pending[0]
                pending.popleft()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def all(self, reference: Reference, wanted: Iterable[Wanted]) -> list[Drawn]:
        """The same, when all are there."""
        async with aclosing(self.series(reference, wanted)) as images:
            return [one async for one in images]
