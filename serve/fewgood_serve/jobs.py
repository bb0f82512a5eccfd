"""Jobs: thousands of images in the background, in parts that a restart finds again.

A job is a folder: `job.json` with its state and `part-00000.zip` and so on with 64 images each, in the order of their numbers.
Images depend on seed and number alone, so a server that was killed goes on with the first part that is not there.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
import uuid
import zipfile
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from fewgood.errors import FewgoodError, StoreError
from fewgood.selection import select_top
from fewgood.store import Location
from fewgood.store.location import FILE_ERRORS
from fewgood_serve.dispatch import Dispatcher
from fewgood_serve.encoding import Sent, encode_whole, record_of
from fewgood_serve.monitoring import Monitor
from fewgood_serve.names import Reference
from fewgood_serve.painter import Drawn, Wanted
from fewgood_serve.problems import Problem
from fewgood_serve.schemas import ImageRecord, JobRequest, JobState
from fewgood_serve.settings import Limits

__all__ = ["Jobs"]

PART = 64
_FILE = "job.json"
_ACTIVE = ("waiting", "running")
_KEPT = 1_000
"""Jobs that have ended and are remembered; the oldest are forgotten first."""
_TRIES = 20
"""Times that a job waits for replicas to come back."""
_PAUSE_SECONDS = 10.0
_EXPIRE_SECONDS = 600.0

Result = TypeVar("Result")

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class _Job:
    state: JobState
    key: str
    variance: float
    """The factor in effect, for the records."""
    prompt: str
    picks: tuple[int, ...] | None = None
    """With `select`, the numbers of the kept images, when all are drawn."""

    def with_state(self, **changes: Any) -> _Job:
        return replace(self, state=self.state.model_copy(update=changes))


class Jobs:
    """The jobs of one server."""

    def __init__(
        self,
        place: Location,
        dispatcher: Dispatcher,
        limits: Limits,
        monitor: Monitor,
        *,
        window: int,
    ) -> None:
        """Begin with none.

        Args:
            place: Where they are kept; one server's alone.
            dispatcher: Draws the images.
            limits: How many jobs there may be, and how long results are kept.
            monitor: Told how many there are.
            window: Images of a job in work at once: few, so that requests go first.
        """
        self._place = place
        self._dispatcher = dispatcher
        self._limits = limits
        self._monitor = monitor
        self._window = window
        self._jobs: dict[str, _Job] = {}
        self._wake = asyncio.Event()
        self._running: tuple[str, asyncio.Task[None]] | None = None
        self._not_before: dict[str, float] = {}
        self._losses: dict[str, int] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")

    async def work(self) -> None:
        """Read what is there and work on one job after the other, until cancelled."""
        loaded, expired = False, 0.0
        while True:
            try:
                if not loaded:
                    await self._io(self._load)
                    loaded = True
                if time.monotonic() - expired > _EXPIRE_SECONDS:
                    await self._expire()
                    expired = time.monotonic()
                self._count()
                await self._next()
            except Exception:  # a store that is away, say: what was asked for stays asked for
                logger.exception("jobs cannot be worked on now")
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _next(self) -> None:
        """Work on the job that waits longest, or wait for one."""
        now = time.monotonic()
        waiting = [
            job
            for job in self._jobs.values()
            if job.state.status in _ACTIVE and self._not_before.get(job.state.id, 0.0) <= now
        ]
        if not waiting:
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), timeout=_PAUSE_SECONDS)
            return
        job = min(waiting, key=lambda one: (one.state.created_utc, one.state.id))
        task = asyncio.create_task(self._run(job.state.id))
        self._running = (job.state.id, task)
        try:
            await asyncio.wait([task])
        finally:
            self._running = None
            if not task.done():  # the server ends: the job goes on with the next one
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _io(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Read or write in the one thread that does so: what a cancelled job began is done before what follows it."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def submit(
        self, key: str, reference: Reference, request: JobRequest, *, prompt: str, variance: float, oversample: int
    ) -> JobState:
        """Take a job in.

        Raises:
            Problem: 503 if there are as many as are allowed.
        """
        active = [job for job in self._jobs.values() if job.state.status in _ACTIVE]
        mine = sum(job.key == key for job in active)
        if mine >= self._limits.jobs_per_key:
            raise Problem(429, "too-many-jobs", f"{mine} jobs of this key wait or run: try again later", retry_after=60)
        if len(active) >= self._limits.jobs:
            raise Problem(
                503, "full", f"{len(active)} jobs wait or run, as many as are allowed: try again later", retry_after=60
            )
        identity = uuid.uuid4().hex
        total = request.count * (oversample if request.select else 1)
        state = JobState(
            id=identity,
            status="waiting",
            generator=reference.name,
            version=reference.version,
            request=request,
            done=0,
            total=total,
            created_utc=_now(),
            finished_utc=None,
            error=None,
            result=None,
        )
        job = _Job(state, key, variance, prompt)
        self._jobs[identity] = job
        try:
            await self._save(job)
        except FILE_ERRORS as error:
            del self._jobs[identity]
            raise Problem(
                503, "no-room", f"jobs cannot be kept in {self._place.shown} ({error})", retry_after=60
            ) from error
        self._wake.set()
        self._count()
        return state

    def of(self, key: str) -> list[JobState]:
        """A key's jobs, the newest first."""
        mine = [job.state for job in self._jobs.values() if job.key == key]
        return sorted(mine, key=lambda state: (state.created_utc, state.id), reverse=True)

    def get(self, key: str, identity: str) -> JobState:
        """A job's state.

        Raises:
            Problem: 404 if the key has no such job.
        """
        return self._find(key, identity).state

    async def cancel(self, key: str, identity: str) -> JobState:
        """End a job and remove what it made; one that has ended is removed."""
        job = self._find(key, identity)
        self._jobs[identity] = job.with_state(
            status="cancelled", finished_utc=job.state.finished_utc or _now(), result=None
        )
        if self._running is not None and self._running[0] == identity:
            self._running[1].cancel()
            await asyncio.gather(self._running[1], return_exceptions=True)
        self._jobs[identity] = self._jobs[identity].with_state(status="cancelled", result=None)
        try:
            await self._save(self._jobs[identity])
            await self._io(self._clear, identity)
        except (FewgoodError, *FILE_ERRORS) as error:
            raise Problem(
                503, "no-room", f"what the job made cannot be removed now ({error})", retry_after=60
            ) from error
        self._count()
        return self._jobs[identity].state

    async def result(self, key: str, identity: str) -> tuple[JobState, AsyncGenerator[bytes]]:
        """A finished job's images.

        Raises:
            Problem: 404 if there is no such job, 409 if it is not finished.
        """
        job = self._find(key, identity)
        if job.state.status != "finished":
            raise Problem(
                409,
                "not-finished",
                f"job {identity} is {job.state.status} ({job.state.done} of {job.state.total} images drawn)",
            )
        pieces = encode_whole(self._sent(job), job.state.request.format)

        async def stream() -> AsyncGenerator[bytes]:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece

        return job.state, stream()

    async def _run(self, identity: str) -> None:
        job = self._jobs[identity].with_state(status="running")
        reference = Reference(job.state.generator, job.state.version)
        try:
            scores = await self._io(self._scores, identity)
            self._jobs[identity] = job = job.with_state(done=len(scores))
            await self._save(job)
            indices = range(len(scores), job.state.total)
            wanted = (Wanted(seed=job.state.request.seed, index=index, variance=job.variance) for index in indices)
            part: list[Drawn] = []
            async with aclosing(self._dispatcher.series(reference, wanted, window=self._window)) as images:
                async for drawn in images:
                    part.append(drawn)
                    scores.append(drawn.score)
                    self._jobs[identity] = job = job.with_state(done=len(scores))
                    if len(part) == PART or len(scores) == job.state.total:
                        await self._keep(job, part)
                        part = []
            picks = tuple(sorted(select_top(scores, job.state.request.count))) if job.state.request.select else None
            job = replace(job, picks=picks).with_state(
                status="finished", finished_utc=_now(), result=f"/v1/jobs/{identity}/result"
            )
        except asyncio.CancelledError:
            raise
        except Problem as error:
            self._losses[identity] = self._losses.get(identity, 0) + 1
            if error.status == 503 and self._losses[identity] <= _TRIES:  # no replica now, say
                self._not_before[identity] = time.monotonic() + _PAUSE_SECONDS
                self._jobs[identity] = job.with_state(status="waiting")
                return
            job = job.with_state(status="failed", finished_utc=_now(), error=error.detail)
        except (FewgoodError, *FILE_ERRORS) as error:
            job = job.with_state(status="failed", finished_utc=_now(), error=" ".join(str(error).split())[:500])
        except Exception as error:
            logger.exception("job %s failed", identity)
            job = job.with_state(status="failed", finished_utc=_now(), error=f"internal error: {type(error).__name__}")
        self._jobs[identity] = job
        with suppress(*FILE_ERRORS):
            await self._save(job)

    async def _keep(self, job: _Job, part: list[Drawn]) -> None:
        number = part[0].index // PART
        reference = Reference(job.state.generator, job.state.version)
        sent = [
            Sent(
                record_of(one, reference, seed=job.state.request.seed, prompt=job.prompt, variance=job.variance),
                one.png,
            )
            for one in part
        ]
        content = b"".join(encode_whole(iter(sent), "zip"))
        await self._io(self._place.below(job.state.id).put, f"part-{number:05d}.zip", content)

    def _scores(self, identity: str) -> list[float]:
        """The scores of the images in the whole parts that are there, from the first on without a gap."""
        scores: list[float] = []
        for record, _ in self._read(identity):
            scores.append(float(record["score"]))
        return scores[: len(scores) // PART * PART]

    def _read(self, identity: str) -> Iterator[tuple[dict[str, Any], bytes]]:
        place = self._place.below(identity)
        number = 0
        while place.has(f"part-{number:05d}.zip"):
            with zipfile.ZipFile(io.BytesIO(place.read(f"part-{number:05d}.zip"))) as part:
                for record in json.loads(part.read("images.json")):
                    yield record, part.read(record["file"])
            number += 1

    def _sent(self, job: _Job) -> Iterator[Sent]:
        kept = None if job.picks is None else set(job.picks)
        sent = 0
        for record, content in self._read(job.state.id):
            if kept is None or record["index"] in kept:
                sent += 1
                yield Sent(ImageRecord(**{name: value for name, value in record.items() if name != "file"}), content)
        if sent != job.state.request.count:  # it was removed meanwhile: the answer must not look whole
            raise StoreError(f"job {job.state.id} has {sent} of {job.state.request.count} images")

    def _find(self, key: str, identity: str) -> _Job:
        job = self._jobs.get(identity)
        if job is None or job.key != key:
            raise Problem(404, "no-job", "there is no such job of this key; results are kept for a while only")
        return job

    async def _save(self, job: _Job) -> None:
        document = {
            "state": job.state.model_dump(mode="json"),
            "key": job.key,
            "variance": job.variance,
            "prompt": job.prompt,
            "picks": job.picks,
        }
        await self._io(self._place.below(job.state.id).put, _FILE, json.dumps(document).encode())

    def _load(self) -> None:
        for path in self._place.walk():
            identity, _, name = path.partition("/")
            if name != _FILE or identity in self._jobs:
                continue
            try:
                document = json.loads(self._place.below(identity).read(_FILE))
                picks = document["picks"]
                self._jobs[identity] = _Job(
                    JobState.model_validate(document["state"]),
                    document["key"],
                    document["variance"],
                    document["prompt"],
                    None if picks is None else tuple(picks),
                )
            except (*FILE_ERRORS, ValueError, KeyError, TypeError) as error:
                logger.warning("job %s cannot be read and is left out (%s)", identity, error)

    def _clear(self, identity: str) -> None:
        place = self._place.below(identity)
        for path in place.walk():
            if path != _FILE:
                place.delete(path)

    async def _expire(self) -> None:
        oldest = (datetime.now(UTC) - timedelta(hours=self._limits.job_hours)).isoformat(timespec="seconds")
        ended = sorted(
            (job.state.finished_utc, identity) for identity, job in self._jobs.items() if job.state.finished_utc
        )
        for number, (finished, identity) in enumerate(ended):
            if finished < oldest or number < len(ended) - _KEPT:
                await self._io(self._clear, identity)
                await self._io(self._place.below(identity).delete, _FILE)
                self._jobs.pop(identity, None)
                self._losses.pop(identity, None)

    def _count(self) -> None:
        for status in ("waiting", "running", "finished", "failed", "cancelled"):
            self._monitor.jobs.labels(status).set(sum(job.state.status == status for job in self._jobs.values()))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
