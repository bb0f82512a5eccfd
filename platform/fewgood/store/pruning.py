"""Removing artifacts that nothing needs: no row of the ledger, no promoted generator, and nobody at work.

A row of the ledger lists every artifact that led to it, so what the rows list is what they need. Work in progress has no row
yet: it is safe by its artifacts' age, which counts from their last use, and by their locks.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fewgood.errors import StoreError
from fewgood.store.files import open_file
from fewgood.store.home import Home
from fewgood.store.inventory import Held, held
from fewgood.store.location import FILE_ERRORS, Location, first_line
from fewgood.store.shared import MANIFEST, SharedArtifacts

__all__ = ["Pruned", "needed_digests", "prune", "prune_copies"]

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_ROUNDS = 10
"""Times a ledger is listed again because a compaction moved rows while it was read."""


@dataclass(frozen=True)
class Pruned:
    """What was removed, or would be, and why the rest was kept."""

    removed: tuple[Held, ...]
    kept: dict[str, int]
    """How many artifacts were kept, by reason: `needed`, `young`, `in use`, `not shared`."""

    @property
    def bytes(self) -> int:
        """Bytes that were freed, or would be."""
        return sum(item.bytes for item in self.removed)


def needed_digests(home: Home) -> set[str]:
    """The artifacts that any row of the ledger lists or that the registry names.

    With a shared store, its ledger and registry count, and the home's own.

    Raises:
        StoreError: if a row or a file of the registry cannot be read: what it needs is not known then.
    """
    roots = [home.shared()]
    if home.store is not None:
        roots.append(Location.of(home.root))
    needed: set[str] = set()
    for root in roots:
        for text in _ledger_texts(root.below("ledger")):
            needed |= set(_DIGEST.findall(text))
        for text in _registry_texts(root.below("registry")):
            needed |= set(_DIGEST.findall(text))
    return needed


def prune(home: Home, *, older_than: float, stage: str | None = None, dry_run: bool = False) -> Pruned:
    """Remove artifacts that are not needed, from the home and from the store that it shares.

    What killed processes left in the shared store is removed too. Killed at any point, no part of an artifact stays visible.

    Args:
        home: Whose artifacts.
        older_than: Seconds; what was written or used later is kept.
        stage: Only artifacts of this stage; None for all.
        dry_run: Only say what would be removed.

    Raises:
        StoreError: if the store cannot be reached, or the ledger or the registry cannot be read.
    """
    items = held(home, "home", stage=stage) + ([] if home.store is None else held(home, "shared", stage=stage))
    needed = needed_digests(home)
    shared = None if home.store is None else SharedArtifacts(home.shared("artifacts"))

    def judge(item: Held) -> str | None:
        if item.seconds < older_than:
            return "young"
        return "needed" if item.digest in needed else None

    done = _remove(home, shared, items, judge, older_than=older_than, dry_run=dry_run)
    if shared is None:
        return done
    waste = tuple(item for item in _waste(shared, items, done, older_than) if item.files)
    if not dry_run:
        for item in waste:
            shared.remove(item.stage, item.digest, item.files)
    return Pruned(done.removed + waste, done.kept)


def prune_copies(home: Home, *, older_than: float, stage: str | None = None, dry_run: bool = False) -> Pruned:
    """Remove the home's copies of artifacts that the shared store holds, needed or not: they are fetched again when used.

    Raises:
        StoreError: if the home shares no store, or it cannot be reached.
    """
    if home.store is None:
        raise StoreError("only copies of a shared store can be removed with --local: give the store with --store")
    shared = SharedArtifacts(home.shared("artifacts"))

    def judge(item: Held) -> str | None:
        if item.seconds < older_than:
            return "young"
        return None if shared.has(item.stage, item.digest) else "not shared"

    return _remove(home, shared, held(home, "home", stage=stage), judge, older_than=older_than, dry_run=dry_run)


def _remove(
    home: Home,
    shared: SharedArtifacts | None,
    items: list[Held],
    judge: Callable[[Held], str | None],
    *,
    older_than: float,
    dry_run: bool,
) -> Pruned:
    removed: list[Held] = []
    kept: dict[str, int] = {}
    for item in items:
        reason = judge(item)
        if reason is None:
            # The lock is the one under which artifacts are made here.
            with home.lock(item.stage, item.digest, wait=False) as mine:
                if not mine:
                    reason = "in use"
                elif not dry_run:
                    reason = _remove_one(home, shared, item, older_than)
        if reason is None:
            removed.append(item)
        else:
            kept[reason] = kept.get(reason, 0) + 1
    return Pruned(tuple(removed), dict(sorted(kept.items())))


def _remove_one(home: Home, shared: SharedArtifacts | None, item: Held, older_than: float) -> str | None:
    if item.place == "shared":
        assert shared is not None
        shared.remove(item.stage, item.digest, item.files)
        return None
    folder = home.artifacts / item.stage / item.digest
    manifest = folder / MANIFEST
    if manifest.is_file() and time.time() - manifest.stat().st_mtime < older_than:
        return "young"  # it was used since it was listed
    home.discard(folder)
    return None


def _waste(shared: SharedArtifacts, items: list[Held], done: Pruned, older_than: float) -> Iterator[Held]:
    """Old archives of kept shared artifacts that their manifests do not name."""
    gone = {(item.place, item.stage, item.digest) for item in done.removed}
    for item in items:
        several = len(item.files) > 2 or (len(item.files) > 1 and not item.complete)
        if item.place == "home" or not several or item.seconds < older_than:
            continue
        if (item.place, item.stage, item.digest) in gone:
            continue
        named = shared.archive(item.stage, item.digest)
        files = tuple(name for name in item.files if name not in (MANIFEST, named))
        yield Held(item.place, item.stage, item.digest, files, 0, item.seconds)


def _ledger_texts(location: Location) -> Iterator[str]:
    """The `stages_json` of every row, however a compaction moves them meanwhile."""
    done: set[str] = set()
    for _ in range(_ROUNDS):
        new = [name for name in location.files() if name not in done]
        if not new:
            return
        for name in new:
            try:
                with open_file(location, name) as file:
                    texts = file.read(["stages_json"]).column("stages_json").to_pylist()
            except FILE_ERRORS as error:
                if location.has(name):
                    raise StoreError(
                        f"ledger file {location.below(name).shown} cannot be read ({first_line(error)}), so that what it "
                        "needs is not known: copy it again, or remove it"
                    ) from error
                continue
            finally:
                done.add(name)
            yield from (text for text in texts if text)
    raise StoreError(f"the ledger {location.shown} changes faster than it can be read: try again later")


def _registry_texts(location: Location) -> Iterator[str]:
    for name in location.walk():
        if name.endswith(".json"):
            try:
                yield location.read(name).decode()
            except (*FILE_ERRORS, UnicodeDecodeError) as error:
                raise StoreError(
                    f"the registry's file {location.below(name).shown} cannot be read ({first_line(error)}), so that what "
                    "it needs is not known: repair or remove it"
                ) from error
