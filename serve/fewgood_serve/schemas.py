"""What goes over the wire: the bodies of requests and answers, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "MAX_SEED",
    "MAX_VARIANCE",
    "GeneratorEntry",
    "GeneratorList",
    "ImageRecord",
    "ImagesRequest",
    "JobList",
    "JobRequest",
    "JobState",
]

MAX_SEED = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly."""
MAX_VARIANCE = 16.0

Format = Literal["zip", "npz", "json"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImagesRequest(_Body):
    """Which images are wanted."""

    count: int = Field(16, ge=1, le=10**6, strict=True, description="How many; the server's own limit is lower.")
    seed: int = Field(0, ge=0, le=MAX_SEED, strict=True, description="The same seed gives the same images.")
    start: int = Field(
        0,
        ge=0,
        le=10**9,
        strict=True,
        description="Number of the first image of the seed's series: to go on where a stream broke off.",
    )
    variance: float | None = Field(
        None,
        ge=0,
        le=MAX_VARIANCE,
        allow_inf_nan=False,
        description="Factor on the latent standard deviation; null takes the promoted one.",
    )
    select: bool = Field(
        False,
        strict=True,
        description="Draw more than are asked for and send those that fit the prompt best, the best first; `start` must be 0.",
    )
    format: Format = Field(
        "zip", description="zip: PNG files and images.json; npz: arrays for NumPy; json: PNG files in base64."
    )


class ImageRecord(_Body):
    """How one image was made."""

    index: int = Field(description="Its number in the seed's series.")
    seed: int
    prompt: str
    score: float = Field(description="Similarity to the prompt, -1 to 1.")
    generator: str
    version: int
    variance: float
    source: int = Field(description="Number of the support image that it was drawn around.")


class GeneratorEntry(_Body):
    """One generator."""

    name: str
    latest: int | None
    versions: list[int]
    prompt: str | None
    dataset: str | None
    category: str | None
    problem: str | None = Field(None, description="Why the newest version is not served, if so.")


class GeneratorList(_Body):
    """The generators that the key may use."""

    generators: list[GeneratorEntry]


class JobRequest(_Body):
    """Thousands of images, made in the background."""

    generator: str = Field(max_length=128, description="NAME, NAME@latest or NAME@VERSION.")
    count: int = Field(ge=1, le=10**6, strict=True, description="How many; the server's own limit is lower.")
    seed: int = Field(0, ge=0, le=MAX_SEED, strict=True)
    variance: float | None = Field(None, ge=0, le=MAX_VARIANCE, allow_inf_nan=False)
    select: bool = Field(False, strict=True)
    format: Literal["zip", "npz"] = "zip"


class JobState(_Body):
    """How far a job is."""

    id: str
    status: Literal["waiting", "running", "finished", "failed", "cancelled"]
    generator: str
    version: int
    request: JobRequest
    done: int = Field(description="Images drawn so far.")
    total: int = Field(description="Images to draw; with `select` more than are kept.")
    created_utc: str
    finished_utc: str | None
    error: str | None
    result: str | None = Field(description="Address of the result, when it is finished.")


class JobList(_Body):
    """The jobs of a key, the newest first."""

    jobs: list[JobState]
