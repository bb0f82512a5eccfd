"""What both clients know of the server, free of any waiting: requests, refusals, retries, and a series while it comes."""

from __future__ import annotations

import base64
import io
import json
import random
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
from PIL import Image

from fewgood.errors import ServiceError

__all__ = ["Again", "Attempts", "Retries", "Series", "ServedImage", "asked", "checked", "options"]

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


class Again(Exception):
    """This try failed in a way that another may not."""

    def __init__(self, reason: str, retry_after: float | None = None, status: int | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.status = status


class Series:
    """What is known of a series of images while it comes: free of any transport, so that both clients share it."""

    def __init__(self, name: str, body: dict[str, Any]) -> None:
        self._name = name
        self._body = body
        self._count = int(body["count"])
        self._received = 0
        self._skip = 0

    @property
    def path(self) -> str:
        """Where it is asked for."""
        return f"/v1/generators/{quote(self._name, safe='@')}/images"

    def body(self) -> dict[str, Any]:
        """The request for what is still missing."""
        if self._body["select"]:  # the best of all: the same again, and what is known is skipped
            self._skip = self._received
            return self._body
        return {**self._body, "start": self._body["start"] + self._received, "count": self._count - self._received}

    def begin(self, headers: httpx.Headers) -> None:
        """An answer begins: from now on its version is asked for."""
        self._name = f"{headers['x-generator']}@{headers['x-generator-version']}"

    def line(self, text: str) -> ServedImage | None:
        """The image in a line of the answer, if there is one that is new."""
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
        """Whether all have come."""
        return self._received == self._count


class Attempts:
    """Counts tries of one thing, and says what to do after one that failed."""

    def __init__(self, retries: Retries, url: str) -> None:
        self._retries = retries
        self._url = url
        self._failures = 0

    def progress(self) -> None:
        """Something came: the count starts again."""
        self._failures = 0

    def after(self, error: Again) -> float:
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


def checked(response: httpx.Response, content: bytes) -> None:
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
        raise Again(
            f"{response.status_code}: {detail}", float(after) if after.isdigit() else None, response.status_code
        )
    raise ServiceError(
        f"the server refuses ({response.status_code}): {detail}", status=response.status_code, request_id=identity
    )


def options(url: str, key: str | None, verify: str | bool) -> dict[str, Any]:
    """What an httpx client of the server is made with."""
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


def asked(count: int, seed: int, start: int, variance: float | None, select: bool) -> dict[str, Any]:
    """The body of a request for images."""
    return {"count": count, "seed": seed, "start": start, "variance": variance, "select": select, "format": "json"}
