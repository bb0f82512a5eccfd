"""A Ray Serve replica: it keeps a few generators loaded and draws images from them, one pass after the other, in one thread."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ray import serve

from fewgood.embedding import Embedder
from fewgood.errors import StoreError
from fewgood.hardware import pick_device
from fewgood.store import Home
from fewgood_serve.names import Reference, parse_reference
from fewgood_serve.painter import Drawn, Painter, Wanted
from fewgood_serve.registry import Registry
from fewgood_serve.settings import ServeSettings

__all__ = ["Replica"]

_FRESH_SECONDS = 20.0
"""A replica that drew an image so short ago is healthy."""
_HEALTH_SECONDS = 25.0
_FOLLOW_SECONDS = 5.0

Result = TypeVar("Result")

logger = logging.getLogger("ray.serve")


class Replica:
    """Draws images of the generators that requests name by their multiplexed model id, `name@version`."""

    async def __init__(self, settings: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it
        """Pin the threads, find device, home and registry, and load the latest generators.

        Args:
            settings: `ServeSettings` as plain JSON.
        """
        import torch

        made = ServeSettings.model_validate(settings)
        torch.set_num_threads(made.threads)
        self._settings = made
        self._home = Home.locate(Path(made.home), made.store).prepare()
        self._registry = Registry.locate(self._home, made.registry)
        self._device = pick_device()
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="painter", initializer=torch.set_num_threads, initargs=(made.threads,)
        )
        self._embedders: dict[str, Embedder] = {}
        self._last: str | None = None
        self._drawn = time.monotonic()
        self._tried: set[str] = set()

        @serve.multiplexed(max_num_models_per_replica=made.models)
        async def load(model_id: str) -> Painter:
            return await self._run(lambda: self._open(model_id))

        @serve.batch(max_batch_size=made.rows, batch_wait_timeout_s=made.batch_wait_ms / 1000)
        async def together(wanted: list[Wanted]) -> list[tuple[Drawn, int]]:
            painter = await load(serve.get_multiplexed_model_id())
            drawn = await self._run(lambda: painter.draw(wanted))
            return [(one, len(wanted)) for one in drawn]

        async def alone(wanted: Wanted) -> tuple[Drawn, int]:
            painter = await load(serve.get_multiplexed_model_id())
            return (await self._run(lambda: painter.draw([wanted])))[0], 1

        self._load = load
        self._draw = together if made.rows > 1 else alone
        await self._keep_warm()
        self._following = asyncio.create_task(self._follow())

    async def draw(self, wanted: Wanted) -> tuple[Drawn, int]:
        """One image, and how many went through the networks with it."""
        drawn: tuple[Drawn, int] = await self._draw(wanted)
        self._last, self._drawn = serve.get_multiplexed_model_id(), time.monotonic()
        return drawn

    async def check_health(self) -> None:
        """Draw an image of the generator that was drawn from last, unless that was a moment ago.

        Raises:
            Exception: if it cannot, or not in time: Serve then replaces the replica.
        """
        if self._last is None or time.monotonic() - self._drawn < _FRESH_SECONDS:
            return
        async with asyncio.timeout(_HEALTH_SECONDS):
            painter = await self._load(self._last)
            await self._run(lambda: painter.draw([Wanted(seed=0, index=0)]))
        self._drawn = time.monotonic()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_FOLLOW_SECONDS)
            await self._keep_warm()

    async def _keep_warm(self) -> None:
        """Load latest versions that were not loaded yet, so that no request waits for that."""
        try:
            shelves = await asyncio.to_thread(self._registry.shelves)
        except Exception as error:  # noqa: BLE001 - what is loaded serves on
            logger.warning("the registry cannot be looked at: %s", error)
            return
        latest = [f"{shelf.name}@{shelf.latest}" for shelf in shelves.values() if shelf.latest is not None]
        for model_id in latest[: self._settings.models]:
            if model_id in self._tried:
                continue
            self._tried.add(model_id)
            try:
                await self._load(model_id)
            except Exception as error:  # noqa: BLE001 - a request for it says why
                logger.error("%s cannot be loaded: %s", model_id, error)

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self, model_id: str) -> Painter:
        reference = Reference(*_exact(model_id))
        # The archive's own checksum: another registry's version of the same number is another folder.
        checksum = self._registry.checksum(reference)
        folder = self._home.root / "served" / reference.name / f"{reference.version}-{checksum[:16]}"
        try:
            if folder.is_dir():
                return self._painter(folder)
        except StoreError:  # a copy that was damaged here: the registry's own is looked at
            pass
        if folder.is_dir():
            self._home.discard(folder)
        with self._home.scratch() as fresh:
            self._registry.fetch(reference, fresh)
            painter = self._painter(fresh)  # refused before it is kept
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                fresh.rename(folder)
            except OSError:
                if not folder.is_dir():  # another replica was faster otherwise
                    raise
        return painter

    def _painter(self, folder: Path) -> Painter:
        from fewgood.embedding import load_embedder
        from fewgood_serve.bundle import read_bundle

        spec = read_bundle(folder).embedding
        named = spec.model if spec.pretrained is None else f"{spec.model}:{spec.pretrained}"
        if named not in self._settings.embeddings:
            raise StoreError(
                f"the bundle in {folder} wants the image-text model {named}, this server opens "
                f"{', '.join(self._settings.embeddings)}: start it with --embedding {named} if you trust that"
            )
        if repr(spec) not in self._embedders:
            self._embedders[repr(spec)] = load_embedder(spec, home=self._home.root, device=self._device)
        return Painter(
            folder,
            home=self._home.root,
            device=self._device,
            rows=self._settings.rows,
            embedder=self._embedders[repr(spec)],
        )


def _exact(model_id: str) -> tuple[str, int]:
    name, version = parse_reference(model_id)
    if version is None:
        raise StoreError(f"{model_id!r} names no version")
    return name, version
