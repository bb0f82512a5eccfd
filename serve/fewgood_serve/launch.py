"""Running a server on this machine or a cluster until it is told to end, and ending it with what is in progress answered."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import serve

from fewgood.errors import ExecutionError, SpecError
from fewgood.execution.cluster import connected
from fewgood_serve.app import application
from fewgood_serve.settings import ServeSettings

__all__ = ["APPLICATION", "run"]

APPLICATION = "fewgood"

_LAST_BYTES_SECONDS = 2.0

_PROCESSES = {
    # Our code waits for others or hands work to a thread of its own, so a loop of its own would only cost a hop per message.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "2000",
}
"""What Serve's processes on this machine are started with. This one has read its own already, and needs a loop to wait in."""


def run(settings: ServeSettings, *, address: str | None, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        settings: The server.
        address: A Ray cluster; None starts one on this machine.
        ready: Called with the server's address when it answers.

    Raises:
        SpecError: if the port cannot be used.
        ExecutionError: if the cluster cannot be reached or has no room for the replicas.
    """
    _check_port(settings)
    ended = threading.Event()
    for name, value in _PROCESSES.items():
        os.environ.setdefault(name, value)
    with connected(address, dashboard=False) as cluster:
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        _check_room(settings, cluster.hosts())
        serve.start(proxy_location="HeadOnly", http_options=_http(settings))
        # After Ray, which has a handler of its own that ends the process at once.
        before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            handle = serve.run(application(settings), name=APPLICATION, route_prefix="/")
            scheme = "https" if settings.tls_cert else "http"
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            ready(f"{scheme}://{host}:{settings.port}")
            ended.wait()
            handle.drain.remote().result(timeout_s=settings.limits.request_seconds + 10)
            time.sleep(_LAST_BYTES_SECONDS)  # for what is drawn and not yet taken by its reader
        finally:
            others = set(serve.status().applications) - {APPLICATION}
            if others:  # a cluster that serves something else goes on doing so
                serve.delete(APPLICATION)
            else:
                serve.shutdown()
            for number, handler in before.items():
                signal.signal(number, handler)


def _http(settings: ServeSettings) -> serve.HTTPOptions:
    options: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        # Requests have their own limit; a large result may be read for as long as it takes.
        "request_timeout_s": None,
    }
    if settings.tls_cert and settings.tls_key:
        options |= {
            "ssl_certfile": str(Path(settings.tls_cert).absolute()),
            "ssl_keyfile": str(Path(settings.tls_key).absolute()),
        }
    return serve.HTTPOptions(**options)


def _check_port(settings: ServeSettings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise SpecError(
                f"--host {settings.host} --port {settings.port} cannot be used ({error.strerror or error}): give another --port"
            ) from error


def _check_room(settings: ServeSettings, hosts: Any) -> None:
    rooms = sum(int(host.cpus // settings.threads) for host in hosts)
    if rooms < settings.replicas:
        raise ExecutionError(
            f"{settings.replicas} replicas of {settings.threads} CPUs have no room on {len(hosts)} host(s) with "
            f"{sum(host.cpus for host in hosts):g} CPUs: give --replicas {max(rooms, 1)} or less, or fewer --threads"
        )
    gpus = sum(host.gpus for host in hosts)
    if settings.gpus * settings.replicas > gpus:
        raise ExecutionError(
            f"{settings.replicas} replicas of {settings.gpus:g} GPUs need more than the {gpus:g} that are there: "
            "give fewer --replicas"
        )
