"""The model card of a promoted generator: what it was trained on, what it was measured to do, and what it is not for."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Card", "Gain", "PromptScore", "SupportImage"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SupportImage(_Part):
    """One image that the generator was trained on; the image itself is never sent."""

    sha256: str = Field(description="Of its pixels as a PNG file in the bundle.")
    width: int
    height: int


class PromptScore(_Part):
    """A candidate prompt and its similarity to the support images."""

    prompt: str
    score: float = Field(description="Cosine similarity, -1 to 1.")


class Gain(_Part):
    """A paired difference in image AUROC between generated images and a control, on the same support and test files."""

    against: str = Field(description="The control: `none` or `augment`.")
    mean: float | None
    low: float | None = Field(description="Lower end of the 95 % interval; null where none can be given.")
    high: float | None
    seeds: int = Field(description="Pairs of runs.")
    over: str = Field(description="What the interval covers: seeds and test images, seeds, or nothing.")


class Card(_Part):
    """The model card."""

    name: str
    version: int
    promoted_utc: str
    dataset: str
    category: str
    kind: str = Field(description="object, texture or unknown.")
    baseline: str = Field(description="The detector that the gains were measured with.")
    shots: str
    keyword: str
    prompt: str
    candidates: list[PromptScore] = Field(description="The prompts that were ranked, the best first.")
    trained_on: list[SupportImage] = Field(min_length=1)
    gains: list[Gain]
    image_auroc: float | None = Field(description="Mean over the configuration's seeds with generated images.")
    selected_on: str = Field(description="What the configuration was chosen by: fixed, proxy or test.")
    limits: list[str] = Field(description="Sentences: what was not shown, and when not to use it.")
    licence: str
    study: str | None
    spec_hash: str
    run_id: str
    generator_digest: str = Field(description="Of the generator's artifact.")
    support_digest: str
    settings: dict[str, Any] = Field(description="The run's generator, sampling and selection settings.")
    embedding: dict[str, Any] = Field(description="The image-text model that scores the images.")
    precision: str
    seconds: float | None = Field(description="Wall-clock seconds that training took.")
    hardware: str
    versions: dict[str, Any]

    @model_validator(mode="after")
    def _drawable(self) -> Self:
        try:
            if self.scale >= 0 and self.oversample >= 1:
                return self
        except (KeyError, TypeError) as error:
            raise ValueError("settings.sampling has no scale and oversample") from error
        raise ValueError("settings.sampling has a scale or oversample that is not allowed")

    @property
    def scale(self) -> float:
        """The promoted factor on the latent standard deviation."""
        return float(self.settings["sampling"]["scale"])

    def variance(self, asked: float | None) -> float:
        """The factor in effect: the one asked for, or the promoted one."""
        return self.scale if asked is None else asked

    @property
    def oversample(self) -> int:
        """Candidates drawn per image that `select` keeps."""
        return int(self.settings["sampling"]["oversample"])

    @property
    def pixels(self) -> int:
        """Pixels of the largest image that it draws."""
        return max(image.width * image.height for image in self.trained_on)
