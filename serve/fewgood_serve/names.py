"""Names of promoted generators and their versions: what they may look like, so that none leaves the registry."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fewgood.errors import SpecError

__all__ = ["LATEST", "Reference", "check_name", "parse_reference", "slug"]

LATEST = "latest"
"""The alias that a name without a version means."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_ALLOWED = "1 to 64 small letters, digits, - and _, with a letter or digit at both ends"


@dataclass(frozen=True, order=True)
class Reference:
    """One version of one generator."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def check_name(name: str) -> str:
    """`name` itself.

    Raises:
        SpecError: if it could not be a generator's name: anything else than small letters, digits, - and _.
    """
    if not _NAME.fullmatch(name):
        raise SpecError(f"the generator's name is {name[:80]!r}, allowed are {_ALLOWED}")
    return name


def parse_reference(text: str) -> tuple[str, int | None]:
    """The name and the version in `name`, `name@latest` or `name@3`; None stands for the latest.

    Raises:
        SpecError: if the text is none of these.
    """
    name, _, version = text.partition("@")
    check_name(name)
    if version in ("", LATEST) and not text.endswith("@"):
        return name, None
    if not _VERSION.fullmatch(version):
        raise SpecError(f"the version in {text[:80]!r} is not allowed: give NAME, NAME@{LATEST} or NAME@NUMBER")
    return name, int(version)


def slug(*words: str) -> str:
    """A name made of words: other characters become -, and it is cut to 64."""
    text = re.sub(r"[^a-z0-9_]+", "-", "-".join(words).lower())[:64].strip("-_")
    return check_name(text or "generator")
