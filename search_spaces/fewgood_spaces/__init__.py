"""Search spaces as YAML, one file each, and their loader."""

from fewgood_spaces.loader import list_spaces, load_space

__all__ = ["list_spaces", "load_space"]
