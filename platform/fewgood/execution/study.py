"""A study: which cells are swept, over which search space, with which arms, seeds and budget; from YAML or from flags."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fewgood.errors import SpecError
from fewgood.specs import ARMS, Shots, TrialSpec
from fewgood.trials import make_spec

__all__ = ["Cell", "Study", "load_study"]


class Cell(BaseModel):
    """A dataset, category, baseline and number of shots."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    category: str
    baseline: str
    shots: Shots

    @property
    def label(self) -> str:
        """How people name it."""
        return f"{self.dataset}/{self.category} {self.baseline} {self.shots}-shot"


class Study(BaseModel):
    """What a sweep does. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    dataset: str
    root: str | None = None
    categories: tuple[str, ...] = Field(min_length=1)
    baselines: tuple[str, ...] = ("patchcore",)
    shots: tuple[Shots, ...] = (1,)
    seeds: tuple[int, ...] = (0,)
    arm: str = "generate"
    """The arm whose settings are searched."""
    controls: tuple[str, ...] = ("none", "augment")
    """Arms that are run beside it with the same settings, support files and seeds."""
    trials: int = Field(default=8, ge=1)
    """Configurations per cell."""
    space: str = "default"
    """A search space of `fewgood_spaces`, or the path of a YAML file."""
    settings: dict[str, Any] = {}
    """`--set` keys that hold for every trial."""
    keyword: str | None = None
    select_on: Literal["proxy", "test"] = "proxy"
    """What the search maximises: the proxy reads support images alone; `test` is marked in every row."""
    penalty: float = Field(default=0.5, ge=0)
    """The objective is the mean over seeds minus this many standard errors."""
    search_seed: int = 0
    concurrent: int | None = Field(default=None, ge=1)
    """Trials at once; None is as many as the CPUs (or GPUs) allow."""
    cpus_per_trial: int = Field(default=1, ge=1)
    gpus_per_trial: float = Field(default=0, ge=0)

    @field_validator("arm", "controls")
    @classmethod
    def _known_arm(cls, value: Any) -> Any:
        for arm in (value,) if isinstance(value, str) else value:
            if arm not in ARMS:
                raise ValueError(f"unknown arm {arm!r}, allowed is one of {', '.join(ARMS)}")
        return value

    @property
    def cells(self) -> list[Cell]:
        """All combinations, in a fixed order."""
        return [
            Cell(dataset=self.dataset, category=category, baseline=baseline, shots=shots)
            for category, baseline, shots in itertools.product(self.categories, self.baselines, self.shots)
        ]

    def spec(self, cell: Cell, *, arm: str, seed: int, settings: Mapping[str, Any]) -> TrialSpec:
        """One run's spec; `settings` are the searched ones."""
        return make_spec(
            dataset=cell.dataset,
            category=cell.category,
            root=self.root,
            baseline=cell.baseline,
            shots=cell.shots,
            arm=arm,
            seed=seed,
            keyword=self.keyword,
            settings={**self.settings, **settings},
        )


def load_study(path: Path) -> Study:
    """A study from a YAML file; a relative root is relative to the file.

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
        raise SpecError(f"study {path} must be a mapping with at least name, dataset and categories")
    if isinstance(document.get("root"), str):
        document["root"] = str((path.parent / Path(document["root"]).expanduser()).absolute())
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
        known = ", ".join(Study.model_fields) if first["type"] == "extra_forbidden" else None
        hint = f"; known keys are {known}" if known else f", got {first.get('input')!r}"
        raise SpecError(f"{where}: {key}: {first['msg']}{hint}") from None
