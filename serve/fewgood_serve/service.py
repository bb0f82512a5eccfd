"""One running server: what the routes need, put together from its settings. It knows nothing of Ray or HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

from fewgood.selection import select_top
from fewgood.store import Home
from fewgood_serve.admission import Admission, Place
from fewgood_serve.card import Card
from fewgood_serve.catalog import Catalog
from fewgood_serve.dispatch import Call, Dispatcher
from fewgood_serve.encoding import Sent, record_of
from fewgood_serve.jobs import Jobs
from fewgood_serve.keys import KeyFile, KeyRecord
from fewgood_serve.monitoring import Monitor
from fewgood_serve.names import Reference, parse_reference
from fewgood_serve.painter import Wanted
from fewgood_serve.problems import Problem
from fewgood_serve.registry import Registry
from fewgood_serve.schemas import ImagesRequest, JobRequest, JobState
from fewgood_serve.settings import ServeSettings

__all__ = ["Series", "Service"]

_FIRST_LOOK_SECONDS = 20.0
_HEALTH_SECONDS = 5.0
"""How long an image that was drawn for a health check stands for the next ones."""


class Series:
    """The images of one request: drawn when they are asked for, with their places in the queue until `close`."""

    def __init__(self, reference: Reference, images: AsyncGenerator[Sent], place: Place) -> None:
        self.reference = reference
        self._images = images
        self._place = place

    def __aiter__(self) -> AsyncGenerator[Sent]:
        return self._images

    async def close(self) -> None:
        """Stop what is still being drawn and give the places back."""
        try:
            await self._images.aclose()
        finally:
            self._place.leave()


class Service:
    """A server."""

    def __init__(self, settings: ServeSettings, call: Call, *, log: Path | None = None) -> None:
        """Put it together; `running` starts it.

        Args:
            settings: How it is set up.
            call: Has one image drawn by a replica.
            log: The file of the request log.
        """
        self.settings = settings
        self.limits = settings.limits
        self.home = Home.locate(Path(settings.home), settings.store)
        self.monitor = Monitor(log)
        self.admission = Admission(self.limits, self.monitor)
        self.dispatcher = Dispatcher(
            call, in_flight=settings.in_flight, image_seconds=self.limits.image_seconds, monitor=self.monitor
        )
        self.catalog = Catalog(
            Registry.locate(self.home, settings.registry),
            None if settings.no_auth else KeyFile.locate(self.home, settings.keys),
            warm=self._warm,
            poll_seconds=settings.poll_seconds,
        )
        self.jobs = Jobs(
            self.home.shared("serve", "jobs"),
            self.dispatcher,
            self.limits,
            self.monitor,
            window=settings.per_replica,
        )
        self.draining = False
        self._health: tuple[float, Reference | Problem] | None = None
        self._checking = asyncio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The registry is followed and jobs are worked on as long as this is open."""
        tasks = [asyncio.create_task(self.catalog.follow()), asyncio.create_task(self.jobs.work())]
        try:
            with suppress(TimeoutError):  # replicas that are slow to come are waited for by requests
                await asyncio.wait_for(self.catalog.looked.wait(), _FIRST_LOOK_SECONDS)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def drain(self) -> None:
        """Take no new request and wait until those in progress are answered, as long as one may take."""
        self.draining = True
        end = time.monotonic() + self.limits.request_seconds
        while self.admission.open and time.monotonic() < end:
            await asyncio.sleep(0.1)

    def allowed(self, key: KeyRecord, text: str) -> Reference:
        """The version that a key's request means.

        Raises:
            Problem: 403 if the key is for others, 404 or 503 if it cannot be served.
            SpecError: if the text is no reference.
        """
        name, _ = parse_reference(text)
        if not key.allows(name):
            raise Problem(403, "other-generator", f"this key is not for the generator {name!r}")
        return self.catalog.resolve(text)

    async def images(self, key: KeyRecord, text: str, request: ImagesRequest) -> Series:
        """The images that a request asks for; the caller closes them.

        Raises:
            Problem: if the request is not allowed now.
            SpecError: if the text is no reference.
        """
        if self.draining:
            raise Problem(503, "ending", "the server is ending: try again", retry_after=10)
        reference = self.allowed(key, text)
        if request.count > self.limits.count:
            raise Problem(
                422,
                "too-many-images",
                f"count is {request.count}, one request may ask for {self.limits.count}: POST /v1/jobs takes more",
            )
        if request.select and request.start:
            raise Problem(
                422, "select-from-start", f"start is {request.start}, with select it must be 0: the best are of all"
            )
        card = await self.catalog.card(reference)
        draws = request.count * (card.oversample if request.select else 1)
        if draws > self.limits.queued_images:
            raise Problem(
                422,
                "too-many-images",
                f"{draws} images would have to be drawn, more than the {self.limits.queued_images} that may wait: ask for fewer",
            )
        if draws * card.pixels > self.limits.pixels:
            raise Problem(
                422,
                "too-many-pixels",
                f"{draws} images of {card.pixels} pixels are more than the {self.limits.pixels} of one request: "
                f"ask for {self.limits.pixels // card.pixels} at most, or POST /v1/jobs",
            )
        place = self.admission.enter(draws)
        try:
            self.admission.rate(key.id, images=draws)
        except Problem:
            place.leave()
            raise
        return Series(reference, self._sent(reference, card, request, draws, place), place)

    async def submit(self, key: KeyRecord, request: JobRequest) -> JobState:
        """Take a job in.

        Raises:
            Problem: if it is not allowed now.
            SpecError: if the generator is no reference.
        """
        if self.draining:
            raise Problem(503, "ending", "the server is ending: try again", retry_after=10)
        reference = self.allowed(key, request.generator)
        if request.count > self.limits.job_count:
            raise Problem(
                422, "too-many-images", f"count is {request.count}, one job may ask for {self.limits.job_count}"
            )
        card = await self.catalog.card(reference)
        self.admission.rate(key.id, images=0)
        return await self.jobs.submit(
            key.id,
            reference,
            request,
            prompt=card.prompt,
            variance=card.variance(request.variance),
            oversample=card.oversample,
        )

    async def health(self) -> Reference:
        """Draw an image.

        Returns:
            The generator that it was drawn from.

        Raises:
            Problem: 503 if there is no generator, or it cannot be drawn from.
        """
        async with self._checking:
            if self._health is not None and time.monotonic() - self._health[0] < _HEALTH_SECONDS:
                if isinstance(self._health[1], Problem):
                    raise self._health[1]
                return self._health[1]
            served = self.catalog.served
            if not served:
                raise Problem(
                    503, "no-generator", "no generator is served: `fewgood promote` puts one into the registry"
                )
            try:
                async with asyncio.timeout(self.limits.image_seconds):
                    await self._warm(served[0])
            except TimeoutError as error:
                failed = Problem(503, "no-replica", f"no image within {self.limits.image_seconds:g} s")
                self._health = (time.monotonic(), failed)
                raise failed from error
            except Problem as error:
                self._health = (time.monotonic(), error)
                raise
            self._health = (time.monotonic(), served[0])
            return served[0]

    def ready(self) -> list[Reference]:
        """What is served.

        Raises:
            Problem: 503 if the server is ending, nothing is served, or the registry cannot be read.
        """
        if self.draining:
            raise Problem(503, "ending", "the server is ending")
        if self.catalog.error is not None:
            raise Problem(503, "no-registry", "the registry or the keys cannot be read: the server's log says why")
        if not self.catalog.served:
            raise Problem(503, "no-generator", "no generator is served: `fewgood promote` puts one into the registry")
        return self.catalog.served

    async def _warm(self, reference: Reference) -> None:
        await self.dispatcher.draw(reference, Wanted(seed=0, index=0))

    async def _sent(
        self, reference: Reference, card: Card, request: ImagesRequest, draws: int, place: Place
    ) -> AsyncGenerator[Sent]:
        variance = card.variance(request.variance)
        wanted = [Wanted(seed=request.seed, index=request.start + number, variance=variance) for number in range(draws)]
        kept = []
        async with aclosing(self.dispatcher.series(reference, wanted)) as images:
            async for drawn in images:
                place.done()
                sent = Sent(
                    record_of(drawn, reference, seed=request.seed, prompt=card.prompt, variance=variance), drawn.png
                )
                if request.select:
                    kept.append(sent)
                else:
                    yield sent
        if request.select:
            for number in select_top([one.record.score for one in kept], request.count):
                yield kept[number]
