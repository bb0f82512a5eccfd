"""What stands before every route: a request id, the key, a bounded body that arrives in time, a bounded number of requests.

It is plain ASGI, because a body must be refused while it arrives, not when it is there.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import MutableMapping
from contextlib import nullcontext
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fewgood_serve.admission import Admission
from fewgood_serve.catalog import Catalog
from fewgood_serve.keys import ALL, KeyRecord
from fewgood_serve.monitoring import Monitor
from fewgood_serve.problems import Problem, problem_response
from fewgood_serve.settings import Limits

__all__ = ["ANYBODY", "Guard"]

ANYBODY = KeyRecord(id="anybody", owner="anybody on loopback", sha256="", generators=[ALL], created_utc="")
"""Stands for a key where none is asked for."""

_OPEN = frozenset({"/healthz", "/readyz", "/openapi.json"})
"""Paths that are answered without a key."""


class Guard:
    """The outermost layer of the application."""

    def __init__(
        self, app: ASGIApp, *, catalog: Catalog, admission: Admission, monitor: Monitor, limits: Limits, auth: bool
    ) -> None:
        self._app = app
        self._catalog = catalog
        self._admission = admission
        self._monitor = monitor
        self._limits = limits
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        started = time.monotonic()
        status, sent = 0, 0

        async def sending(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                names = {name for name, _ in message["headers"]}
                if b"x-request-id" not in names:
                    message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        outcome = "answered"
        try:
            # Health is answered even when everything is taken.
            with nullcontext() if scope["path"] in _OPEN else self._admission.request():
                state["key"] = self._key(scope)
                # What is answered without a key is asked without a body: nobody's dripping one is waited for.
                body = b"" if scope["path"] in _OPEN else await self._body(scope, receive)
                await self._app(scope, _replayed(body, receive), sending)
        except Problem as problem:
            self._monitor.errors.labels(problem.kind).inc()
            outcome = problem.kind
            if status == 0:
                response = problem_response(problem, request_id)
                await response(scope, receive, sending)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except Exception as error:
            outcome = f"internal error: {type(error).__name__}: {error}"
            self._monitor.errors.labels("internal").inc()
            raise
        finally:
            seconds = time.monotonic() - started
            route = getattr(scope.get("route"), "path", "other")
            self._monitor.requests.labels(route, str(status)).inc()
            self._monitor.latency.labels(route).observe(seconds)
            key = state.get("key")
            self._monitor.log(
                request_id=request_id,
                method=scope["method"],
                path=scope["path"][:200],
                status=status,
                seconds=round(seconds, 4),
                bytes=sent,
                key=None if key is None else key.id,
                outcome=outcome,
                **state.get("log", {}),
            )

    def _key(self, scope: Scope) -> KeyRecord | None:
        if not self._auth:
            return ANYBODY
        headers = Headers(scope=scope)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        record = self._catalog.key(given) if given else None
        if record is None and scope["path"] not in _OPEN:
            raise Problem(
                401,
                "no-key",
                "send a valid key as `Authorization: Bearer KEY`; `fewgood keys add` makes one",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return record

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        limit = self._limits.body_bytes
        too_large = Problem(
            413, "too-large", f"the request's body is more than {limit} bytes", headers={"Connection": "close"}
        )
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdigit() or int(length) > limit:
            raise too_large
        body = b""
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Problem(400, "gone", "the connection ended before the body was there")
                    body += bytes(message.get("body", b""))
                    if len(body) > limit:
                        raise too_large
                    if not message.get("more_body", False):
                        return body
        except TimeoutError as error:
            raise Problem(
                408,
                "slow-body",
                f"the request's body was not there within {self._limits.body_seconds:g} s",
                headers={"Connection": "close"},
            ) from error


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read, and then what comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again
