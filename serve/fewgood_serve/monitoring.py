"""What the server counts, for Prometheus and for its log."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

__all__ = ["CONTENT_TYPE", "Monitor"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_ROWS = (1, 2, 4, 8, 16, 32, 64)
_LOG_BYTES = 20_000_000
_LOG_FILES = 5


class Monitor:
    """The metrics of one server, in a registry of their own."""

    def __init__(self, log: Path | None = None) -> None:
        """Start counting.

        Args:
            log: The file of the request log, one JSON line a request; None logs through `logging` alone.
        """
        own = self._registry = CollectorRegistry()
        self.requests = Counter("fewgood_requests", "Requests that ended.", ("route", "status"), registry=own)
        self.latency = Histogram(
            "fewgood_request_seconds",
            "Seconds from a request to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=own,
        )
        self.first = Histogram(
            "fewgood_first_byte_seconds", "Seconds from a request to the first image.", buckets=_SECONDS, registry=own
        )
        self.images = Counter("fewgood_images", "Images that were drawn.", ("generator", "version"), registry=own)
        self.draw = Histogram(
            "fewgood_draw_seconds",
            "Seconds that a replica took for one image, waiting included.",
            buckets=_SECONDS,
            registry=own,
        )
        self.batch = Histogram(
            "fewgood_batch_rows", "Images that went through a replica's networks together.", buckets=_ROWS, registry=own
        )
        self.queued = Gauge("fewgood_queued_images", "Images that requests in progress wait for.", registry=own)
        self.open = Gauge("fewgood_open_requests", "Requests in progress.", registry=own)
        self.retries = Counter(
            "fewgood_replica_retries", "Images that were asked for again after a replica was lost.", registry=own
        )
        self.errors = Counter("fewgood_errors", "Answers with an error, by kind.", ("kind",), registry=own)
        self.jobs = Gauge("fewgood_jobs", "Jobs by state.", ("status",), registry=own)
        self._logger = logging.getLogger("ray.serve.fewgood")
        self._logger.setLevel(logging.INFO)
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            handler = RotatingFileHandler(log, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8")
            handler.setFormatter(logging.Formatter("%(message)s"))
            self._logger.addHandler(handler)
            self._logger.propagate = False

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def log(self, **entry: Any) -> None:
        """One line of the request log."""
        self._logger.info(
            "%s", json.dumps({"utc": datetime.now(UTC).isoformat(timespec="milliseconds"), **entry}, default=str)
        )
