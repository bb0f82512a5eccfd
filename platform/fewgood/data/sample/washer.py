"""The sample's object: a turned steel tab washer on a matt belt, shaded under changing light and pose, and its defects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from fewgood.data.sample.canvas import SIDE, Floats, blob, polyline, smooth_noise

__all__ = ["WASHER_DEFECTS", "Washer", "draw_washer", "shade_washer", "spoil_washer"]

_SUPER = 2
"""Supersampling per axis: outlines are drawn at twice the size and averaged down."""
_N = SIDE * _SUPER

_OUTER, _INNER, _RIVET = 58.0 * _SUPER, 25.0 * _SUPER, 5.0 * _SUPER
"""Radii of outline, bore and locating hole at scale 1, pixels of the drawing."""

WASHER_DEFECTS = ("chip", "contamination", "dent", "scratch", "wrong_hole")
"""Defect types of the washer."""


@dataclass(frozen=True, kw_only=True)
class Washer:
    """One washer before shading: pose, light, and the defect's changes of shape and surface."""

    centre: tuple[float, float]
    scale: float
    turn: float
    light: tuple[float, float, float]
    gain: float
    ambient: float
    gloss: float
    belt: float
    tint: tuple[float, float, float]
    grain: Floats = field(repr=False)
    belt_grain: Floats = field(repr=False)
    bore_shift: tuple[float, float] = (0.0, 0.0)
    bore_factor: float = 1.0
    rivet_turn: float = 0.0
    rivet_factor: float = 1.0
    missing: Floats | None = field(default=None, repr=False)
    """Positive where metal is missing."""
    height: Floats | None = field(default=None, repr=False)
    """Added to the height of the metal, pixels."""
    paint: Floats | None = field(default=None, repr=False)
    """Opacity of dirt or bare metal on the washer, in [0, 1]."""
    paint_colour: tuple[float, float, float] = (0.0, 0.0, 0.0)


def draw_washer(view: np.random.Generator) -> Washer:
    """A good washer: `view` chooses where it lies, how it is turned, the lamp and the belt."""
    azimuth, elevation = view.uniform(-0.25 * np.pi, 0.25 * np.pi), np.deg2rad(view.uniform(50.0, 66.0))
    middle = _N / 2
    tint = np.asarray([0.72, 0.72, 0.74]) * (1.0 + 0.008 * view.standard_normal(3))
    return Washer(
        centre=(middle + _SUPER * view.uniform(-7.0, 7.0), middle + _SUPER * view.uniform(-7.0, 7.0)),
        scale=view.uniform(0.96, 1.04),
        turn=view.uniform(-0.4 * np.pi, 0.4 * np.pi),
        light=(
            float(np.cos(elevation) * np.sin(azimuth)),
            float(np.cos(elevation) * np.cos(azimuth)),
            float(np.sin(elevation)),
        ),
        gain=view.uniform(0.88, 1.08),
        ambient=view.uniform(0.17, 0.25),
        gloss=view.uniform(0.32, 0.44),
        belt=view.uniform(0.17, 0.23),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        grain=view.standard_normal((64, 512)),
        belt_grain=smooth_noise(view, _N, 1.5),
    )


def spoil_washer(washer: Washer, kind: str, rng: np.random.Generator, severity: float) -> Washer:
    """The same washer in the same place under the same light, with one defect.

    Args:
        washer: The good washer.
        kind: One of `WASHER_DEFECTS`.
        rng: The stream of the defect.
        severity: Factor on the defect's size.
    """
    angle = rng.uniform(0.0, 2.0 * np.pi)
    outer, inner = _OUTER * washer.scale, _INNER * washer.scale

    def at(radius: float) -> tuple[float, float]:
        return washer.centre[0] + radius * np.sin(angle), washer.centre[1] + radius * np.cos(angle)

    ring = at(rng.uniform(inner + 0.3 * (outer - inner), outer - 0.3 * (outer - inner)))
    if kind == "chip":
        edge = outer if rng.random() < 0.6 else inner
        return replace(washer, missing=blob(rng, _N, at(edge), severity * _SUPER * rng.uniform(6.5, 9.5), 0.25))
    if kind == "contamination":
        spot = blob(rng, _N, ring, severity * _SUPER * rng.uniform(7.0, 11.0), 0.3)
        colour = [(0.30, 0.17, 0.08), (0.10, 0.10, 0.09), (0.45, 0.40, 0.22)][int(rng.integers(3))]
        opacity = np.clip(spot / (3.0 * _SUPER), 0.0, 1.0) * rng.uniform(0.45, 0.75)
        return replace(washer, paint=opacity, paint_colour=colour)
    if kind == "dent":
        y, x = np.mgrid[:_N, :_N].astype(np.float64)
        spread = severity * _SUPER * rng.uniform(5.0, 7.0)
        squared = ((y - ring[0]) ** 2 + (x - ring[1]) ** 2) / spread**2
        return replace(washer, height=-0.8 * spread * np.exp(-0.5 * squared))
    if kind == "scratch":
        distance = polyline(rng, _N, ring, severity * _SUPER * rng.uniform(16.0, 28.0), rng.uniform(0.0, 0.8))
        opacity = np.clip(1.6 - distance / (0.9 * _SUPER), 0.0, 1.0) * rng.uniform(0.75, 0.95)
        return replace(washer, paint=opacity, paint_colour=(1.0, 1.0, 1.0) if rng.random() < 0.5 else (0.1, 0.1, 0.1))
    if rng.random() < 0.5:
        shift = severity * _SUPER * rng.uniform(6.0, 9.0)
        return replace(washer, bore_shift=(shift * float(np.sin(angle)), shift * float(np.cos(angle))))
    if rng.random() < 0.5:
        return replace(washer, rivet_factor=0.0)
    return replace(washer, rivet_factor=1.0 + 0.8 * severity)


def shade_washer(washer: Washer) -> Floats:
    """What reaches the camera, `(SIDE, SIDE, 3)`, 1 is white; Lambert and Blinn-Phong on a chamfered height field."""
    y, x = np.mgrid[:_N, :_N].astype(np.float64)
    dy, dx = y - washer.centre[0], x - washer.centre[1]
    radius, angle = np.hypot(dy, dx), np.arctan2(dy, dx)
    metal = _metal(washer, dy, dx, radius)
    cover = np.clip(metal + 0.5, 0.0, 1.0)
    chamfer = 3.5 * _SUPER
    height = chamfer * np.sin(0.5 * np.pi * np.clip(metal / chamfer, 0.0, 1.0)) * 0.6
    turned = _turned_grain(washer, radius, angle)
    height = height + 0.10 * turned
    if washer.height is not None:
        height = height + washer.height
    slope_y, slope_x = np.gradient(ndimage.gaussian_filter(height, 0.7))
    length = np.sqrt(1.0 + slope_y**2 + slope_x**2)
    normal = np.stack([-slope_y / length, -slope_x / length, 1.0 / length])
    light = np.asarray(washer.light)
    half = light + np.asarray([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    diffuse = np.clip(np.tensordot(light, normal, axes=1), 0.0, None)
    glint = np.clip(np.tensordot(half, normal, axes=1), 0.0, None) ** 40
    # Turned metal scatters the lamp into two opposite wedges of the ring.
    lamp = np.arctan2(light[0], light[1])
    wedge = np.cos(angle - lamp) ** 4
    albedo = np.asarray(washer.tint) * (1.0 + 0.05 * turned)[..., None]
    if washer.paint is not None:
        albedo = albedo + (np.asarray(washer.paint_colour) - albedo) * washer.paint[..., None]
    dull = 1.0 if washer.paint is None else 1.0 - 0.8 * washer.paint
    shine = washer.gloss * dull * (0.6 * glint + 0.35 * wedge)
    steel = washer.gain * (albedo * (washer.ambient + 0.75 * diffuse)[..., None] + shine[..., None])
    offset = (-6.0 * _SUPER * light[0] / light[2] * 0.6, -6.0 * _SUPER * light[1] / light[2] * 0.6)
    shadow = ndimage.shift(ndimage.gaussian_filter(cover, 2.5 * _SUPER), offset, order=1, mode="nearest")
    belt = washer.belt * (1.0 + 0.10 * washer.belt_grain) * (washer.ambient + 0.8 * light[2])
    belt = washer.gain * belt * (1.0 - 0.65 * shadow)
    floor = belt[..., None] * np.asarray([0.92, 1.0, 1.06])
    picture = floor + (steel - floor) * cover[..., None]
    return np.asarray(picture.reshape(SIDE, _SUPER, SIDE, _SUPER, 3).mean(axis=(1, 3)))


def _metal(washer: Washer, dy: Floats, dx: Floats, radius: Floats) -> Floats:
    """Distance to the nearest edge of the metal, pixels; positive on the metal."""
    scale = washer.scale
    bore = np.hypot(dy - washer.bore_shift[0], dx - washer.bore_shift[1])
    metal = np.minimum(_OUTER * scale - radius, bore - _INNER * scale * washer.bore_factor)
    cos, sin = np.cos(washer.turn), np.sin(washer.turn)
    along, across = cos * dx + sin * dy, -sin * dx + cos * dy
    # The tab: a short tongue on the rim, opposite to the locating hole.
    tab = np.minimum(11.0 * _SUPER * scale - np.abs(across), _OUTER * scale + 7.0 * _SUPER * scale - along)
    metal = np.where(along > 0.0, np.maximum(metal, np.minimum(tab, bore - _INNER * scale)), metal)
    rivet = 0.5 * (_OUTER + _INNER) * scale
    hole = np.hypot(along + rivet, across) - _RIVET * scale * washer.rivet_factor
    metal = np.minimum(metal, hole)
    if washer.missing is not None:
        metal = np.minimum(metal, -washer.missing)
    return np.asarray(metal)


def _turned_grain(washer: Washer, radius: Floats, angle: Floats) -> Floats:
    """Concentric tool marks: noise that is long around the ring and short across it, unit standard deviation."""
    marks = ndimage.gaussian_filter(washer.grain, (10.0, 0.6), mode="wrap")
    marks = (marks - marks.mean()) / marks.std()
    rows = (angle - washer.turn) / (2.0 * np.pi) * washer.grain.shape[0]
    return np.asarray(ndimage.map_coordinates(marks, [rows, radius * 2.0], order=1, mode="grid-wrap"))
