"""What the server serves now: the registry's generators and the keys, looked at again and again while it runs.

A newly promoted version becomes the served latest only after a replica has drawn from it; until then, and for as long as it
cannot be drawn from, the version before it stays. So a hot swap costs no request, and a broken promotion neither.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from fewgood.errors import FewgoodError
from fewgood_serve.card import Card
from fewgood_serve.keys import KeyFile, KeyRecord, find_key
from fewgood_serve.names import Reference, parse_reference
from fewgood_serve.problems import Problem
from fewgood_serve.registry import Registry, Shelf

__all__ = ["Catalog"]

logger = logging.getLogger("ray.serve")

Warm = Callable[[Reference], Awaitable[None]]


class Catalog:
    """The registry and the keys, as last seen."""

    def __init__(self, registry: Registry, keys: KeyFile | None, *, warm: Warm, poll_seconds: float) -> None:
        """Begin with nothing known.

        Args:
            registry: Where generators are.
            keys: Where keys are; None answers without.
            warm: Draws one image of a version, or raises.
            poll_seconds: How often both are looked at.
        """
        self._registry = registry
        self._keys = keys
        self._warm = warm
        self._poll = poll_seconds
        self._shelves: dict[str, Shelf] = {}
        self._served: dict[str, int] = {}
        self._problems: dict[str, str] = {}
        self._tried: dict[str, tuple[int, float]] = {}
        self._cards: dict[Reference, Card] = {}
        self._records: list[KeyRecord] = []
        self._error: str | None = "the registry has not been read yet"
        self.looked = asyncio.Event()
        """Set when the first look has come to an end."""

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.refresh()
            self.looked.set()
            await asyncio.sleep(self._poll)

    async def refresh(self) -> None:
        """Look once."""
        try:
            shelves = await asyncio.to_thread(self._registry.shelves)
            if self._keys is not None:
                self._records = await asyncio.to_thread(self._keys.read)
        except FewgoodError as error:  # what was seen last goes on being served
            if self._error != str(error):
                logger.error("%s", error)
            self._error = str(error)
            return
        self._shelves, self._error = shelves, None
        for gone in set(self._served) - set(shelves):
            del self._served[gone]
        await asyncio.gather(*(self._swap(shelf) for shelf in shelves.values()))

    async def _swap(self, shelf: Shelf) -> None:
        wanted, served = shelf.latest, self._served.get(shelf.name)
        if wanted is None or wanted == served:
            self._problems.pop(shelf.name, None)
            return
        last, until = self._tried.get(shelf.name, (0, 0.0))
        now = asyncio.get_running_loop().time()
        if last == wanted and now < until:
            return
        try:
            await self._warm(Reference(shelf.name, wanted))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a version must not end the server
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            if self._problems.get(shelf.name) != reason:
                logger.error("%s@%s cannot be served: %s", shelf.name, wanted, reason)
            self._problems[shelf.name] = reason
            self._tried[shelf.name] = (wanted, now + 30.0)
            return
        self._served[shelf.name] = wanted
        self._problems.pop(shelf.name, None)
        logger.info("%s@%s is served as the latest", shelf.name, wanted)

    @property
    def error(self) -> str | None:
        """Why the registry or the keys could not be read at the last look."""
        return self._error

    @property
    def served(self) -> list[Reference]:
        """The latest version of every generator that can be drawn from."""
        return [Reference(name, version) for name, version in sorted(self._served.items())]

    def names(self) -> list[Shelf]:
        """All generators."""
        return list(self._shelves.values())

    def latest(self, name: str) -> int | None:
        """The version that is served as a generator's latest."""
        return self._served.get(name)

    def problem(self, name: str) -> str | None:
        """Why a generator's newest version is not served."""
        return self._problems.get(name)

    def key(self, text: str) -> KeyRecord | None:
        """The record of a valid key."""
        return find_key(self._records, text, datetime.now(UTC))

    def resolve(self, text: str) -> Reference:
        """The version that a request means.

        Raises:
            Problem: 404 if there is none, 503 if it is there and cannot be served.
            SpecError: if the text is no reference.
        """
        name, version = parse_reference(text)
        shelf = self._shelves.get(name)
        if shelf is None:
            raise Problem(
                404, "no-generator", f"there is no generator {name!r}: GET /v1/generators lists what there is"
            )
        if version is None:
            latest = self._served.get(name)
            if latest is None:
                why = self._problems.get(name) or "its latest version is being loaded"
                raise Problem(503, "not-ready", f"{name} cannot be drawn from now: {why}", retry_after=5)
            return Reference(name, latest)
        if version not in shelf.versions:
            raise Problem(
                404, "no-version", f"{name} has the versions {', '.join(map(str, shelf.versions))}, not {version}"
            )
        return Reference(name, version)

    async def card(self, reference: Reference) -> Card:
        """A version's model card."""
        if reference not in self._cards:
            self._cards[reference] = await asyncio.to_thread(self._registry.card, reference)
        return self._cards[reference]
