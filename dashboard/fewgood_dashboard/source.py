"""What every page reads from: the ledger's index, the home's artifacts and studies, and what was computed from them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import duckdb

from fewgood.errors import FewgoodError
from fewgood.leaderboard.runs import Run
from fewgood.store import Home, LedgerIndex, Location
from fewgood_dashboard.derived import derive

__all__ = ["Settings", "Source", "connect"]

Value = TypeVar("Value")

_REFRESH_SECONDS = 1.0
"""The ledger is listed at most this often, whatever the number of open pages."""
_MEMORY = "640MB"
"""DuckDB's limit: the rows, and the tables that are derived from them; 200,000 rows take about 200 MB."""
_PATIENCE_SECONDS = 0.3
"""How long a page waits for the first reading of the ledger before it says that it waits."""
_RUNS = 2000
"""Runs with their test scores that are kept; a row of the ledger never changes, so they stay right."""
_KEPT = 256
"""Computed values that are kept between page views."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the dashboard reads: a home folder, and a ledger that may lie elsewhere."""

    home: Home
    ledger: str | None = None
    """A path or a URI of `pyarrow.fs`; None is the home's own ledger."""

    @classmethod
    def from_environment(cls) -> Settings:
        """The settings of `FEWGOOD_HOME` and `FEWGOOD_LEDGER`, which `fewgood dashboard` sets from its flags."""
        return cls(home=Home.locate(None), ledger=os.environ.get("FEWGOOD_LEDGER") or None)

    @property
    def shown(self) -> str:
        """The ledger's place as people write it."""
        return self.ledger or self.location.shown

    @property
    def location(self) -> Location:
        """The ledger's place: what was named, else the shared store's, else the home's."""
        return self.home.shared("ledger") if self.ledger is None else Location.of(self.ledger)


class Source:
    """The ledger as tables that can be queried, refreshed while people look at it. Nothing here writes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home
        self.error: str | None = None
        """Why the ledger cannot be reached; what was read before is still shown."""
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._refreshing = threading.Lock()
        self._derived = 0
        self._index: LedgerIndex | None = None
        self._looked = 0.0
        self._reading = threading.Lock()
        self._kept: dict[tuple[int, tuple[Any, ...]], _Slot] = {}
        self._runs: dict[str, Run] = {}

    @property
    def index(self) -> LedgerIndex:
        """The index; an error of its location is raised as it is."""
        with self._opening:
            if self._index is None:
                index = LedgerIndex(self.settings.location, memory_limit=_MEMORY)
                derive(index)
                self._index = index
            return self._index

    @property
    def version(self) -> int:
        """Rises when the ledger changed and its tables were derived anew; 0 before anything was read."""
        return self._derived

    @property
    def arriving(self) -> int | None:
        """Rows that the first reading of the ledger has read so far; None when it is over, or nobody reads."""
        index = self._index
        if self._looked or not self._refreshing.locked():
            return None
        return index.arriving if index else 0

    def refresh(self) -> None:
        """Look for new runs, at most once a second; what is wrong with the ledger is noted in `error`, not raised.

        While one reader looks, the others go on with what is there; at first they wait a moment, then see `arriving`.
        """
        if not self._refreshing.acquire(timeout=0 if self._looked else _PATIENCE_SECONDS):
            return
        try:
            if self._looked and time.monotonic() - self._looked < _REFRESH_SECONDS:
                return
            try:
                index = self.index
                index.refresh()
                # Not only when this refresh found something: reading rows refreshes by itself when a file moved.
                while index.version != self._derived:
                    version = index.version
                    derive(index)
                    self._derived = version
                self.error = None
            except FewgoodError as error:
                self.error = str(error)
            except duckdb.Error as error:
                self.error = f"the ledger's tables do not fit in memory ({str(error).splitlines()[0]})"
            self._looked = time.monotonic()
        finally:
            self._refreshing.release()

    def whole(self, entries: Sequence[str]) -> dict[str, Run]:
        """Runs with everything that the ledger holds of them, by entry; those read lately are taken from memory."""
        with self._reading:
            missing = [entry for entry in entries if entry not in self._runs]
            for row in self.index.rows(missing):
                self._runs[row["entry"]] = Run.from_row(row)
            found = {entry: self._runs[entry] for entry in entries if entry in self._runs}
            for entry in list(self._runs)[: max(0, len(self._runs) - _RUNS)]:
                del self._runs[entry]
            return found

    def kept(self, key: tuple[Any, ...], compute: Callable[[], Value]) -> Value:
        """`compute()`, or what it gave for `key` since the ledger last changed; computed once, whoever asks meanwhile."""
        with self._lock:
            version = self.version
            slot = self._kept.setdefault((version, key), _Slot())
            for old in [known for known in self._kept if known[0] != version]:
                del self._kept[old]
            while len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        with slot.lock:
            if not slot.known:
                slot.value = compute()
                slot.known = True
        found: Value = slot.value
        return found

    def keeps(self, key: tuple[Any, ...]) -> bool:
        """Whether `kept` has a value for `key` already."""
        with self._lock:
            slot = self._kept.get((self.version, key))
        return slot is not None and slot.known


class _Slot:
    """A value that is computed once."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.known = False
        self.value: Any = None


_connected: dict[Settings, Source] = {}
_connecting = threading.Lock()


def connect(settings: Settings | None = None) -> Source:
    """The process's one source for these settings; made when first asked for, and refreshed."""
    chosen = settings or Settings.from_environment()
    with _connecting:
        source = _connected.setdefault(chosen, Source(chosen))
    source.refresh()
    return source
