"""A Ray cluster to run on: the one that is named, else one started on this machine and stopped at the end."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import ray

from fewgood.errors import ExecutionError
from fewgood.execution.schedule import Host

__all__ = ["Cluster", "connected", "hosts_before"]

_OBJECT_STORE_BYTES = 256 * 2**20
"""Images and weights go through the artifact store; Ray's own store only carries specs."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to."""

    here: str
    """Ray's name of the host that this process runs on."""
    dashboard: str | None
    """Address of Ray's own dashboard, bound to loopback when the cluster was started here."""
    metrics: str | None
    """Address of this host's Prometheus metrics."""

    def hosts(self) -> list[Host]:
        """The living hosts, this one first."""
        found = [
            Host(
                node["NodeID"],
                node["NodeManagerAddress"],
                float(node["Resources"].get("CPU", 0)),
                float(node["Resources"].get("GPU", 0)),
            )
            for node in ray.nodes()
            if node["Alive"]
        ]
        return sorted(found, key=lambda host: (host.node != self.here, host.address, host.node))


def hosts_before(address: str | None) -> list[Host] | None:
    """The hosts of the cluster that `connected` would start here, before it does; None if it would join one."""
    import torch

    if address is not None or "RAY_ADDRESS" in os.environ:
        return None
    return [Host("here", "this machine", float(os.cpu_count() or 1), float(torch.cuda.device_count()))]


@contextmanager
def connected(address: str | None, *, dashboard: bool = True) -> Iterator[Cluster]:
    """Join the cluster at `address` (or `RAY_ADDRESS`), or start one on this machine; left or stopped at the end.

    Args:
        address: The cluster.
        dashboard: Whether one that is started has Ray's dashboard; Tune needs it to stop trials.

    Raises:
        ExecutionError: if the named cluster does not answer.
    """
    chosen = address or os.environ.get("RAY_ADDRESS")
    # A lost host is an event of the study; Tune would print a traceback for each trial that ran there.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if chosen is None:
        options |= {
            "address": "local",
            "num_cpus": os.cpu_count() or 1,
            # Without it a stopped trial makes Tune wait for the State API for ever.
            "include_dashboard": dashboard,
            "dashboard_host": "127.0.0.1",
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
    else:
        options["address"] = chosen
    # Ray tells a driver of lost hosts on stdout, which belongs to the command's own document.
    with redirect_stdout(sys.stderr):
        yield from _joined(options, chosen)


def _joined(options: dict[str, Any], chosen: str | None) -> Iterator[Cluster]:
    try:
        context = ray.init(**options)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        where = f"at {chosen}" if chosen else "on this machine"
        raise ExecutionError(
            f"Ray cannot be reached {where} ({' '.join(str(error).split())[:300]}): "
            "check --address, RAY_ADDRESS and the cluster's token (RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH), "
            "or leave the address out to run on this machine"
        ) from error
    try:
        here = ray.get_runtime_context().get_node_id()
        yield Cluster(here, _url(context.dashboard_url), _metrics(here))
    finally:
        ray.shutdown()


def _url(text: str | None) -> str | None:
    return f"http://{text}" if text else None


def _metrics(here: str) -> str | None:
    for node in ray.nodes():
        if node["NodeID"] == here and node.get("MetricsExportPort"):
            return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    return None
