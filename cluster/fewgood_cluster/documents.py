"""YAML files as documents whose every key knows its line, and what a check found in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

__all__ = ["Document", "Finding", "key_of", "read_documents"]

Key = tuple[str | int, ...]
"""The way from a document's top to a value: keys of mappings, positions in lists."""


@dataclass(frozen=True)
class Finding:
    """One thing that a check has to say about a file.

    Attributes:
        level: `error` refuses the file; `warning` is said and lets it pass; `note` says what was not checked.
        line: The line that it is about, from 1.
        key: The key that it is about, e.g. `spec.headGroupSpec.template`; empty for the whole document.
        message: What is wrong, what is allowed and what to do.
    """

    level: Literal["error", "warning", "note"]
    path: Path
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        """One line for people: file, line, key, message."""
        return f"{self.path}:{self.line}: {self.level}: {self.key + ': ' if self.key else ''}{self.message}"


@dataclass
class Document:
    """One document of a YAML file."""

    path: Path
    data: Any
    node: yaml.Node
    findings: list[Finding] = field(default_factory=list)

    def line(self, key: Key) -> int:
        """The line of a key, or of the last part of the way to it that exists."""
        line = self.node.start_mark.line
        node: yaml.Node | None = self.node
        for part in key:
            step = _step(node, part)
            if step is None:
                break
            line, node = step
        return int(line) + 1

    def add(self, level: Literal["error", "warning", "note"], key: Key, message: str) -> None:
        """Record a finding about a key."""
        self.findings.append(Finding(level, self.path, self.line(key), key_of(key), message))

    def error(self, key: Key, message: str) -> None:
        """Record an error about a key."""
        self.add("error", key, message)

    def warning(self, key: Key, message: str) -> None:
        """Record a warning about a key."""
        self.add("warning", key, message)

    def get(self, key: Key) -> Any:
        """The value at a key; None where the way to it does not exist."""
        value = self.data
        for part in key:
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def mapping(self, key: Key) -> dict[str, Any]:
        """The mapping at a key; empty where there is none. That it is none is for the schema to say."""
        value = self.get(key)
        return value if isinstance(value, dict) else {}

    def items(self, key: Key) -> list[Any]:
        """The list at a key; empty where there is none."""
        value = self.get(key)
        return value if isinstance(value, list) else []


def key_of(key: Sequence[str | int]) -> str:
    """A key as people write it: `spec.workerGroupSpecs[0].groupName`."""
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return words.removeprefix(".")


def read_documents(path: Path) -> tuple[list[Document], list[Finding]]:
    """The documents of a YAML file, empty ones left out, and what is wrong with the YAML itself.

    A key that a mapping has twice is an error: YAML readers keep one of the two in silence.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return [], [Finding("error", path, 1, "", f"cannot be read ({error}): give a YAML file")]
    documents: list[Document] = []
    findings: list[Finding] = []
    loader = _Loader(text)
    try:
        while loader.check_node():
            node: yaml.Node = loader.get_node()  # type: ignore[assignment]  # check_node said that there is one
            findings += _twice(path, node)
            document = Document(path, loader.construct_document(node), node)
            if document.data is not None:
                documents.append(document)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error)
        findings.append(Finding("error", path, mark.line + 1 if mark else 1, "", f"is no YAML: {said}"))
    finally:
        loader.dispose()
    if not documents and not findings:
        findings.append(Finding("error", path, 1, "", "holds no document: give a file with at least one"))
    return documents, findings


class _Loader(yaml.SafeLoader):
    """Reads dates as the text that they are: neither Ray nor Kubernetes knows another type for them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _step(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    """The line of a key of a mapping or of an item of a list, and the node behind it."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line, node.value[part]
    return None


def _twice(path: Path, node: yaml.Node, key: Key = ()) -> Iterator[Finding]:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for name, value in node.value:
            here = (*key, str(name.value))
            line = name.start_mark.line + 1
            if name.value in seen:
                yield Finding(
                    "error", path, line, key_of(here), f"stands twice, first in line {seen[name.value]}: keep one"
                )
            seen[name.value] = line
            yield from _twice(path, value, here)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield from _twice(path, item, (*key, position))
