"""A Ray cluster to run on: the one that is named, else one started on this machine and stopped at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from fewgood.errors import ExecutionError

__all__ = ["connected"]

_OBJECT_STORE_BYTES = 256 * 2**20
"""Images and weights go through the artifact store; Ray's own store only carries specs."""


@contextmanager
def connected(address: str | None, *, cpus: int | None = None) -> Iterator[dict[str, Any]]:
    """Join the cluster at `address` (or `RAY_ADDRESS`), or start one on this machine; yields its total resources.

    Raises:
        ExecutionError: if the named cluster does not answer.
    """
    chosen = address or os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if chosen is None:
        options |= {
            "address": "local",
            "num_cpus": cpus or os.cpu_count() or 1,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
    else:
        options["address"] = chosen
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        where = f"at {chosen}" if chosen else "on this machine"
        raise ExecutionError(
            f"Ray cannot be reached {where} ({' '.join(str(error).split())[:300]}): "
            "check --address and RAY_ADDRESS, or leave both out to run on this machine"
        ) from error
    try:
        yield dict(ray.cluster_resources())
    finally:
        ray.shutdown()
