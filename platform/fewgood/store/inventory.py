"""What artifacts a home and the store that it shares hold: stage, hash, size and age."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from fewgood.store.home import Home
from fewgood.store.location import Location, Stamp
from fewgood.store.shared import MANIFEST

__all__ = ["Held", "Place", "StageTotal", "folder_sizes", "held", "totals"]

Place = Literal["home", "shared"]


@dataclass(frozen=True)
class Held:
    """An artifact's files in one place; without a manifest it is what a killed process left."""

    place: Place
    stage: str
    digest: str
    files: tuple[str, ...]
    bytes: int
    seconds: float
    """Seconds since its files were written, or since it was last used here; 0 where the store does not tell."""

    @property
    def complete(self) -> bool:
        """Whether it has a manifest."""
        return MANIFEST in self.files


@dataclass(frozen=True)
class StageTotal:
    """The artifacts of one stage in one place."""

    place: Place
    stage: str
    count: int
    bytes: int
    youngest_seconds: float
    oldest_seconds: float


def held(home: Home, place: Place, *, stage: str | None = None) -> list[Held]:
    """The artifacts in a place, of all stages or one, in the order of their stages and hashes.

    Raises:
        StoreError: if the shared store cannot be reached.
    """
    root = Location.of(home.artifacts) if place == "home" else home.shared("artifacts")
    parts = [] if stage is None else [stage]
    groups: dict[tuple[str, str], dict[str, Stamp]] = {}
    for path, stamp in root.below(*parts).walk().items():
        pieces = [*parts, *path.split("/")]
        if len(pieces) > 2:
            groups.setdefault((pieces[0], pieces[1]), {})["/".join(pieces[2:])] = stamp
    now = time.time()
    return [
        Held(place, name, digest, tuple(sorted(files)), sum(s.size for s in files.values()), _age(files.values(), now))
        for (name, digest), files in sorted(groups.items())
    ]


def totals(items: Iterable[Held]) -> list[StageTotal]:
    """Artifacts added up by place and stage."""
    groups: dict[tuple[Place, str], list[Held]] = {}
    for item in items:
        groups.setdefault((item.place, item.stage), []).append(item)
    return [
        StageTotal(
            place,
            stage,
            len(group),
            sum(item.bytes for item in group),
            min(item.seconds for item in group),
            max(item.seconds for item in group),
        )
        for (place, stage), group in groups.items()
    ]


def folder_sizes(location: Location) -> dict[str, int]:
    """Bytes under each folder of a location, by name; what lies beside the folders is under ".".

    Raises:
        StoreError: if the location cannot be listed.
    """
    sizes: dict[str, int] = {}
    for path, stamp in location.walk().items():
        folder, slash, _ = path.partition("/")
        name = folder if slash else "."
        sizes[name] = sizes.get(name, 0) + stamp.size
    return dict(sorted(sizes.items()))


def _age(stamps: Iterable[Stamp], now: float) -> float:
    times = [stamp.modified for stamp in stamps]
    known = [time for time in times if time is not None]
    return max(0.0, now - max(known) / 1e9) if len(known) == len(times) else 0.0
