"""The low band of the sampled variance: the light of the whole image.

Ours (method.md, section 2, has one variance): the network learns from small crops and sees how grain and edges vary, not
how the light of a whole photograph does, so a latent draw leaves the light as it is. This band is sampled here, the fine
one from the latents (`generator.sampling`).
"""

from __future__ import annotations

import numpy as np

from fewgood.data.augmentation import relit

__all__ = ["sample_light"]

_CUT = 0.005
"""Part of an image's values that may be cut off at each end."""


def sample_light(image: np.ndarray, *, light: float, seed: int, index: int) -> np.ndarray:
    """The same image under other light, a pure function of the arguments.

    Args:
        image: uint8 (H, W, 3).
        light: Largest change of brightness, of contrast and of gamma, as a fraction; 0 to below 1.
        seed: Of the series.
        index: The image's number in its series.

    Returns:
        uint8 (H, W, 3); the image itself where `light` is 0. No more of it than a hundredth is cut off at black or white:
        a light that would blank a bright product is dimmed, and one that would drown a dark background loses contrast.
    """
    if light == 0:
        return image
    stream = np.random.default_rng(np.random.SeedSequence([seed, 7, index]))
    brightness, contrast, gamma = (float(value) for value in stream.uniform(1.0 - light, 1.0 + light, size=3))
    view = _within(relit(image / 255.0, brightness=brightness, contrast=contrast, gamma=gamma))
    return np.asarray(np.rint(np.clip(view, 0.0, 1.0) * 255.0), dtype=np.uint8)


def _within(view: np.ndarray) -> np.ndarray:
    """(H, W, 3) float, dimmed and flattened until all of it but the last half percent at each end lies in [0, 1]."""
    high = float(np.quantile(view, 1.0 - _CUT))
    if high > 1.0:
        view = view / high
    low, mean = float(np.quantile(view, _CUT)), float(view.mean())
    if low < 0.0 < mean:
        view = mean + (view - mean) * (mean / (mean - low))
    return view
