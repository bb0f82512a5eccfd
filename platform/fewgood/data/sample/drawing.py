"""One image of the sample set from its category, split, label and number: a pure function of these four."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from fewgood.data.sample.canvas import Floats, camera, defect_pair, quantise, stream
from fewgood.data.sample.defects import TEXTURE_DEFECTS, Severity
from fewgood.data.sample.textures import draw_texture
from fewgood.data.sample.washer import WASHER_DEFECTS, draw_washer, shade_washer, spoil_washer

__all__ = ["CATEGORIES", "DEFECTS", "TEST_DEFECTIVE", "TEST_GOOD", "TRAIN_GOOD", "draw", "draw_pair", "file_names"]

CATEGORIES = ("brick", "grass", "gravel", "washer")
"""Categories, sorted; three textures and one object."""

DEFECTS: dict[str, tuple[str, ...]] = {
    name: WASHER_DEFECTS if name == "washer" else tuple(TEXTURE_DEFECTS) for name in CATEGORIES
}
"""Category -> its defect types, sorted."""

TRAIN_GOOD, TEST_GOOD, TEST_DEFECTIVE = 40, 20, 6
"""Images per category: good ones to train on, good ones to test on, and defective ones of each type."""

_SEVERITY: dict[str, Severity] = {
    "brick": Severity(size=0.95, strength=0.8, foreign="gravel"),
    "grass": Severity(size=1.45, strength=1.5, foreign="brick"),
    "gravel": Severity(size=1.9, strength=1.6, foreign="brick"),
    "washer": Severity(size=1.4),
}
_BLUR: dict[str, tuple[float, float]] = {"washer": (0.3, 0.7)}
_NOISE = 0.010
_LEAST_MASK = 40
"""Smallest visible defect, pixels; one that falls beside the part or into the dark is drawn again elsewhere."""
_ATTEMPTS = 20

_FIRST_TRAIN = 1
"""Number of the first training view: view 0 of the washer is unlike the rest (one-shot AUROC .53, the mean is .69), and
as the support image of seed 0 it would be everybody's first impression."""

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


def file_names(category: str) -> Iterator[tuple[str, str, str, int]]:
    """Every image of a category: (name relative to the category, split, label, number)."""
    for split, count, first in (("train", TRAIN_GOOD, _FIRST_TRAIN), ("test", TEST_GOOD, 0)):
        for number in range(count):
            yield f"{split}/good/{number:03d}.png", split, "good", first + number
    for label in DEFECTS[category]:
        for number in range(TEST_DEFECTIVE):
            yield f"test/{label}/{number:03d}.png", "test", label, number


def draw(category: str, split: str, label: str, number: int) -> tuple[Image, Mask | None]:
    """Draw one image.

    Args:
        category: One of `CATEGORIES`.
        split: "train" or "test"; training and test textures come from disjoint regions of the photograph.
        label: "good", or one of `DEFECTS[category]` with split "test".
        number: The image's number in its folder, from 0.

    Returns:
        The image `(160, 160, 3)` uint8 RGB, and the mask `(160, 160)`, None for a good image.
    """
    if label == "good":
        test = split == "test"
        place = (CATEGORIES.index(category), int(test), 0, number)
        if category == "washer":
            radiance = shade_washer(draw_washer(stream(*place, 0)))
        else:
            surface, light = draw_texture(category, test=test, view=stream(*place, 0))
            radiance = surface * light
        return quantise(_photograph(category, radiance, place)), None
    _, image, mask = draw_pair(category, label, number)
    return image, mask


def draw_pair(category: str, label: str, number: int) -> tuple[Image, Image, Mask]:
    """A defective test image together with the same scene without the defect.

    Returns:
        The clean image and the defective image, `(160, 160, 3)` uint8 RGB, and the mask `(160, 160)`: True exactly
        where the two differ.
    """
    place = (CATEGORIES.index(category), 1, 1 + DEFECTS[category].index(label), number)
    for attempt in range(_ATTEMPTS):
        pair = _draw_pair(category, label, place, attempt)
        if int(pair[2].sum()) >= _LEAST_MASK:
            break
    return pair


def _draw_pair(category: str, label: str, place: tuple[int, ...], attempt: int) -> tuple[Image, Image, Mask]:
    view, mischief = stream(*place, 0), stream(*place, 2, attempt)
    severity = _SEVERITY[category]
    if category == "washer":
        washer = draw_washer(view)
        good = shade_washer(washer)
        bad = shade_washer(spoil_washer(washer, label, mischief, severity.size))
    else:
        surface, light = draw_texture(category, test=True, view=view)
        good = surface * light
        bad = TEXTURE_DEFECTS[label](surface, mischief, severity) * light
    return defect_pair(_photograph(category, good, place), _photograph(category, bad, place))


def _photograph(category: str, radiance: Floats, place: tuple[int, ...]) -> Floats:
    return camera(radiance, stream(*place, 1), blur=_BLUR.get(category, (0.3, 0.8)), noise=_NOISE)
