"""Defects of the sample's textures, each a change of the surface before light and camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fewgood.data.sample.canvas import SIDE, Floats, blob, polyline
from fewgood.data.sample.textures import photograph

__all__ = ["TEXTURE_DEFECTS", "Severity"]

Defect = Callable[[Floats, np.random.Generator, "Severity"], Floats]


@dataclass(frozen=True, kw_only=True)
class Severity:
    """How visible the defects of a category are."""

    size: float = 1.0
    """Factor on lengths and radii."""
    strength: float = 1.0
    """Factor on the change of the surface."""
    foreign: str = "gravel"
    """The photograph from which foreign material is taken."""


def _middle(rng: np.random.Generator, margin: float) -> tuple[float, float]:
    return rng.uniform(margin, SIDE - margin), rng.uniform(margin, SIDE - margin)


def _blend(surface: Floats, other: Floats | float, weight: Floats) -> Floats:
    return np.asarray(surface + (other - surface) * weight[..., None])


def scratch(surface: Floats, rng: np.random.Generator, severity: Severity) -> Floats:
    """A thin bent line, lighter or darker than the surface."""
    length = severity.size * rng.uniform(30.0, 60.0)
    distance = polyline(rng, SIDE, _middle(rng, 35.0), length, rng.uniform(0.0, 1.2))
    weight = np.clip(1.2 + 0.5 * severity.size - distance, 0.0, 1.0) * min(
        1.0, severity.strength * rng.uniform(0.5, 0.75)
    )
    return _blend(surface, 0.95 if rng.random() < 0.6 else 0.04, weight)


def stain(surface: Floats, rng: np.random.Generator, severity: Severity) -> Floats:
    """A liquid's mark: an irregular patch, darker and of another tint, with a rim."""
    field = blob(rng, SIDE, _middle(rng, 30.0), severity.size * rng.uniform(11.0, 18.0), 0.25)
    body = 1.0 / (1.0 + np.exp(-field / 1.5))
    rim = np.exp(-0.5 * (field / 1.8) ** 2)
    depth = severity.strength * rng.uniform(0.30, 0.50)
    tint = np.asarray([1.0, 0.88, 0.70]) * (1.0 - depth)
    return np.asarray(surface * (1.0 + (tint - 1.0) * np.clip(body + 0.5 * rim, 0.0, 1.3)[..., None]))


def hole(surface: Floats, rng: np.random.Generator, severity: Severity) -> Floats:
    """A pit with a ragged outline, dark at the bottom."""
    field = blob(rng, SIDE, _middle(rng, 25.0), severity.size * rng.uniform(5.0, 9.0), 0.35)
    weight = np.clip(field / 2.5, 0.0, 1.0) * min(1.0, severity.strength * rng.uniform(0.7, 0.95))
    return _blend(surface, 0.06, weight)


def smear(surface: Floats, rng: np.random.Generator, severity: Severity) -> Floats:
    """A patch whose structure is wiped out, as under glue or grease; mean colour stays."""
    field = blob(rng, SIDE, _middle(rng, 30.0), severity.size * rng.uniform(12.0, 18.0), 0.25)
    weight = np.clip(field / 4.0, 0.0, 1.0) * min(1.0, severity.strength * rng.uniform(0.9, 1.2))
    return _blend(surface, 0.92 * ndimage.gaussian_filter(surface, (6.0, 6.0, 0.0), mode="mirror"), weight)


def foreign(surface: Floats, rng: np.random.Generator, severity: Severity) -> Floats:
    """A patch of another material, with the surface's own mean colour."""
    field = blob(rng, SIDE, _middle(rng, 30.0), severity.size * rng.uniform(11.0, 16.0), 0.25)
    weight = np.clip(field / 1.5, 0.0, 1.0) * min(1.0, severity.strength * rng.uniform(0.75, 0.95))
    other = photograph(severity.foreign)
    top, left = (int(rng.integers(0, size - SIDE)) for size in other.shape)
    patch = other[top : top + SIDE, left : left + SIDE]
    return _blend(surface, (patch / patch.mean())[..., None] * surface.mean(axis=(0, 1)), weight)


TEXTURE_DEFECTS: dict[str, Defect] = {
    "foreign": foreign,
    "hole": hole,
    "scratch": scratch,
    "smear": smear,
    "stain": stain,
}
"""Defect type -> how it changes a surface `(SIDE, SIDE, 3)` in [0, 1]."""
