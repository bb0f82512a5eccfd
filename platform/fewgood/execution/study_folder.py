"""A study's folder: its definition, event log and Optuna storage, kept beside each other and copied to a shared store."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fewgood.errors import ExecutionError, SpecError, StoreError
from fewgood.execution.events import EventLog
from fewgood.execution.space import Choice, FloatRange, IntRange, Parameter, Space
from fewgood.execution.study import Study, study_from
from fewgood.store import Home
from fewgood.store.location import FILE_ERRORS

__all__ = ["StudyFolder", "known_studies"]

_TYPES: Mapping[str, type[Any]] = {"choice": Choice, "int": IntRange, "float": FloatRange}
_MAY_CHANGE = frozenset({"budget", "resources", "training", "retries", "warm_start"})
"""What a later start of the same study may say differently: more trials, other resources, more help."""


class StudyFolder:
    """Where one study keeps what it must not lose."""

    def __init__(self, home: Home, name: str) -> None:
        self._home = home
        self.name = name
        self.path = home.studies / name
        self.log = EventLog(self.path / "events.jsonl")
        self.optuna = self.path / "optuna.journal"
        self._definition = self.path / "study.json"

    def claim(self, study: Study, spaces: Mapping[str, Space]) -> None:
        """Write the study's definition, or hold it against the one that is there.

        Raises:
            SpecError: if a study of this name exists with other settings.
        """
        self._fetch()
        definition = {"study": study.model_dump(mode="json"), "spaces": {k: _space_json(v) for k, v in spaces.items()}}
        if self._definition.exists():
            known = json.loads(self._definition.read_text())
            if _fixed(known) != _fixed(json.loads(json.dumps(definition))):
                raise SpecError(
                    f"study {self.name!r} exists in {self.path} with other settings: give another --name, "
                    "or remove that folder to start over (its runs stay in the ledger)"
                )
        self.path.mkdir(parents=True, exist_ok=True)
        partial = self._definition.with_name(".study.json.partial")
        partial.write_text(json.dumps(definition, indent=1))
        partial.replace(self._definition)
        self.publish()

    def load(self) -> tuple[Study, dict[str, Space]]:
        """The study and each cell's search space as they were claimed.

        Raises:
            SpecError: if there is no study of this name, or its definition is damaged or of another version.
        """
        self._fetch()
        try:
            document = json.loads(self._definition.read_text())
            spaces = {label: _space(entry) for label, entry in document["spaces"].items()}
        except FileNotFoundError:
            there = ", ".join(known_studies(self._home)) or "none"
            raise SpecError(f"there is no study {self.name!r} in {self._home.studies}: known are {there}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SpecError(
                f"{self._definition} is damaged or was written by another version ({type(error).__name__}: {error}): "
                "start the study again under another --name"
            ) from error
        return study_from(document["study"], where=str(self._definition)), spaces

    @contextmanager
    def driven(self) -> Iterator[None]:
        """Hold the study while it runs, so that two drivers on this machine do not.

        Raises:
            ExecutionError: if another process drives it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".driver.lock").open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                handle.seek(0)
                holder = handle.read().strip() or "unknown"
                raise ExecutionError(
                    f"study {self.name!r} is being run by process {holder}: wait for it, or end that process first"
                ) from None
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield

    def publish(self) -> None:
        """Copy the study's files to the shared store, if there is one.

        Raises:
            StoreError: if it cannot be written.
        """
        if self._home.store is None:
            return
        target = self._home.shared("studies", self.name)
        try:
            target.make()
            for path in (self.log.path, self.optuna, self._definition):
                if path.exists():
                    target.put(path.name, path.read_bytes())
        except FILE_ERRORS as error:
            raise StoreError(f"study {self.name!r} cannot be copied to {target.shown} ({error})") from error

    def _fetch(self) -> None:
        """Take the study's files from the shared store if this home has none: its driver ran on another host."""
        if self._home.store is None or self._definition.exists():
            return
        source = self._home.shared("studies", self.name)
        self.path.mkdir(parents=True, exist_ok=True)
        for path in (self.log.path, self.optuna, self._definition):  # the definition last: its existence means complete
            try:
                content = source.read(path.name)
            except FileNotFoundError:
                continue
            except FILE_ERRORS as error:
                raise StoreError(f"study {self.name!r} cannot be read from {source.shown} ({error})") from error
            path.write_bytes(content)


def known_studies(home: Home) -> list[str]:
    """The studies of a home, by name."""
    return sorted(path.parent.name for path in home.studies.glob("*/study.json"))


def _fixed(definition: Mapping[str, Any]) -> dict[str, Any]:
    """What may not change between two starts. Roots may: the same data can lie elsewhere, and its content is checked."""
    study = {key: value for key, value in definition["study"].items() if key not in _MAY_CHANGE}
    study["datasets"] = [
        {key: value for key, value in entry.items() if key != "root"} for entry in study.get("datasets", ())
    ]
    return {"study": study, "spaces": {k: v["parameters"] for k, v in definition["spaces"].items()}}


def _space_json(space: Space) -> dict[str, Any]:
    return {
        "name": space.name,
        "version": space.version,
        "parameters": {key: parameter.to_json() for key, parameter in space.parameters.items()},
    }


def _space(entry: Mapping[str, Any]) -> Space:
    def parameter(fields: Mapping[str, Any]) -> Parameter:
        values = {
            key: tuple(value) if isinstance(value, list) else value for key, value in fields.items() if key != "type"
        }
        made: Parameter = _TYPES[fields["type"]](**values)
        return made

    return Space(entry["name"], entry["version"], {key: parameter(item) for key, item in entry["parameters"].items()})
