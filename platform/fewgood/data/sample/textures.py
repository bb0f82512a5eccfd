"""Good textures of the embedded sample: crops of scikit-image's own photographs under changing view, light and tint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from fewgood.data.sample.canvas import SIDE, Floats
from fewgood.errors import AssetError

__all__ = ["TEXTURES", "Texture", "draw_texture", "photograph"]


@dataclass(frozen=True, kw_only=True)
class Texture:
    """Where a texture comes from in its photograph, and how much good images of it vary."""

    train: tuple[int, int, int, int]
    """Region of the training crops: top, left, bottom, right, pixels of the photograph."""
    test: tuple[int, int, int, int]
    """Region of the test crops; shares no pixel with `train`."""
    tint: tuple[float, float, float]
    """Mean factor on red, green and blue."""
    tint_spread: float
    """Standard deviation of the tint between images."""
    crop: tuple[float, float]
    """Smallest and largest side of a crop, pixels of the photograph."""
    turn: float
    """Largest rotation either way, degrees."""
    gain: tuple[float, float]
    """Smallest and largest exposure."""
    slope: float
    """Largest change of the light from the middle to the edge of the image, as a fraction."""
    contrast: tuple[float, float]
    """Smallest and largest factor on the distance from the mean."""
    mirror: bool
    """Whether half the crops are mirrored (the brick photograph has converging lines on either side)."""


TEXTURES: dict[str, Texture] = {
    "brick": Texture(
        train=(0, 0, 512, 272),
        test=(0, 272, 512, 512),
        tint=(1.22, 0.86, 0.74),
        tint_spread=0.035,
        crop=(116, 178),
        turn=10,
        gain=(0.7, 1.35),
        slope=0.35,
        contrast=(0.75, 1.25),
        mirror=True,
    ),
    "gravel": Texture(
        train=(0, 0, 272, 512),
        test=(272, 0, 512, 512),
        tint=(1.03, 1.0, 0.95),
        tint_spread=0.02,
        crop=(112, 176),
        turn=12,
        gain=(0.7, 1.35),
        slope=0.35,
        contrast=(0.75, 1.25),
        mirror=False,
    ),
    "grass": Texture(
        train=(240, 0, 512, 512),
        test=(0, 0, 240, 512),
        tint=(0.88, 1.08, 0.62),
        tint_spread=0.02,
        crop=(116, 172),
        turn=12,
        gain=(0.75, 1.3),
        slope=0.35,
        contrast=(0.8, 1.2),
        mirror=False,
    ),
}
"""The texture categories; light, distance and tint vary between good images, so that more of them help a detector."""


def draw_texture(name: str, *, test: bool, view: np.random.Generator) -> tuple[Floats, Floats]:
    """One good texture, before the camera.

    Args:
        name: A key of `TEXTURES`.
        test: Whether the crop is taken from the test region.
        view: The stream that chooses crop, tint and light.

    Returns:
        The surface `(SIDE, SIDE, 3)` as reflectance in [0, 1], and the light on it `(SIDE, SIDE, 1)`, a factor.

    Raises:
        AssetError: When the installed scikit-image lacks the photograph.
    """
    texture = TEXTURES[name]
    top, left, bottom, right = texture.test if test else texture.train
    region = photograph(name)[top:bottom, left:right]
    side = view.uniform(*texture.crop)
    angle = np.deg2rad(view.uniform(-texture.turn, texture.turn))
    half = 0.5 * side * (abs(np.cos(angle)) + abs(np.sin(angle))) + 1.0
    middle_y = view.uniform(half, region.shape[0] - 1 - half)
    middle_x = view.uniform(half, region.shape[1] - 1 - half)
    grid = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    y, x = np.meshgrid(grid * side, grid * side, indexing="ij")
    if texture.mirror and view.random() < 0.5:
        x = -x
    rows = middle_y + np.cos(angle) * y + np.sin(angle) * x
    columns = middle_x - np.sin(angle) * y + np.cos(angle) * x
    grey = ndimage.map_coordinates(region, [rows, columns], order=3, mode="mirror")
    grey = grey.mean() + (grey - grey.mean()) * view.uniform(*texture.contrast)
    tint = np.asarray(texture.tint) * (1.0 + texture.tint_spread * view.standard_normal(3))
    surface = np.clip(grey[..., None] * tint, 0.0, 1.0)
    direction = view.uniform(0.0, 2.0 * np.pi)
    ramp = np.add.outer(np.sin(direction) * 2.0 * grid, np.cos(direction) * 2.0 * grid)
    light = view.uniform(*texture.gain) * (1.0 + view.uniform(0.0, texture.slope) * ramp)
    return surface, light[..., None]


@cache
def photograph(name: str) -> Floats:
    """The photograph `(512, 512)`, grey in [0, 1], from inside the installed scikit-image."""
    import skimage

    path = Path(skimage.__file__).parent / "data" / f"{name}.png"
    if not path.is_file():
        raise AssetError(
            f"{path} is missing, which the sample category {name} is cut from: reinstall it with "
            f"`pip install --force-reinstall scikit-image`"
        )
    with Image.open(path) as image:
        grey = np.asarray(image.convert("L"), dtype=np.float64) / 255.0
    grey.setflags(write=False)
    return grey
