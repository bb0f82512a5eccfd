"""Places that are shared fairly: whoever waits for many gets one in turn with those who wait for one."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

__all__ = ["Turns"]


class Turns:
    """A semaphore whose waiters are served owner by owner, round and round."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: OrderedDict[object, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, owner: object) -> AsyncIterator[None]:
        """Hold a place, when it is the owner's turn."""
        await self._acquire(owner)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, owner: object) -> None:
        if self._free > 0 and not self._waiting:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # it was given in the same moment
                self._release()
            elif owner in self._waiting:
                with suppress(ValueError):  # taken out in the same moment
                    self._waiting[owner].remove(place)
                if not self._waiting[owner]:
                    del self._waiting[owner]
            raise

    def _release(self) -> None:
        while self._waiting:
            owner, places = next(iter(self._waiting.items()))
            place = places.popleft()
            if places:
                self._waiting.move_to_end(owner)
            else:
                del self._waiting[owner]
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
