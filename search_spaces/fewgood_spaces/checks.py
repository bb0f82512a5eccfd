"""Checks a search space's keys and values against the settings that they are meant for."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any

from fewgood.baselines import BASELINES
from fewgood.baselines.options import parse_options
from fewgood.errors import SpecError
from fewgood.execution.space import Choice, FloatRange, Parameter
from fewgood.trials import SECTIONS, make_spec, setting_keys
from fewgood_spaces.schema import number_hint

__all__ = ["check_parameter", "grid_problem"]

_MANY = 4096
"""Values of a range that are all checked; of a longer one, the ends are."""
_WORDS: Mapping[Any, str] = {bool: "true or false", int: "a whole number", float: "a number"}


def check_parameter(key: str, parameter: Parameter, *, baseline: str | None = None) -> None:
    """Refuse a key that is no setting, or a value that the setting does not take.

    Args:
        key: As for `--set`.
        parameter: What is searched.
        baseline: The baseline whose options `baseline.*` are; with None, a registered one must have the option.

    Raises:
        SpecError: saying what is allowed; the caller adds the file and the line.
    """
    section, _, name = key.partition(".")
    if section == "baseline":
        _check_option(name, parameter, (baseline,) if baseline else tuple(BASELINES))
        return
    if key not in setting_keys():
        raise SpecError(_unknown(key, setting_keys()))
    hint = typing.get_type_hints(SECTIONS[section])[name]
    for value in _values(parameter, hint):
        try:
            make_spec(dataset="sample", category="brick", settings={key: value})
        except SpecError as error:
            raise SpecError(_short(key, str(error))) from None


def grid_problem(parameters: Mapping[str, Parameter], generator_keys: tuple[str, ...]) -> tuple[str, str] | None:
    """The first parameter that needs another generator and is not on a grid, and why it is refused; None if all are."""
    for key in generator_keys:
        parameter = parameters[key]
        if isinstance(parameter, Choice):
            continue
        reason = "each of its values needs another trained generator"
        if not key.startswith("generator.") and key != "selection.rounds":
            reason += ", since with selection.rounds above 1 the images that are kept train the next round's"
        return key, f"{reason}: list a few with type: choice, so that trials share them"
    return None


def _check_option(name: str, parameter: Parameter, owners: tuple[str, ...]) -> None:
    fields = {owner: [item.name for item in dataclasses.fields(BASELINES[owner].options)] for owner in owners}
    able = [owner for owner in owners if name in fields[owner]]
    if not able:
        known = sorted({f"baseline.{item}" for items in fields.values() for item in items})
        of = f" of {owners[0]}" if len(owners) == 1 else " of any baseline"
        raise SpecError(_unknown(f"baseline.{name}", known, of))
    problems = []
    for owner in able:
        options = BASELINES[owner].options
        try:
            for value in _values(parameter, typing.get_type_hints(options)[name]):
                parse_options(owner, options, {name: value})
        except SpecError as error:
            problems.append(_short(f"baseline.{name}", str(error)))
        else:
            return
    raise SpecError(problems[0])


def _values(parameter: Parameter, hint: Any) -> list[Any]:
    """The values to try, each of the setting's own type."""
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    kind = next(item for item in kinds if item is not type(None))
    words = _WORDS.get(kind, "text")
    if not isinstance(parameter, Choice):
        allowed = (float,) if isinstance(parameter, FloatRange) else (int, float)
        if kind not in allowed:
            raise SpecError(f"is a range of {'real' if allowed == (float,) else 'whole'} numbers, allowed is {words}")
        few = (parameter.count() or _MANY + 1) <= _MANY
        return parameter.all_values() or [] if few else [parameter.low, parameter.high]
    for value in parameter.values:
        if value is None:
            if type(None) not in kinds:
                raise SpecError(f"value null, allowed is {words}")
        elif not _fits(value, kind):
            raise SpecError(f"value {value!r}, allowed is {words}{_yaml_hint(value, kind)}")
    return list(parameter.values)


def _fits(value: Any, kind: Any) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int:
        return isinstance(value, int)
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(value, str)


def _yaml_hint(value: object, kind: Any) -> str:
    """What to write when YAML has read a value as another type than was meant."""
    if isinstance(value, bool) and kind is not bool:
        return "; YAML reads yes, no, on and off as true and false: quote it if it is a word" if kind is str else ""
    return number_hint(value) if kind in (int, float) else ""


def _unknown(key: str, known: list[str], of: str = "") -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f", did you mean {near[0]}?" if near else ""
    return f"is not a setting{of}{hint}; allowed are {', '.join(known)}" + ("" if of else ", baseline.*")


def _short(key: str, message: str) -> str:
    """The message without the key, which the caller puts before it."""
    return message.replace(f"{key} is ", "value ", 1) if message.startswith(f"{key} is ") else message
