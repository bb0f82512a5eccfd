"""Reads one search space file: YAML without keys given twice, checked, and the line of each key."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fewgood.errors import SpecError
from fewgood_spaces.schema import SpaceDocument, explain

__all__ = ["read_document"]


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which takes the last of two equal keys in silence, made to refuse them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in first:
                raise _GivenTwice(line, str(key.value), first[key.value])
            first[key.value] = line
        return super().construct_mapping(node, deep)


class _GivenTwice(Exception):
    """A key stands twice in one mapping."""

    def __init__(self, line: int, key: str, first: int) -> None:
        super().__init__(line, key, first)
        self.line, self.key, self.first = line, key, first


def read_document(path: Path) -> tuple[SpaceDocument, dict[str, int]]:
    """A checked file, and the line of each of its parameters and of `extends`, from 1.

    Raises:
        SpecError: naming the file, the line and the key of the first mistake.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(
            f"search space {path} cannot be read ({error.strerror}): give a YAML file, or a name of `fewgood spaces list`"
        ) from error
    except UnicodeDecodeError as error:
        raise SpecError(f"search space {path} is not YAML: it is no UTF-8 text ({error.reason})") from error
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - a subclass of SafeLoader
        tree = yaml.compose(text, yaml.SafeLoader)
    except _GivenTwice as error:
        raise SpecError(
            f"search space {path}:{error.line}: {error.key}: stands in line {error.first} already: give it once"
        ) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecError(f"search space {path}:{line}: is not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise SpecError(f"search space {path} is not YAML: {' '.join(str(error).split())}") from error
    try:
        parsed = SpaceDocument.model_validate(document)
    except ValidationError as error:
        loc, message = explain(error.errors()[0])
        key = ".".join(map(str, loc[1:] if len(loc) > 1 and loc[0] == "parameters" else loc)) or "the document"
        raise SpecError(f"search space {path}:{_line(tree, loc)}: {key}: {message}") from None
    lines = {key: _line(tree, ["parameters", key]) for key in parsed.parameters}
    return parsed, lines | {"extends": _line(tree, ["extends"])}


def _line(node: Any, loc: Sequence[str | int]) -> int:
    """The line of the innermost part of `loc` that stands in the file, from 1."""
    line = 1
    for part in loc:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
            continue
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.value == str(part):
                line, node = key.start_mark.line + 1, value
                break
    return line
