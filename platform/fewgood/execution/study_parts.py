"""The parts of a study: a cell, a dataset with its categories, the budget, the resources, and how generators are trained."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fewgood.data import DATASETS
from fewgood.specs import Shots

__all__ = ["Budget", "Cell", "DatasetChoice", "Resources", "TrainingChoice"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cell(_Part):
    """A dataset, category, baseline and number of shots."""

    dataset: str
    category: str
    baseline: str
    shots: Shots

    @property
    def label(self) -> str:
        """How people name it."""
        return f"{self.dataset}/{self.category} {self.baseline} {self.shots}-shot"


class DatasetChoice(_Part):
    """A dataset and which of its categories are swept."""

    name: str
    """A name in `fewgood.data.DATASETS`."""
    root: str | None = None
    """The folder above the categories; None for `sample`."""
    categories: tuple[str, ...] | Literal["all"] = "all"
    keywords: dict[str, str] = {}
    """The word for a category that has none of its own, or another than its own."""

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in DATASETS:
            raise ValueError(f"unknown dataset, allowed is one of {', '.join(DATASETS)}")
        return value

    @field_validator("categories")
    @classmethod
    def _some(cls, value: tuple[str, ...] | str) -> tuple[str, ...] | str:
        if not value:
            raise ValueError("name at least one category, or write all")
        return value


class Budget(_Part):
    """When a study starts no further trial. What runs then is finished; nothing is cut off."""

    trials: int = Field(default=8, ge=1)
    """Configurations per cell; a grid or list ends earlier if it is shorter."""
    minutes: float | None = Field(default=None, gt=0)
    """Wall minutes of one start of the study."""
    cpu_minutes: float | None = Field(default=None, gt=0)
    """CPU minutes of the study's runs, over all its starts."""
    gpu_minutes: float | None = Field(default=None, gt=0)
    """GPU minutes of the study's runs, over all its starts."""


class Resources(_Part):
    """What a trial holds while it runs."""

    concurrent: int | None = Field(default=None, ge=1)
    """Trials at once; None is as many as the cluster holds."""
    cpus_per_trial: int = Field(default=1, ge=1)
    gpus_per_trial: float = Field(default=0, ge=0)
    restarts: int = Field(default=3, ge=0)
    """Times a trial is started again after its worker or host died."""


class TrainingChoice(_Part):
    """Where generators are trained: in the trial's own process, or data-parallel on Ray Train workers."""

    mode: Literal["auto", "in_place", "ray"] = "auto"
    """`auto` uses Ray Train where `workers` is above 1 and the training is long enough to repay its fixed cost."""
    workers: int = Field(default=1, ge=1)
    cpus_per_worker: int = Field(default=1, ge=1)
    gpus_per_worker: float = Field(default=0, ge=0)
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps between two checkpoints, from which a training goes on after a worker's death."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Crops at once on a worker; None takes the worker's whole part of the batch."""
    restarts: int = Field(default=3, ge=0)
    """Times a training goes on after a worker died."""
