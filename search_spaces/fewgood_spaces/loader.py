"""Finds and reads search spaces: by name, by file, or by dataset and baseline; `extends:` takes another's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fewgood.baselines import BASELINES
from fewgood.baselines.options import did_you_mean
from fewgood.data import DATASETS
from fewgood.errors import SpecError
from fewgood.execution.space import Parameter, Space
from fewgood_spaces.checks import check_parameter, grid_problem
from fewgood_spaces.document import read_document

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

AUTO = "auto"
"""The name that stands for the space of a dataset and a baseline."""
_FOLDER = Path(__file__).parent
_VERSION = 1


@dataclass(frozen=True)
class Origin:
    """Where a parameter stands."""

    path: Path
    line: int
    """From 1."""


@dataclass(frozen=True)
class ResolvedSpace:
    """A search space with what its files say beside the parameters."""

    space: Space
    path: Path
    description: str
    origins: Mapping[str, Origin]
    """For each parameter the file that gives it."""


def list_spaces() -> list[str]:
    """The names that ship with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_space(name: str) -> Space:
    """A search space by its name or its file.

    Raises:
        SpecError: naming the file, the line and the key that cannot be meant, or the names that are known.
    """
    return read_space(name).space


def space_for(dataset: str, baseline: str) -> Space:
    """The shipped search space of a dataset and a baseline.

    Raises:
        SpecError: for a dataset or baseline that is not known.
    """
    return resolve(AUTO, dataset=dataset, baseline=baseline)


def resolve(name: str, *, dataset: str, baseline: str, folder: Path | None = None) -> Space:
    """The search space that a study's cell is searched over.

    Args:
        name: A shipped name, a .yaml file, or "auto": the first that ships of DATASET-BASELINE, DATASET, BASELINE, default.
        dataset: A name in `fewgood.data.DATASETS`.
        baseline: A name in `fewgood.baselines.BASELINES`; `baseline.*` are its options.
        folder: Where a relative file is looked for first, such as the study's; then in the current folder.

    Raises:
        SpecError: naming the file, the line and the key that cannot be meant, or the names that are known.
    """
    chosen = shipped_name(dataset, baseline)
    return read_space(chosen if name == AUTO else name, baseline=baseline, folder=folder).space


def shipped_name(dataset: str, baseline: str) -> str:
    """The name that "auto" stands for."""
    _expect("dataset", dataset, DATASETS)
    _expect("baseline", baseline, BASELINES)
    names = list_spaces()
    return next(name for name in (f"{dataset}-{baseline}", dataset, baseline, "default") if name in names)


def read_space(name: str, *, baseline: str | None = None, folder: Path | None = None) -> ResolvedSpace:
    """A search space by its name or its file, with where each parameter comes from.

    Args:
        name: A shipped name or a .yaml file.
        baseline: The baseline whose options `baseline.*` are; with None, any registered one may have them.
        folder: As in `resolve`.

    Raises:
        SpecError: as `resolve`.
    """
    if baseline is not None:
        _expect("baseline", baseline, BASELINES)
    path = _find(name, [folder, Path.cwd()] if folder else [Path.cwd()])
    parameters, origins, description = _merged(path, ())
    if not parameters:
        raise SpecError(f"search space {path}:1: parameters: has no parameters: give at least one, or extends: default")
    for key, parameter in parameters.items():
        try:
            check_parameter(key, parameter, baseline=baseline)
        except SpecError as error:
            raise _at(origins[key], key, str(error)) from None
    space = Space(name=name, version=_VERSION, parameters=parameters)
    if problem := grid_problem(parameters, space.generator_keys()):
        raise _at(origins[problem[0]], *problem)
    return ResolvedSpace(space, path, description, origins)


def _expect(what: str, value: str, known: Mapping[str, object]) -> None:
    if value not in known:
        raise SpecError(f"{what} is {value!r}{did_you_mean(value, known)}; allowed is one of {', '.join(known)}")


def _at(origin: Origin, key: str, message: str) -> SpecError:
    return SpecError(f"search space {origin.path}:{origin.line}: {key}: {message}")


def _merged(path: Path, above: tuple[Path, ...]) -> tuple[dict[str, Parameter], dict[str, Origin], str]:
    """Parameters, their origins and the description of a file and of those that it extends."""
    document, lines = read_document(path)
    parameters: dict[str, Parameter] = {}
    origins: dict[str, Origin] = {}
    if document.extends is not None:
        chain = (*above, path.resolve())
        here = Origin(path, lines["extends"])
        try:
            parent = _find(document.extends, [path.parent])
        except SpecError as error:
            raise _at(here, "extends", str(error)) from None
        if parent.resolve() in chain:
            raise _at(here, "extends", f"goes round in a circle: {' -> '.join(map(str, (*chain, parent.resolve())))}")
        if not parent.is_file():
            raise _at(here, "extends", f"{parent} is not there: name a file beside this one, or a space that ships")
        parameters, origins, _ = _merged(parent, chain)
    for key, value in document.parameters.items():
        parameters[key], origins[key] = value.parameter(), Origin(path, lines[key])
    return parameters, origins, " ".join(document.description.split())


def _find(name: str, folders: list[Path]) -> Path:
    """The file of a shipped name, or the first of the places where a file of that name is."""
    names = list_spaces()
    if name in names:
        return _FOLDER / f"{name}.yaml"
    if name == AUTO:
        raise SpecError('search space "auto" is chosen by dataset and baseline: give both, or name a space')
    paths = [(folder / Path(name).expanduser()).absolute() for folder in folders]
    if paths[0].suffix not in (".yaml", ".yml"):
        raise SpecError(
            f"search space {name!r} is unknown{did_you_mean(name, names)}; known are {', '.join(names)}, or give a .yaml file"
        )
    return next((path for path in paths if path.is_file()), paths[0])
