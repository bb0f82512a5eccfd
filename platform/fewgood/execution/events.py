"""A study's event log: one JSON line per event, appended by the processes that run trials and read while they run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["EventLog"]


class EventLog:
    """Append and follow `events.jsonl`. A line is one write to a file opened for appending, so lines do not mix."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def write(self, event: str, **details: Any) -> None:
        """Append one event with the time."""
        line = json.dumps({"utc": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **details})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode() + b"\n")
        finally:
            os.close(handle)

    def skip_to_end(self) -> None:
        """Follow from here: earlier events belong to an earlier start of the study."""
        self._offset = self.path.stat().st_size if self.path.exists() else 0

    def new(self) -> Iterator[dict[str, Any]]:
        """Events since the last call; a line that is still being written waits for the next call."""
        if not self.path.exists():
            return
        with self.path.open("rb") as handle:
            handle.seek(self._offset)
            for line in handle:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield json.loads(line)
