"""API keys: kept as hashes in one file, scoped to generators, changed while the server runs.

A key is `fg_ID_SECRET` with 256 random bits of secret, so that its SHA-256 alone is kept: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fewgood.errors import SpecError, StoreError
from fewgood.store import Home, Location
from fewgood.store.location import FILE_ERRORS
from fewgood_serve.locking import exclusive
from fewgood_serve.names import check_name

__all__ = ["ALL", "KeyFile", "KeyRecord", "find_key"]

ALL = "*"
"""A scope of every generator, also of ones that are promoted later."""

_KEY = re.compile(r"fg_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_FILE = "keys.json"


class KeyRecord(BaseModel):
    """What is kept of a key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    owner: str = Field(description="Who has it, for people and the log.")
    sha256: str
    generators: list[str] = Field(description="Names of generators, or `*`.")
    created_utc: str
    expires_utc: str | None = None

    def allows(self, name: str) -> bool:
        """Whether the key may use a generator."""
        return ALL in self.generators or name in self.generators

    def expired(self, now: datetime) -> bool:
        """Whether the key's time is over."""
        return self.expires_utc is not None and datetime.fromisoformat(self.expires_utc) <= now


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[KeyRecord] = []


@dataclass(frozen=True)
class KeyFile:
    """The file of keys, in a folder or a store."""

    folder: Location
    name: str = _FILE

    @classmethod
    def locate(cls, home: Home, flag: str | None = None) -> KeyFile:
        """The file that `--keys` names, else the one of the home or its shared store."""
        if flag is None:
            return cls(home.shared("serve"))
        where, _, name = flag.rpartition("/")
        return cls(Location.of(where or "."), name)

    @property
    def shown(self) -> str:
        """How messages name it."""
        return self.folder.below(self.name).shown

    def read(self) -> list[KeyRecord]:
        """The keys; none if there is no file.

        Raises:
            StoreError: if the file cannot be read.
        """
        try:
            return _Keys.model_validate_json(self.folder.read(self.name)).keys
        except FileNotFoundError:
            return []
        except (*FILE_ERRORS, ValidationError) as error:
            raise StoreError(f"the keys {self.shown} cannot be read ({' '.join(str(error).split())[:200]})") from error

    def add(self, owner: str, generators: Sequence[str], *, days: float | None = None) -> str:
        """Make a key and keep its hash; the key itself is only returned here.

        Args:
            owner: Who gets it.
            generators: Names of generators, or `*`.
            days: After how many days it ends; None for never.

        Raises:
            SpecError: if a name is not allowed.
            StoreError: if the file cannot be written.
        """
        for name in generators:
            if name != ALL:
                check_name(name)
        if not generators:
            raise SpecError(f"--generators is empty: give names, or {ALL!r} for all")
        now = datetime.now(UTC)
        identity = secrets.token_hex(4)
        key = f"fg_{identity}_{secrets.token_urlsafe(32)}"
        record = KeyRecord(
            id=identity,
            owner=" ".join(owner.split())[:100],
            sha256=_hashed(key),
            generators=list(generators),
            created_utc=now.isoformat(timespec="seconds"),
            expires_utc=None if days is None else (now + timedelta(days=days)).isoformat(timespec="seconds"),
        )
        with exclusive(self.folder):
            self._write([*self.read(), record])
        return key

    def revoke(self, identity: str) -> KeyRecord:
        """Take a key out; the server refuses it from its next look at the file on.

        Raises:
            SpecError: if there is no such key.
            StoreError: if the file cannot be written.
        """
        with exclusive(self.folder):
            return self._without(identity)

    def _without(self, identity: str) -> KeyRecord:
        records = self.read()
        found = [record for record in records if record.id == identity]
        if not found:
            raise SpecError(f"there is no key {identity!r} in {self.shown}: `fewgood keys list` shows what is there")
        self._write([record for record in records if record.id != identity])
        return found[0]

    def _write(self, records: Sequence[KeyRecord]) -> None:
        text = json.dumps({"keys": [record.model_dump(mode="json") for record in records]}, indent=1)
        try:
            self.folder.put(self.name, text.encode())
            if self.folder.folder is not None:
                (self.folder.folder / self.name).chmod(0o600)
        except FILE_ERRORS as error:
            raise StoreError(f"the keys {self.shown} cannot be written ({' '.join(str(error).split())})") from error


def find_key(records: Sequence[KeyRecord], key: str, now: datetime) -> KeyRecord | None:
    """The record of a key that is valid now; None for anything else."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    for record in records:
        if record.id == match[1] and hmac.compare_digest(record.sha256, _hashed(key)) and not record.expired(now):
            return record
    return None


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
