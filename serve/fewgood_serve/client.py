"""Clients of the server, for code that waits and for asyncio: retries with jitter, and streams that go on where they broke off.

Images are asked for as JSON, which comes one image a line. A series is pinned to the version that its first answer named, so
that a promotion in between changes nothing, and image i of a seed is the same in every answer: after a break the client asks for
the rest.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
import numpy as np
from PIL import Image

from fewgood.errors import ServiceError
from fewgood_serve.card import Card

__all__ = ["AsyncClient", "Client", "Retries", "ServedImage"]

_RETRIED = frozenset({429, 502, 503, 504})
_RECORD = ("index", "seed", "prompt", "score", "generator", "version", "variance", "source")
_TIMEOUT = httpx.Timeout(connect=10.0, read=330.0, write=30.0, pool=30.0)


@dataclass(frozen=True, kw_only=True)
class ServedImage:
    """One image from the server."""

    png: bytes
    """A PNG file."""
    index: int
    seed: int
    prompt: str
    score: float
    generator: str
    version: int
    variance: float
    source: int

    @cached_property
    def image(self) -> np.ndarray:
        """uint8 (H, W, 3)."""
        return np.asarray(Image.open(io.BytesIO(self.png)).convert("RGB"))

    def record(self) -> dict[str, Any]:
        """How it was made, as plain JSON."""
        return {name: getattr(self, name) for name in _RECORD}


@dataclass(frozen=True)
class Retries:
    """How often something is tried again, and how long is waited before."""

    tries: int = 8
    """Tries in a row that bring nothing; each image that comes starts the count again."""
    base: float = 0.5
    cap: float = 20.0

    def pause(self, failures: int, retry_after: float | None) -> float:
        """Seconds before the next try: random up to a limit that doubles, and no less than the server asks for."""
        jitter = random.uniform(0.0, min(self.cap, self.base * 2 ** (failures - 1)))  # noqa: S311 - no secret
        return jitter if retry_after is None else retry_after + jitter


class _Again(Exception):
    """This try failed in a way that another may not."""

    def __init__(self, reason: str, retry_after: float | None = None, status: int | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.status = status


class _Series:
    """What is known of a series of images while it comes: free of any transport, so that both clients share it."""

    def __init__(self, name: str, body: dict[str, Any]) -> None:
        self._name = name
        self._body = body
        self._count = int(body["count"])
        self._received = 0
        self._skip = 0

    @property
    def path(self) -> str:
        return f"/v1/generators/{quote(self._name, safe='@')}/images"

    def body(self) -> dict[str, Any]:
        """The request for what is still missing."""
        if self._body["select"]:  # the best of all: the same again, and what is known is skipped
            self._skip = self._received
            return self._body
        return {**self._body, "start": self._body["start"] + self._received, "count": self._count - self._received}

    def begin(self, headers: httpx.Headers) -> None:
        self._name = f"{headers['x-generator']}@{headers['x-generator-version']}"

    def line(self, text: str) -> ServedImage | None:
        text = text.strip().rstrip(",")
        if not text.startswith("{") or text == '{"images": [':
            return None
        values = json.loads(text)
        if self._skip:
            self._skip -= 1
            return None
        self._received += 1
        return ServedImage(png=base64.b64decode(values["png"]), **{name: values[name] for name in _RECORD})

    @property
    def whole(self) -> bool:
        return self._received == self._count

    @property
    def received(self) -> int:
        return self._received


class _Attempts:
    """Counts tries of one thing, and says what to do after one that failed."""

    def __init__(self, retries: Retries, url: str) -> None:
        self._retries = retries
        self._url = url
        self._failures = 0

    def progress(self) -> None:
        self._failures = 0

    def after(self, error: _Again) -> float:
        """Seconds to wait.

        Raises:
            ServiceError: if it was tried often enough.
        """
        self._failures += 1
        if self._failures >= self._retries.tries:
            raise ServiceError(
                f"{self._url} could not answer after {self._failures} tries ({error}): is the server up?",
                status=error.status,
            ) from error
        return self._retries.pause(self._failures, error.retry_after)


def _checked(response: httpx.Response, content: bytes) -> None:
    """Raise what a refused request means."""
    if response.is_success:
        return
    try:
        problem = json.loads(content)
        detail, identity = str(problem["detail"]), problem.get("request_id")
    except (ValueError, KeyError, TypeError):
        detail, identity = content[:200].decode(errors="replace") or response.reason_phrase, None
    if response.status_code in _RETRIED:
        after = response.headers.get("retry-after", "")
        raise _Again(
            f"{response.status_code}: {detail}", float(after) if after.isdigit() else None, response.status_code
        )
    raise ServiceError(
        f"the server refuses ({response.status_code}): {detail}", status=response.status_code, request_id=identity
    )


def _options(url: str, key: str | None, verify: str | bool) -> dict[str, Any]:
    headers = {"User-Agent": "fewgood"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if isinstance(verify, str):
        import ssl

        return {
            "base_url": url,
            "headers": headers,
            "timeout": _TIMEOUT,
            "verify": ssl.create_default_context(cafile=verify),
        }
    return {"base_url": url, "headers": headers, "timeout": _TIMEOUT, "verify": verify}


def _asked(count: int, seed: int, start: int, variance: float | None, select: bool) -> dict[str, Any]:
    return {"count": count, "seed": seed, "start": start, "variance": variance, "select": select, "format": "json"}


class Client:
    """Asks a server and waits for the answer."""

    def __init__(
        self, url: str, key: str | None = None, *, retries: Retries | None = None, verify: str | bool = True
    ) -> None:
        """Connect when first used.

        Args:
            url: The server, such as `http://127.0.0.1:8008`.
            key: An API key.
            retries: How often something is tried again.
            verify: Whether a TLS certificate is checked, or the file of the authority that signed it.
        """
        self._url = url.rstrip("/")
        self._retries = retries or Retries()
        self._http = httpx.Client(**_options(self._url, key, verify))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def generators(self) -> list[dict[str, Any]]:
        """The generators that the key may use."""
        return list(self._json("GET", "/v1/generators")["generators"])

    def card(self, name: str) -> Card:
        """A generator's model card."""
        return Card.model_validate(self._json("GET", f"/v1/generators/{quote(name, safe='@')}"))

    def images(
        self,
        name: str,
        count: int,
        *,
        seed: int = 0,
        start: int = 0,
        variance: float | None = None,
        select: bool = False,
    ) -> Iterator[ServedImage]:
        """Images in order, as they come.

        Args:
            name: `NAME`, `NAME@latest` or `NAME@VERSION`.
            count: How many.
            seed: The same seed gives the same images.
            start: Number of the first one.
            variance: Factor on the latent standard deviation; None takes the promoted one.
            select: Those that fit the prompt best of more that are drawn, the best first.

        Raises:
            ServiceError: if the server refuses, or cannot be reached after several tries.
        """
        series, attempts = (
            _Series(name, _asked(count, seed, start, variance, select)),
            _Attempts(self._retries, self._url),
        )
        while True:
            try:
                with self._http.stream("POST", series.path, json=series.body()) as response:
                    if not response.is_success:
                        _checked(response, response.read())
                    series.begin(response.headers)
                    for line in response.iter_lines():
                        if (image := series.line(line)) is not None:
                            attempts.progress()
                            yield image
                if series.whole:
                    return
                raise _Again("the answer broke off")
            except _Again as error:
                time.sleep(attempts.after(error))
            except (httpx.TransportError, ValueError) as error:
                if series.whole:
                    return
                time.sleep(attempts.after(_Again(f"{type(error).__name__}: {error}")))

    def submit(
        self,
        name: str,
        count: int,
        *,
        seed: int = 0,
        variance: float | None = None,
        select: bool = False,
        format: str = "zip",  # noqa: A002 - the interface's own name for it
    ) -> dict[str, Any]:
        """Have thousands of images drawn in the background; the job's state."""
        body = {
            "generator": name,
            "count": count,
            "seed": seed,
            "variance": variance,
            "select": select,
            "format": format,
        }
        return self._json("POST", "/v1/jobs", body)

    def jobs(self) -> list[dict[str, Any]]:
        """The key's jobs, the newest first."""
        return list(self._json("GET", "/v1/jobs")["jobs"])

    def job(self, identity: str) -> dict[str, Any]:
        """A job's state."""
        return self._json("GET", f"/v1/jobs/{quote(identity)}")

    def cancel(self, identity: str) -> dict[str, Any]:
        """End a job."""
        return self._json("DELETE", f"/v1/jobs/{quote(identity)}")

    def wait(self, identity: str, *, seconds: float = 1.0) -> dict[str, Any]:
        """A job's state when it has come to an end."""
        while (state := self.job(identity))["status"] in ("waiting", "running"):
            time.sleep(seconds)
        return state

    def download(self, identity: str, path: Path) -> None:
        """Write a finished job's result to a file, whole or not at all."""
        attempts = _Attempts(self._retries, self._url)
        partial = path.with_name(f".{path.name}.partial")
        while True:
            try:
                with self._http.stream("GET", f"/v1/jobs/{quote(identity)}/result") as response:
                    if not response.is_success:
                        _checked(response, response.read())
                    with partial.open("wb") as file:
                        for piece in response.iter_bytes():
                            file.write(piece)
                partial.replace(path)
                return
            except _Again as error:
                time.sleep(attempts.after(error))
            except httpx.TransportError as error:
                time.sleep(attempts.after(_Again(f"{type(error).__name__}: {error}")))
            finally:
                partial.unlink(missing_ok=True)

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        attempts = _Attempts(self._retries, self._url)
        while True:
            try:
                response = self._http.request(method, path, json=body)
                _checked(response, response.content)
                return dict(response.json())
            except _Again as error:
                if method == "POST" and error.status not in (429, 503):  # it may have been taken in
                    raise ServiceError(f"the server could not answer ({error})", status=error.status) from error
                time.sleep(attempts.after(error))
            except httpx.TransportError as error:
                if method == "POST" and not isinstance(error, httpx.ConnectError):
                    raise ServiceError(f"the answer was lost ({error}): look at `jobs` before asking again") from error
                time.sleep(attempts.after(_Again(f"{type(error).__name__}: {error}")))


class AsyncClient:
    """The same for asyncio: generators, cards and images."""

    def __init__(
        self, url: str, key: str | None = None, *, retries: Retries | None = None, verify: str | bool = True
    ) -> None:
        """Connect when first used; arguments as `Client`'s."""
        self._url = url.rstrip("/")
        self._retries = retries or Retries()
        self._http = httpx.AsyncClient(**_options(self._url, key, verify), limits=httpx.Limits(max_connections=None))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connections."""
        await self._http.aclose()

    async def generators(self) -> list[dict[str, Any]]:
        """The generators that the key may use."""
        return list((await self._json("GET", "/v1/generators"))["generators"])

    async def card(self, name: str) -> Card:
        """A generator's model card."""
        return Card.model_validate(await self._json("GET", f"/v1/generators/{quote(name, safe='@')}"))

    async def images(
        self,
        name: str,
        count: int,
        *,
        seed: int = 0,
        start: int = 0,
        variance: float | None = None,
        select: bool = False,
    ) -> AsyncIterator[ServedImage]:
        """Images in order, as they come; arguments and errors as `Client.images`."""
        series, attempts = (
            _Series(name, _asked(count, seed, start, variance, select)),
            _Attempts(self._retries, self._url),
        )
        while True:
            try:
                async with self._http.stream("POST", series.path, json=series.body()) as response:
                    if not response.is_success:
                        _checked(response, await response.aread())
                    series.begin(response.headers)
                    async for line in response.aiter_lines():
                        if (image := series.line(line)) is not None:
                            attempts.progress()
                            yield image
                if series.whole:
                    return
                raise _Again("the answer broke off")
            except _Again as error:
                await asyncio.sleep(attempts.after(error))
            except (httpx.TransportError, ValueError) as error:
                if series.whole:
                    return
                await asyncio.sleep(attempts.after(_Again(f"{type(error).__name__}: {error}")))

    async def _json(self, method: str, path: str) -> dict[str, Any]:
        attempts = _Attempts(self._retries, self._url)
        while True:
            try:
                response = await self._http.request(method, path)
                _checked(response, response.content)
                return dict(response.json())
            except _Again as error:
                await asyncio.sleep(attempts.after(error))
            except httpx.TransportError as error:
                await asyncio.sleep(attempts.after(_Again(f"{type(error).__name__}: {error}")))
