"""Search spaces as YAML, one file for each dataset/baseline pair where they differ, and their loader."""

from fewgood_spaces.loader import (
    AUTO,
    Origin,
    ResolvedSpace,
    list_spaces,
    load_space,
    read_space,
    resolve,
    shipped_name,
    space_for,
)

__all__ = [
    "AUTO",
    "Origin",
    "ResolvedSpace",
    "list_spaces",
    "load_space",
    "read_space",
    "resolve",
    "shipped_name",
    "space_for",
]
