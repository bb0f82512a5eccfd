"""The registry of promoted generators, in a folder or a store that any Arrow filesystem reaches.

`generators/NAME/VERSION/` holds a bundle as an archive and a manifest with its SHA-256 and the model card, written last, as
shared artifacts are; a version never changes. `generators/NAME/latest.json` says which version is the latest, and every
move of it. A version's number belongs to who put a claim there first: of two that claim at once both take the next one.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fewgood.errors import SpecError, StoreError
from fewgood.store import Home, Location
from fewgood.store.location import FILE_ERRORS
from fewgood.store.shared import SharedArtifacts
from fewgood_serve.bundle import read_document
from fewgood_serve.card import Card
from fewgood_serve.locking import exclusive
from fewgood_serve.names import LATEST, Reference, check_name, parse_reference

__all__ = ["Registry", "Shelf"]

_POINTER = f"{LATEST}.json"
_MANIFEST = re.compile(r"([a-z0-9_-]+)/([1-9][0-9]*)/manifest\.json")
_CLAIM = re.compile(r"([a-z0-9_-]+)/claims/([1-9][0-9]*)-[0-9a-f]+\.json")
_POINTED = re.compile(r"([a-z0-9_-]+)/latest\.json")


@dataclass(frozen=True)
class Shelf:
    """One generator's versions."""

    name: str
    versions: tuple[int, ...]
    latest: int | None
    """None if no version was ever made the latest."""
    problem: str | None = None
    """Why it cannot be told which version is the latest."""


class Registry:
    """Promoted generators under one folder."""

    def __init__(self, root: Location) -> None:
        self._root = root
        self._generators = root.below("generators")
        self._bundles = SharedArtifacts(self._generators)

    @classmethod
    def locate(cls, home: Home, flag: str | None = None) -> Registry:
        """The registry that `--registry`, else `FEWGOOD_REGISTRY`, names; else the one of the home or its shared store."""
        chosen = flag or os.environ.get("FEWGOOD_REGISTRY")
        return cls(Location.of(chosen) if chosen else home.shared("registry"))

    @property
    def shown(self) -> str:
        """How messages name it."""
        return self._root.shown

    def shelves(self) -> dict[str, Shelf]:
        """Every generator by its name.

        Raises:
            StoreError: if the registry cannot be reached.
        """
        found = list(self._generators.walk())
        versions: dict[str, list[int]] = {}
        for path in found:
            if match := _MANIFEST.fullmatch(path):
                versions.setdefault(match[1], []).append(int(match[2]))
        pointed = {match[1] for path in found if (match := _POINTED.fullmatch(path))}
        shelves = {}
        for name, numbers in sorted(versions.items()):
            latest, problem = None, None
            try:
                latest = self._pointer(name).get("version") if name in pointed else None
            except StoreError as error:  # the other generators are no worse for it
                problem = str(error)
            shelves[name] = Shelf(name, tuple(sorted(numbers)), latest if latest in numbers else None, problem)
        return shelves

    def resolve(self, text: str) -> Reference:
        """The version that `name`, `name@latest` or `name@3` means.

        Raises:
            SpecError: if the text is no reference or there is no such version.
            StoreError: if the registry cannot be reached.
        """
        name, version = parse_reference(text)
        shelf = self.shelves().get(name)
        if shelf is None:
            raise SpecError(
                f"there is no generator {name!r} in {self.shown}: `fewgood generators list` shows what is there"
            )
        if version is None and shelf.problem is not None:
            raise StoreError(shelf.problem)
        number = shelf.latest if version is None else version
        if number is None or number not in shelf.versions:
            known = ", ".join(map(str, shelf.versions))
            raise SpecError(
                f"{text!r} is not in {self.shown}: versions of {name} are {known}, latest is {shelf.latest}"
            )
        return Reference(name, number)

    def card(self, reference: Reference) -> Card:
        """A version's model card.

        Raises:
            StoreError: if it is not there or cannot be read.
        """
        manifest = self._bundles.manifest(reference.name, str(reference.version))
        try:
            return Card.model_validate((manifest or {})["card"])
        except (KeyError, TypeError, ValidationError) as error:
            raise StoreError(
                f"{reference} in {self.shown} has no readable card ({_short(error)}): promote it again"
            ) from error

    def publish(self, name: str, folder: Path, card: dict[str, Any]) -> Reference:
        """Put a bundle there as the next version of `name`; it is not the latest until `point` says so.

        Args:
            name: The generator's name.
            folder: The bundle's files.
            card: The card without `version`, which is filled in.

        Raises:
            StoreError: if the registry cannot be written.
        """
        check_name(name)
        version = self._claim(name)
        made = Card.model_validate({**card, "name": name, "version": version})
        files = {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        self._bundles.publish(name, str(version), folder, {"files": files, "card": made.model_dump(mode="json")})
        return Reference(name, version)

    def point(self, reference: Reference, *, why: str) -> None:
        """Make a version the latest.

        Raises:
            StoreError: if the registry cannot be written.
        """
        with exclusive(self._generators.below(reference.name)):
            self._point(reference, why)

    def _point(self, reference: Reference, why: str) -> None:
        known = self._pointer(reference.name)
        moves = [
            *known.get("moves", []),
            {
                "utc": datetime.now(UTC).isoformat(timespec="seconds"),
                "from": known.get("version"),
                "to": reference.version,
                "why": why,
            },
        ]
        with self._writing(reference.name):
            place = self._generators.below(reference.name)
            place.put(_POINTER, json.dumps({"version": reference.version, "moves": moves}, indent=1).encode())

    def rollback(self, name: str, to: int | None = None) -> Reference:
        """Make an earlier version the latest again: the one before it, or the one given.

        Raises:
            SpecError: if there is none.
            StoreError: if the registry cannot be reached or written.
        """
        current = self.resolve(name)
        if to is None:
            # Where this version was promoted over another one, that one; a version that was rolled back from does not come again.
            came = [
                move["from"] for move in self.moves(name) if move["to"] == current.version and move["from"] is not None
            ]
            earlier = [version for version in came if version < current.version]
            if not came:
                earlier = [version for version in self.shelves()[name].versions if version < current.version]
            if not earlier:
                raise SpecError(f"{current} has no version before it: say with --to which one")
            to = earlier[-1]
        target = self.resolve(f"{name}@{to}")
        self.point(target, why=f"rolled back from {current.version}")
        return target

    def moves(self, name: str) -> list[dict[str, Any]]:
        """Every move of a generator's latest version: `utc`, `from`, `to` and `why`, the oldest first."""
        return list(self._pointer(name).get("moves", []))

    def checksum(self, reference: Reference) -> str:
        """The SHA-256 of a version's archive.

        Raises:
            StoreError: if it is not there or the registry cannot be reached.
        """
        found = self._bundles.checksum(reference.name, str(reference.version))
        if found is None:
            raise StoreError(f"{reference} is not in {self.shown}: promote it again, or roll back")
        return found

    def fetch(self, reference: Reference, folder: Path) -> None:
        """Copy a version's bundle into an empty folder, held against its SHA-256.

        Raises:
            StoreError: if it is not there, damaged, or the registry cannot be reached.
        """
        if self._bundles.fetch(reference.name, str(reference.version), folder) is None:
            raise StoreError(f"{reference} is not whole in {self.shown}: promote it again, or roll back")

    def _claim(self, name: str) -> int:
        while True:
            taken = self._taken(name)
            number = max(taken, default=0) + 1
            mine = f"{number}-{uuid.uuid4().hex}.json"
            with self._writing(name):
                self._generators.below(name, "claims").put(mine, b"{}\n")
            if self._taken(name).get(number) == 1:
                return number
            time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - so that the two do not meet again

    def _taken(self, name: str) -> dict[int, int]:
        """Version numbers of a generator, each with how many claim it."""
        taken: dict[int, int] = {}
        for path in self._generators.below(name).walk():
            if match := _CLAIM.fullmatch(f"{name}/{path}"):
                taken[int(match[2])] = taken.get(int(match[2]), 0) + 1
            elif match := _MANIFEST.fullmatch(f"{name}/{path}"):
                taken.setdefault(int(match[2]), 0)
        return taken

    def _pointer(self, name: str) -> dict[str, Any]:
        try:
            return read_document(self._generators.below(name).read(_POINTER))
        except FileNotFoundError:
            return {}
        except (*FILE_ERRORS, ValueError) as error:
            raise StoreError(f"{name}'s {_POINTER} in {self.shown} cannot be read ({_short(error)})") from error

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except FILE_ERRORS as error:
            raise StoreError(
                f"the registry {self.shown} cannot be written for {name} ({_short(error)}): check its permissions and space"
            ) from error


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
