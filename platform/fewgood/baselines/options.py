"""Turning `--set baseline.name=value` into the typed, checked options of a baseline."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from fewgood.errors import SpecError

__all__ = ["did_you_mean", "option", "parse_options"]

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


def option(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    multiple: int | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """A dataclass field with the values it allows.

    Args:
        default: The value when nothing is given; its annotation is the type that overrides are converted to.
        low: Smallest allowed number.
        high: Largest allowed number.
        above: The number must be greater than this.
        multiple: The number must be a multiple of this.
        choices: The only allowed values.

    Returns:
        A `dataclasses.field` that `parse_options` reads.
    """
    limits = {"low": low, "high": high, "above": above, "multiple": multiple, "choices": choices}
    return field(default=default, metadata={key: value for key, value in limits.items() if value is not None})


def parse_options(owner: str, options: type[Any], overrides: Mapping[str, Any]) -> Any:
    """Build a baseline's option dataclass from overrides.

    Args:
        owner: The baseline's name, for messages.
        options: A frozen dataclass whose fields were made by `option`.
        overrides: Values by field name, as Python values or as the text a command line gives.

    Returns:
        An instance of `options`.

    Raises:
        SpecError: A key that the baseline does not have, or a value of the wrong type or outside its range.
    """
    fields = {item.name: item for item in dataclasses.fields(options)}
    hints = typing.get_type_hints(options)
    values: dict[str, Any] = {}
    for key, raw in overrides.items():
        if key not in fields:
            raise SpecError(
                f"baseline.{key} is not an option of {owner}{did_you_mean(key, fields)}; "
                f"its options are {', '.join(sorted(fields))}"
            )
        value = _convert(key, raw, hints[key])
        _check(key, value, fields[key].metadata)
        values[key] = value
    return options(**values)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean X?` for the closest of `known`, or nothing when none is close."""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""


def _convert(key: str, raw: Any, hint: Any) -> Any:
    """`raw` as the annotated type: int, float, str, bool, tuple[str, ...], each also `| None`."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(None) in kinds:
        if raw is None or (isinstance(raw, str) and raw.strip().lower() in {"none", "null", ""}):
            return None
        kinds = tuple(kind for kind in kinds if kind is not type(None))
    kind = kinds[0]
    try:
        if kind is bool:
            return _as_bool(raw)
        if kind is int:
            return _as_int(raw)
        if kind is float:
            return _as_float(raw)
        if kind is str:
            return _as_str(raw)
        return _as_names(raw)
    except ValueError:
        wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
        raise SpecError(
            f"baseline.{key} is {raw!r}, allowed is {wanted.get(kind, 'a comma-separated list of names')}"
        ) from None


def _as_bool(raw: Any) -> bool:
    text = str(raw).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(raw)


def _as_int(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise ValueError(raw)
    if isinstance(raw, float) and not raw.is_integer():
        raise ValueError(raw)
    return int(raw)


def _as_float(raw: Any) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise ValueError(raw)
    value = float(raw)
    if not math.isfinite(value):
        raise ValueError(raw)
    return value


def _as_str(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError(raw)
    return raw.strip()


def _as_names(raw: Any) -> tuple[str, ...]:
    parts = (
        raw.strip("[]() ").split(",") if isinstance(raw, str) else list(raw) if isinstance(raw, list | tuple) else []
    )
    names = tuple(str(part).strip().strip("'\"") for part in parts)
    if not names or not all(names):
        raise ValueError(raw)
    return names


def _check(key: str, value: Any, limits: Mapping[str, Any]) -> None:
    if value is None or not limits:
        return
    bad = (
        ("choices" in limits and value not in limits["choices"])
        or ("low" in limits and value < limits["low"])
        or ("high" in limits and value > limits["high"])
        or ("above" in limits and value <= limits["above"])
        or ("multiple" in limits and value % limits["multiple"] != 0)
    )
    if bad:
        raise SpecError(f"baseline.{key} is {value!r}, allowed is {_allowed(limits)}")


def _allowed(limits: Mapping[str, Any]) -> str:
    if "choices" in limits:
        return "one of " + ", ".join(str(choice) for choice in limits["choices"])
    words = [
        text.format(limits[name])
        for name, text in (
            ("multiple", "a multiple of {}"),
            ("low", "{} or more"),
            ("above", "more than {}"),
            ("high", "at most {}"),
        )
        if name in limits
    ]
    return ", ".join(words)
