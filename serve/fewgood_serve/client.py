"""Clients of the server, for code that waits and for asyncio: retries with jitter, and streams that go on where they broke off.

Images are asked for as JSON, which comes one image a line. A series is pinned to the version that its first answer named, so
that a promotion in between changes nothing, and image i of a seed is the same in every answer: after a break the client asks for
the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from fewgood.errors import ServiceError
from fewgood_serve.card import Card
from fewgood_serve.exchange import Again, Attempts, Retries, Series, ServedImage, asked, checked, options

__all__ = ["AsyncClient", "Client", "Retries", "ServedImage"]


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
        self._http = httpx.Client(**options(self._url, key, verify))

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
            Series(name, asked(count, seed, start, variance, select)),
            Attempts(self._retries, self._url),
        )
        while True:
            try:
                with self._http.stream("POST", series.path, json=series.body()) as response:
                    if not response.is_success:
                        checked(response, response.read())
                    series.begin(response.headers)
                    for line in response.iter_lines():
                        if (image := series.line(line)) is not None:
                            attempts.progress()
                            yield image
                if series.whole:
                    return
                raise Again("the answer broke off")
            except Again as error:
                time.sleep(attempts.after(error))
            except (httpx.TransportError, ValueError) as error:
                if series.whole:
                    return
                time.sleep(attempts.after(Again(f"{type(error).__name__}: {error}")))

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
        attempts = Attempts(self._retries, self._url)
        partial = path.with_name(f".{path.name}.partial")
        while True:
            try:
                with self._http.stream("GET", f"/v1/jobs/{quote(identity)}/result") as response:
                    if not response.is_success:
                        checked(response, response.read())
                    with partial.open("wb") as file:
                        for piece in response.iter_bytes():
                            file.write(piece)
                partial.replace(path)
                return
            except Again as error:
                time.sleep(attempts.after(error))
            except httpx.TransportError as error:
                time.sleep(attempts.after(Again(f"{type(error).__name__}: {error}")))
            finally:
                partial.unlink(missing_ok=True)

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        attempts = Attempts(self._retries, self._url)
        while True:
            try:
                response = self._http.request(method, path, json=body)
                checked(response, response.content)
                return dict(response.json())
            except Again as error:
                if method == "POST" and error.status not in (429, 503):  # it may have been taken in
                    raise ServiceError(f"the server could not answer ({error})", status=error.status) from error
                time.sleep(attempts.after(error))
            except httpx.TransportError as error:
                if method == "POST" and not isinstance(error, httpx.ConnectError):
                    raise ServiceError(f"the answer was lost ({error}): look at `jobs` before asking again") from error
                time.sleep(attempts.after(Again(f"{type(error).__name__}: {error}")))


class AsyncClient:
    """The same for asyncio: generators, cards and images."""

    def __init__(
        self, url: str, key: str | None = None, *, retries: Retries | None = None, verify: str | bool = True
    ) -> None:
        """Connect when first used; arguments as `Client`'s."""
        self._url = url.rstrip("/")
        self._retries = retries or Retries()
        self._http = httpx.AsyncClient(**options(self._url, key, verify), limits=httpx.Limits(max_connections=None))

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
            Series(name, asked(count, seed, start, variance, select)),
            Attempts(self._retries, self._url),
        )
        while True:
            try:
                async with self._http.stream("POST", series.path, json=series.body()) as response:
                    if not response.is_success:
                        checked(response, await response.aread())
                    series.begin(response.headers)
                    async for line in response.aiter_lines():
                        if (image := series.line(line)) is not None:
                            attempts.progress()
                            yield image
                if series.whole:
                    return
                raise Again("the answer broke off")
            except Again as error:
                await asyncio.sleep(attempts.after(error))
            except (httpx.TransportError, ValueError) as error:
                if series.whole:
                    return
                await asyncio.sleep(attempts.after(Again(f"{type(error).__name__}: {error}")))

    async def _json(self, method: str, path: str) -> dict[str, Any]:
        attempts = Attempts(self._retries, self._url)
        while True:
            try:
                response = await self._http.request(method, path)
                checked(response, response.content)
                return dict(response.json())
            except Again as error:
                await asyncio.sleep(attempts.after(error))
            except httpx.TransportError as error:
                await asyncio.sleep(attempts.after(Again(f"{type(error).__name__}: {error}")))
