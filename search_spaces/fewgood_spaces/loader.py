"""Reads a search space: a name that ships with the package, or the path of a YAML file; `extends:` takes another's parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fewgood.errors import SpecError
from fewgood.execution.space import Choice, FloatRange, IntRange, Parameter, Space

__all__ = ["list_spaces", "load_space"]

_FOLDER = Path(__file__).parent
_MAX_DEPTH = 8


class _Choice(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["choice"]
    values: list[bool | int | float | str] = Field(min_length=1)

    def parameter(self) -> Parameter:
        return Choice(tuple(self.values))


class _Int(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["int"]
    low: int
    high: int
    step: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> _Int:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self

    def parameter(self) -> Parameter:
        return IntRange(self.low, self.high, self.step)


class _Float(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["float"]
    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> _Float:
        if self.low > self.high or (self.log and self.low <= 0):
            raise ValueError(f"low {self.low} must be at most high {self.high}, and above 0 with log")
        return self

    def parameter(self) -> Parameter:
        return FloatRange(self.low, self.high, self.log)


class _SpaceFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    extends: str | None = None
    description: str = ""
    parameters: dict[str, Annotated[_Choice | _Int | _Float, Field(discriminator="type")]] = {}


def list_spaces() -> list[str]:
    """The names that ship with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_space(name: str) -> Space:
    """A search space by its name or its file.

    Raises:
        SpecError: naming the file and the key that cannot be meant, or the names that are known.
    """
    return Space(name=name, version=1, parameters=_parameters(name, Path.cwd(), depth=0))


def _parameters(name: str, folder: Path, *, depth: int) -> dict[str, Parameter]:
    path = _find(name, folder)
    if depth > _MAX_DEPTH:
        raise SpecError(f"search space {path}: `extends` goes round in a circle")
    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
    except OSError as error:
        raise SpecError(f"search space {path} cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"search space {path} is not YAML: {' '.join(str(error).split())}") from error
    try:
        parsed = _SpaceFile.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        loc = [str(part) for part in first["loc"]]
        raise SpecError(
            f"search space {path}:{_line(text, loc)}: {'.'.join(loc) or 'the document'}: {first['msg']}"
        ) from None
    inherited = _parameters(parsed.extends, path.parent, depth=depth + 1) if parsed.extends else {}
    return inherited | {key: value.parameter() for key, value in parsed.parameters.items()}


def _find(name: str, folder: Path) -> Path:
    if name in list_spaces():
        return _FOLDER / f"{name}.yaml"
    path = (folder / Path(name).expanduser()).absolute()
    if path.suffix not in (".yaml", ".yml"):
        raise SpecError(f"search space {name!r} is unknown: known are {', '.join(list_spaces())}, or give a .yaml file")
    return path


def _line(text: str, loc: list[str]) -> int:
    """The line of the innermost key of `loc` that stands in the file, from 1."""
    node: Any = yaml.compose(text)
    line = 1
    for part in loc:
        if not isinstance(node, yaml.MappingNode):
            break
        for key, value in node.value:
            if key.value == part:
                line, node = key.start_mark.line + 1, value
                break
    return line
