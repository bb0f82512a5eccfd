"""The login that readers need where it is configured: the secrets file that Streamlit takes it from."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from fewgood.errors import SpecError

__all__ = ["read_secrets"]


def read_secrets(path: Path | None) -> dict[str, Any]:
    """A Streamlit secrets file; with a table `[auth]` readers must log in with OpenID Connect.

    Raises:
        SpecError: if it cannot be read, or is not TOML.
    """
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SpecError(f"--secrets {path} cannot be used ({error}): give a TOML file with an [auth] table") from error
