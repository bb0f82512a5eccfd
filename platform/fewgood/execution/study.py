"""A study: which cells are swept, over which search space, with which arms, seeds and budget; from YAML or from flags."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fewgood.data import list_categories
from fewgood.errors import SpecError
from fewgood.execution.study_parts import Budget, Cell, DatasetChoice, Resources, TrainingChoice
from fewgood.specs import ARMS, Shots, TrialSpec, canonical_json
from fewgood.store import Home
from fewgood.trials import make_spec

__all__ = ["Study", "load_study", "study_from"]

_EARLY_STOPPING_SEEDS = 3
"""Seeds from which a TPE search stops hopeless configurations unless told otherwise."""


class Study(BaseModel):
    """What a sweep does. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    datasets: tuple[DatasetChoice, ...] = Field(min_length=1)
    baselines: tuple[str, ...] = Field(default=("patchcore",), min_length=1)
    shots: tuple[Shots, ...] = Field(default=(1,), min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    arm: str = "generate"
    """The arm whose settings are searched."""
    controls: tuple[str, ...] = ("none", "augment")
    """Arms that are run beside it with the same settings, support files and seeds."""
    search: Literal["tpe", "grid", "list"] = "tpe"
    """`tpe` searches the space with Optuna; `grid` runs all of it; `list` runs `configurations`."""
    configurations: tuple[dict[str, Any], ...] = ()
    """With `search: list`, the settings of each configuration; `{}` is the defaults."""
    space: str = "auto"
    """A search space of `fewgood_spaces`, the path of a YAML file, or `auto`: each cell's own by dataset and baseline."""
    settings: dict[str, Any] = {}
    """`--set` keys that hold for every trial."""
    select_on: Literal["proxy", "test"] = "proxy"
    """What the search maximises: the proxy reads support images alone; `test` is marked in every row."""
    objectives: tuple[Literal["gain", "cost"], ...] = ("gain",)
    """`[gain, cost]` searches for the front of both: cost is the seconds that a configuration takes with an empty store."""
    penalty: float = Field(default=0.5, ge=0)
    """The gain is the mean over seeds minus this many standard errors."""
    early_stopping: bool | None = None
    """Stop a configuration between seeds when it is below the median of its cell; None does so in a TPE search of 3 seeds up."""
    warm_start: tuple[str, ...] = ()
    """Names of earlier studies in the same home, whose finished trials inform the search of the same cells."""
    budget: Budget = Budget()
    retries: int = Field(default=1, ge=0)
    """Times a failed trial is tried again before it is recorded as failed."""
    resources: Resources = Resources()
    training: TrainingChoice = TrainingChoice()
    search_seed: int = 0

    @field_validator("arm", "controls")
    @classmethod
    def _known_arm(cls, value: Any) -> Any:
        for arm in (value,) if isinstance(value, str) else value:
            if arm not in ARMS:
                raise ValueError(f"unknown arm {arm!r}, allowed is one of {', '.join(ARMS)}")
        return value

    @field_validator("baselines", "shots", "seeds", "controls", "objectives", "warm_start")
    @classmethod
    def _once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"{list(value)} names something twice")
        return value

    @field_validator("configurations")
    @classmethod
    def _different(cls, value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        names = [canonical_json(settings) for settings in value]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]} is given twice")
        return value

    @field_validator("objectives")
    @classmethod
    def _gain_first(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value not in (("gain",), ("gain", "cost")):
            raise ValueError("allowed is [gain] or [gain, cost]")
        return value

    @model_validator(mode="after")
    def _listed(self) -> Study:
        if (self.search == "list") != bool(self.configurations):
            raise ValueError("`search: list` and `configurations` go together: give both or neither")
        if self.arm in self.controls:
            raise ValueError(f"arm {self.arm!r} is searched and cannot be one of the controls as well")
        if len({cell.label for cell in self.cells}) != len(self.cells):
            raise ValueError("datasets name a category twice: name each dataset and category once")
        return self

    @property
    def cells(self) -> list[Cell]:
        """All combinations, in a fixed order; a dataset that still says `all` has none."""
        return [
            Cell(dataset=entry.name, category=category, baseline=baseline, shots=shots)
            for entry in self.datasets
            if entry.categories != "all"
            for category, baseline, shots in itertools.product(entry.categories, self.baselines, self.shots)
        ]

    @property
    def stops_early(self) -> bool:
        """Whether hopeless configurations are stopped between seeds."""
        if self.early_stopping is None:
            return self.search == "tpe" and len(self.seeds) >= _EARLY_STOPPING_SEEDS
        return self.early_stopping and len(self.seeds) > 1

    def dataset_of(self, cell: Cell) -> DatasetChoice:
        """The entry of `datasets` that a cell comes from."""
        return next(
            entry for entry in self.datasets if entry.name == cell.dataset and cell.category in entry.categories
        )

    def spec(self, cell: Cell, *, arm: str, seed: int, settings: Mapping[str, Any]) -> TrialSpec:
        """One run's spec; `settings` are the searched ones."""
        entry = self.dataset_of(cell)
        return make_spec(
            dataset=cell.dataset,
            category=cell.category,
            root=entry.root,
            baseline=cell.baseline,
            shots=cell.shots,
            arm=arm,
            seed=seed,
            keyword=entry.keywords.get(cell.category),
            settings={**self.settings, **settings},
        )

    def with_categories(self, home: Home) -> Study:
        """The same study with `categories: all` replaced by the categories that are there.

        Raises:
            SpecError, DataError: if a root is missing or holds no category.
        """
        entries = [
            entry
            if entry.categories != "all"
            else entry.model_copy(
                update={
                    "categories": tuple(
                        list_categories(
                            entry.name, root=None if entry.root is None else Path(entry.root), home=home.root
                        )
                    )
                }
            )
            for entry in self.datasets
        ]
        return self.model_copy(update={"datasets": tuple(entries)})


def load_study(path: Path) -> Study:
    """A study from a YAML file; a relative root is relative to the file, and `${NAME}` in it is an environment variable.

    Raises:
        SpecError: naming the file, and the key that cannot be meant.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"study {path} cannot be read ({error.strerror}): give a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"study {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise SpecError(f"study {path} must be a mapping with at least name and datasets")
    for entry in document.get("datasets") or () if isinstance(document.get("datasets"), list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("root"), str):
            root = _with_environment(entry["root"], path)
            entry["root"] = str((path.parent / Path(root).expanduser()).absolute())
    return study_from(document, where=f"study {path}")


def study_from(document: Mapping[str, Any], *, where: str) -> Study:
    """A checked study.

    Raises:
        SpecError: naming `where` and the key that cannot be meant.
    """
    try:
        return Study.model_validate(dict(document))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the document"
        hint = ""
        if first["type"] == "extra_forbidden":
            hint = f"; known keys are {', '.join(_known_keys(first['loc']))}"
        elif first["loc"]:
            hint = f", got {first.get('input')!r}"
        raise SpecError(f"{where}: {key}: {first['msg']}{hint}") from None


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    parts: Mapping[str, type[BaseModel]] = {
        "datasets": DatasetChoice,
        "budget": Budget,
        "resources": Resources,
        "training": TrainingChoice,
    }
    owner = parts.get(str(loc[0]), Study) if len(loc) > 1 else Study
    return list(owner.model_fields)


def _with_environment(text: str, path: Path) -> str:
    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise SpecError(f"study {path}: root {text!r} needs the environment variable {name}: set it to a folder")
        return os.environ[name]

    return re.sub(r"\$\{(\w+)\}", value, text)
