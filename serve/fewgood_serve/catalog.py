"""What the server serves now: the registry's generators and the keys, looked at again and again while it runs.

A newly promoted version becomes the served latest only after a replica has drawn from it; until then, and for as long as it
cannot be drawn from, the version before it stays. So a hot swap costs no request, and a broken promotion neither.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from fewgood.errors import StoreError
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
        self._registry_error: str | None = "the registry has not been read yet"
        self._keys_error: str | None = None
        self._swaps: dict[str, tuple[int, asyncio.Task[None]]] = {}
        self.looked = asyncio.Event()
        """Set when what the first look found was taken in."""

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        first = None
        try:
            while True:
                await self._look_at_keys()
                await self._look_at_registry()
                if first is None:
                    first = asyncio.create_task(self._after_first_look())
                await asyncio.sleep(self._poll)
        finally:
            for _, task in self._swaps.values():
                task.cancel()

    async def _after_first_look(self) -> None:
        await asyncio.gather(*(task for _, task in self._swaps.values()), return_exceptions=True)
        self.looked.set()

    async def _look_at_keys(self) -> None:
        if self._keys is None:
            return
        try:
            self._records = await asyncio.to_thread(self._keys.read)
            self._keys_error = None
        except Exception as error:  # noqa: BLE001 - the keys that were read last stay valid; it is said and tried again
            self._keys_error = self._said(self._keys_error, error)

    async def _look_at_registry(self) -> None:
        try:
            shelves = await asyncio.to_thread(self._registry.shelves)
            if self._shelves and not shelves:  # nothing removes generators: a store that is not mounted looks like this
                raise StoreError(
                    f"the registry {self._registry.shown} is empty now: is its folder or store in its place?"
                )
            self._registry_error = None
        except Exception as error:  # noqa: BLE001 - what was seen last goes on being served; it is said and tried again
            self._registry_error = self._said(self._registry_error, error)
            return
        self._shelves = shelves
        for gone in set(self._served) - set(shelves):
            del self._served[gone]
        for name in set(self._swaps) - set(shelves):
            self._swaps.pop(name)[1].cancel()
        for shelf in shelves.values():
            self._wish(shelf)

    def _said(self, before: str | None, error: Exception) -> str:
        text = " ".join(str(error).split())[:300] or type(error).__name__
        if text != before:
            logger.error("%s", text)
        return text

    def _wish(self, shelf: Shelf) -> None:
        """Begin to take in a version that became the latest; one that was being taken in before it is left."""
        wanted = shelf.latest
        if shelf.problem is not None:
            self._problems[shelf.name] = shelf.problem
            return
        known = self._swaps.get(shelf.name)
        if known is not None and known[0] == wanted and not known[1].done():
            return
        if known is not None:
            known[1].cancel()
            del self._swaps[shelf.name]
        if wanted is None or wanted == self._served.get(shelf.name):
            self._problems.pop(shelf.name, None)
            return
        last, until = self._tried.get(shelf.name, (0, 0.0))
        if last == wanted and asyncio.get_running_loop().time() < until:
            return
        self._swaps[shelf.name] = (wanted, asyncio.create_task(self._take_in(Reference(shelf.name, wanted))))

    async def _take_in(self, reference: Reference) -> None:
        try:
            await self.card(reference)
            await self._warm(reference)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a version must not end the server
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            if self._problems.get(reference.name) != reason:
                logger.error("%s cannot be served: %s", reference, reason)
            self._problems[reference.name] = reason
            self._tried[reference.name] = (reference.version, asyncio.get_running_loop().time() + 30.0)
            return
        self._served[reference.name] = reference.version
        self._problems.pop(reference.name, None)
        logger.info("%s is served as the latest", reference)

    @property
    def error(self) -> str | None:
        """Why the registry or the keys could not be read at the last look."""
        return self._registry_error or self._keys_error

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
