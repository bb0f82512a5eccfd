"""From what a user says (flags, `--set key=value`, a study's YAML) to `TrialSpec`s, with every value checked and typed."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fewgood.errors import SpecError
from fewgood.specs import (
    DataSpec,
    EmbeddingSpec,
    GeneratorSpec,
    PromptSpec,
    SamplingSpec,
    SelectionSpec,
    TrialSpec,
)

__all__ = ["SECTIONS", "make_spec", "parse_settings", "parse_shots", "setting_keys", "settings_of"]

SECTIONS: Mapping[str, type[Any]] = {
    "prompts": PromptSpec,
    "embedding": EmbeddingSpec,
    "generator": GeneratorSpec,
    "sampling": SamplingSpec,
    "selection": SelectionSpec,
}
"""The sections of `--set section.key=value`; `baseline.*` is the baseline's own."""

_DERIVED = {"generator.init_digest"}


def setting_keys() -> list[str]:
    """Every key that `--set` takes, the baselines' own left out."""
    keys = [f"{name}.{item.name}" for name, section in SECTIONS.items() for item in dataclasses.fields(section)]
    return [key for key in keys if key not in _DERIVED]


def parse_settings(pairs: Sequence[str]) -> dict[str, str]:
    """`["generator.steps=150", ...]` as a dictionary.

    Raises:
        SpecError: for a word without `=`, or a key given twice.
    """
    settings: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise SpecError(f"--set {pair!r} is not key=value: write it like --set generator.steps=150")
        if key in settings:
            raise SpecError(f"--set {key} is given twice ({settings[key]} and {value}): give it once")
        settings[key] = value.strip()
    return settings


def parse_shots(text: str | int) -> int | typing.Literal["full"]:
    """`--shots`: a whole number from 1, or `full`."""
    if isinstance(text, int):
        return text
    if text.strip().lower() == "full":
        return "full"
    try:
        return int(text)
    except ValueError:
        raise SpecError(
            f'--shots is {text!r}, allowed is a whole number from 1, or "full" for all good images'
        ) from None


def make_spec(
    *,
    dataset: str,
    category: str,
    root: Path | str | None = None,
    baseline: str = "patchcore",
    shots: str | int = 1,
    arm: str = "generate",
    seed: int = 0,
    keyword: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> TrialSpec:
    """A checked `TrialSpec`.

    Args:
        dataset: A name in `fewgood.data.DATASETS`.
        category: The category's folder name.
        root: The folder above the category.
        baseline: A name in `fewgood.baselines.BASELINES`.
        shots: Good images in the support set, or "full".
        arm: One of `fewgood.specs.ARMS`.
        seed: 0 or more.
        keyword: The word for the part; None takes the category's own.
        settings: `{"generator.steps": 150, ...}`; values may be text.

    Raises:
        SpecError: for an unknown key or a value that is not allowed; the message says what is.
    """
    from fewgood.baselines import baseline_spec
    from fewgood.hardware import best_precision

    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    options: dict[str, Any] = {}
    for key, value in (settings or {}).items():
        section, dot, name = key.partition(".")
        if dot and section == "baseline" and name:
            options[name] = value
        elif dot and section in SECTIONS and key in setting_keys():
            sections[section][name] = _typed(key, SECTIONS[section], name, value)
        else:
            raise SpecError(_unknown_key(key))
    if keyword is not None:
        if not keyword.strip():
            raise SpecError("--keyword is empty: say what the part is, for example --keyword 'metal nut'")
        sections["prompts"]["keyword"] = keyword
    if init := sections["generator"].get("init_from"):
        path, sha = _file_digest("generator.init_from", init)
        sections["generator"] |= {"init_from": path, "init_digest": sha}
    return TrialSpec(
        data=DataSpec(
            dataset=dataset,
            category=category,
            shots=parse_shots(shots),
            root=None if root is None else str(Path(root).expanduser().absolute()),
        ),
        arm=arm,
        seed=seed,
        prompts=PromptSpec(**sections["prompts"]),
        embedding=EmbeddingSpec(**sections["embedding"]),
        generator=GeneratorSpec(**sections["generator"]),
        sampling=SamplingSpec(**sections["sampling"]),
        selection=SelectionSpec(**sections["selection"]),
        baseline=baseline_spec(baseline, options),
        precision=best_precision(),
    )


def settings_of(spec: TrialSpec) -> dict[str, Any]:
    """The `--set` keys and values in which a spec differs from the defaults."""
    from fewgood.baselines import baseline_spec

    changed: dict[str, Any] = {}
    for name, section in SECTIONS.items():
        mine, default = getattr(spec, name), section()
        for item in dataclasses.fields(section):
            key, value = f"{name}.{item.name}", getattr(mine, item.name)
            if key not in _DERIVED and value != getattr(default, item.name):
                changed[key] = ",".join(map(str, value)) if isinstance(value, tuple) else value
    defaults = baseline_spec(spec.baseline.name, {}).option_dict()
    for option, value in spec.baseline.option_dict().items():
        if value != defaults.get(option):
            text = ",".join(map(str, value)) if isinstance(value, (tuple, list)) else value
            changed[f"baseline.{option}"] = text
    return changed


def _typed(key: str, section: type[Any], name: str, value: Any) -> Any:
    hint = typing.get_type_hints(section)[name]
    if isinstance(value, str):
        if value.lower() in ("none", "null") and type(None) in typing.get_args(hint):
            return None
        if typing.get_origin(hint) is tuple:
            value = [part for part in value.replace("(", "").replace(")", "").split(",") if part.strip()]
    try:
        typed = TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise SpecError(f"{key} is {value!r}: {reason[0].lower()}{reason[1:]}") from None
    if (isinstance(typed, float) and typed != typed) or typed in (float("inf"), float("-inf")):
        raise SpecError(f"{key} is {value!r}: give a finite number")
    return typed


def _unknown_key(key: str) -> str:
    known = [*setting_keys(), "baseline.*"]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"--set has no key {key!r}: {hint}known keys are {', '.join(known)}"


def _file_digest(key: str, text: str) -> tuple[str, str]:
    path = Path(text).expanduser().absolute()
    try:
        with path.open("rb") as handle:
            return str(path), hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise SpecError(f"{key} is {text!r}: {error.strerror}; give the path of a VQGAN checkpoint file") from error
