"""One writer at a time for small documents that are read, changed and written back."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from fewgood.store import Location

__all__ = ["exclusive"]


@contextmanager
def exclusive(place: Location) -> Iterator[None]:
    """Hold a folder of this machine against other writers; an object store has no such lock, and the last writer counts there."""
    if place.folder is None:
        yield
        return
    place.folder.mkdir(parents=True, exist_ok=True)
    with (place.folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
