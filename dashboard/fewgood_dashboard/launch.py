"""Starting the dashboard's server in this process, while another thread reads the ledger for the first page."""

from __future__ import annotations

import importlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas  # noqa: F401 - DuckDB looks for it from any thread, and fails when another is just importing it
import streamlit
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fewgood_dashboard import measures
from fewgood_dashboard.app import PAGES
from fewgood_dashboard.source import Settings, connect

__all__ = ["LOOPBACK", "serve"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")

_OPTIONS: dict[str, object] = {
    "server.headless": True,
    "global.disableWidgetStateDuplicationWarning": True,  # `address` sets widgets from the address on purpose
    "server.fileWatcherType": "none",
    "server.enableStaticServing": False,
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "theme.light.primaryColor": "#00639c",
    "theme.dark.primaryColor": "#62b8ee",
}

_BASE = b"<script>window.__streamlit = {BACKEND_BASE_URL: location.origin + '/'}</script>"
"""Tells Streamlit's page where its server is; else it looks for it below the address of every page first, and logs
errors of what it does not find there."""

logger = logging.getLogger(__name__)


def serve(settings: Settings, *, host: str, port: int, secrets: Mapping[str, Any], ready: Callable[[], None]) -> None:
    """Serve the dashboard until the process is interrupted.

    Args:
        settings: Where it reads.
        host: Address to listen on.
        port: Port to listen on.
        secrets: What `login.read_secrets` gave.
        ready: Called before the server starts.
    """
    os.environ["FEWGOOD_HOME"] = str(settings.home.root)
    os.environ["FEWGOOD_LEDGER"] = settings.ledger or ""
    threading.Thread(target=_warm, args=(settings,), daemon=True).start()
    ready()
    app = streamlit.App(Path(__file__).with_name("page.py"), secrets=dict(secrets), middleware=[Middleware(_KnownBase)])
    app.run(config=_OPTIONS | {"server.address": host, "server.port": port})


class _KnownBase:
    """Middleware that adds `_BASE` to the one HTML page that Streamlit serves at every address."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started: Message | None = None
        body = b""
        # The page is 8 kB and is changed here, so it comes uncompressed. On this machine nothing is worth compressing.
        near = scope.get("client") is not None and scope["client"][0] in LOOPBACK
        if near or b"text/html" in dict(scope["headers"]).get(b"accept", b""):
            scope = {**scope, "headers": [item for item in scope["headers"] if item[0] != b"accept-encoding"]}

        async def pass_on(message: Message) -> None:
            nonlocal started, body
            if message["type"] == "http.response.start":
                kind = Headers(raw=message["headers"]).get("content-type", "")
                if not kind.startswith("text/html"):
                    await send(message)
                else:
                    started = message
            elif started is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    changed = body.replace(b"<head>", b"<head>" + _BASE, 1)
                    headers = MutableHeaders(raw=list(started["headers"]))
                    headers["content-length"] = str(len(changed))
                    del headers["etag"]
                    await send({**started, "headers": headers.raw})
                    await send({"type": "http.response.body", "body": changed})

        await self._app(scope, receive, pass_on)


def _warm(settings: Settings) -> None:
    """Read the ledger, compute the first page's answer and import the pages, whether or not somebody waits for them."""
    try:
        source = connect(settings)
        known = [] if source.error else measures.rankings(source)
        if known:
            measures.answer(source, known[0].digest)
        for module in (f"fewgood_dashboard.views.{name}" for name, _, _ in PAGES):
            importlib.import_module(module)
        importlib.import_module("scipy.stats")  # a second, which the Leaderboard would need
        connect(settings)  # packs what was read, for which somebody's first click would wait otherwise
    except Exception:
        logger.exception("the ledger could not be read in advance; the pages say why")
