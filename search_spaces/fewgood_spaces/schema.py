"""What a search space's file may say: pydantic models, and the message for what it may not."""

from __future__ import annotations

import difflib
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import ErrorDetails

from fewgood.execution.space import Choice, FloatRange, IntRange, Parameter

__all__ = ["SpaceDocument", "explain", "number_hint"]

_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Whole = Annotated[int, Field(strict=True)]
_TAGS = ("choice", "int", "float")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Choice(_Part):
    type: Literal["choice"]
    values: list[bool | int | float | str | None] = Field(min_length=1)

    @model_validator(mode="after")
    def _alike(self) -> _Choice:
        kinds = {_kind(value) for value in self.values if value is not None}
        if len(kinds) > 1:
            raise ValueError(
                f"values {self.values} mix {' and '.join(sorted(kinds))}, which cannot all be meant for one setting: "
                "write them in one way"
            )
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"values {self.values} hold one twice: give each once")
        return self

    def parameter(self) -> Parameter:
        if any(isinstance(value, float) for value in self.values):
            # [1, 0.5] and [1.0, 0.5] are the same values and have the same digest.
            return Choice(tuple(value if value is None else float(value) for value in self.values))
        return Choice(tuple(self.values))


class _Int(_Part):
    type: Literal["int"]
    low: _Whole
    high: _Whole
    step: Annotated[int, Field(strict=True, ge=1)] = 1

    @model_validator(mode="after")
    def _ordered(self) -> _Int:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        if rest := (self.high - self.low) % self.step:
            raise ValueError(
                f"high {self.high} is not low {self.low} plus steps of {self.step}: write high: {self.high - rest}"
            )
        return self

    def parameter(self) -> Parameter:
        return IntRange(self.low, self.high, self.step)


class _Float(_Part):
    type: Literal["float"]
    low: _Number
    high: _Number
    log: bool = Field(default=False, strict=True)
    step: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> _Float:
        if self.low > self.high or (self.log and self.low <= 0):
            raise ValueError(f"low {self.low} must be at most high {self.high}, and above 0 with log")
        if self.step is not None:
            if self.log:
                raise ValueError(
                    "log and step cannot both be given: leave one out, or list the values with type: choice"
                )
            low, high, step = (Decimal(str(value)) for value in (self.low, self.high, self.step))
            if rest := (high - low) % step:
                raise ValueError(
                    f"high {self.high} is not low {self.low} plus steps of {self.step}: write high: {float(high - rest)}"
                )
        return self

    def parameter(self) -> Parameter:
        return FloatRange(self.low, self.high, self.log, self.step)


class SpaceDocument(_Part):
    """One file, before `extends` is followed."""

    version: Literal[1]
    """Of the file's format."""
    extends: str | None = Field(default=None, min_length=1)
    """A space that ships, or a file relative to this one, whose parameters are taken unless this one gives them."""
    description: str = ""
    parameters: dict[str, Annotated[_Choice | _Int | _Float, Field(discriminator="type")]] = {}


def explain(error: ErrorDetails) -> tuple[list[str | int], str]:
    """Where in the document a validation error is, and what it says, with what is allowed."""
    loc = list(error["loc"])
    if len(loc) > 2 and loc[0] == "parameters" and loc[2] in _TAGS:
        del loc[2]  # pydantic's name for the kind of parameter, which is no key of the file
    value, text = error.get("input"), error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        tag = error["loc"][2] if len(error["loc"]) > 2 else None
        models: dict[str, type[BaseModel]] = {"choice": _Choice, "int": _Int, "float": _Float}
        model = models.get(str(tag), SpaceDocument)
        near = difflib.get_close_matches(str(loc[-1]), model.model_fields, n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        return loc, f"unknown key{hint}; allowed are {', '.join(model.model_fields)}"
    if error["type"] == "missing":
        return loc, "is missing"
    if error["type"].startswith("union_tag"):
        return loc, f"type is missing or unknown: allowed is one of {', '.join(_TAGS)}"
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return loc, f"is {value!r}: allowed is a mapping of keys to values"
    if loc[-1:] == ["[key]"]:
        return loc[:-1], "is no text: the keys here are settings, such as prompts.count"
    if len(loc) > 4 and loc[2] == "values":  # pydantic tried each type that a value may have
        return loc[:4], f"is {value!r}: allowed is a number, a text, true, false or null"
    if loc == ["version"]:
        return loc, f"is {value!r}: this fewgood reads version 1"
    text = text[:1].lower() + text[1:]
    if error["type"] != "value_error":
        text += f", got {value!r}{number_hint(value)}"
    return loc, text


def number_hint(value: object) -> str:
    """What to write for a number that YAML reads as text, such as 1e-4."""
    if not isinstance(value, str):
        return ""
    try:
        return f"; YAML reads {value} as text: write {float(value):.6f}".rstrip("0")
    except ValueError:
        return ""


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "numbers" if isinstance(value, int | float) else "text"
