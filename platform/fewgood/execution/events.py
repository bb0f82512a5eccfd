"""A study's event log: one JSON line per event, written by the study's driver alone and read while it runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["EventLog"]


class EventLog:
    """`events.jsonl`. A line is one write to a file opened for appending; one that was cut by a kill is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = False

    def write(self, event: str, **details: Any) -> dict[str, Any]:
        """Append one event with the time, and return it."""
        entry = {"utc": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **details}
        line = json.dumps(entry).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            if not self._whole:  # a driver that was killed may have left half a line
                size = os.fstat(handle).st_size
                if size and os.pread(handle, 1, size - 1) != b"\n":
                    line = b"\n" + line
                self._whole = True
            os.write(handle, line)
        finally:
            os.close(handle)
        return entry

    def read(self) -> Iterator[dict[str, Any]]:
        """All whole events, the oldest first."""
        if not self.path.exists():
            return
        with self.path.open("rb") as handle:
            for line in handle:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict) and "event" in entry:
                    yield entry
