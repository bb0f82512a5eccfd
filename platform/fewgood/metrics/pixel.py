"""Pixel metrics: how well anomaly maps find the defective region.

Both metrics read one sorted pass over all pixels. Ours: anomalib's and torchmetrics' classes sort every pixel once per
metric and in float32; here counts are exact in float64 and 249 maps of 224 px take a few seconds. Tests hold the values
to anomalib's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fewgood.errors import BaselineError

__all__ = ["AUPRO_LIMIT", "pixel_metrics"]

AUPRO_LIMIT = 0.3
"""False-positive rate up to which the per-region overlap is integrated, as in the field."""

_EIGHT = np.ones((3, 3), dtype=int)
"""Pixels that touch at a corner are one region, as OpenCV's default in anomalib."""


def pixel_metrics(masks: Sequence[np.ndarray], maps: np.ndarray) -> dict[str, float]:
    """Pixel AUROC and AUPRO over all test images.

    A metric without both classes of pixels is left out of the result, never NaN or zero.

    Args:
        masks: N ground truths, bool (H, W), all False for a good image; resized to the maps by nearest neighbour,
            as anomalib does. A region that vanishes by that is not counted.
        maps: (N, h, w) finite, higher is more anomalous.

    Returns:
        `pixel_auroc`: area under the ROC curve of all pixels, ties counted half.
        `pixel_aupro`: area under the mean overlap with each connected region (8 neighbours) against the
        false-positive rate of good pixels, up to a rate of 0.3 and divided by 0.3 (Bergmann et al. 2021).

    Raises:
        BaselineError: The numbers of masks and maps differ, or a map is not finite.
    """
    from sklearn.metrics import auc

    maps = np.asarray(maps, dtype=np.float32)
    if len(masks) != len(maps):
        raise BaselineError(f"{len(maps)} anomaly maps do not fit {len(masks)} masks, allowed is one map per mask")
    if not np.isfinite(maps).all():
        raise BaselineError("an anomaly map is not finite; lower the baseline's learning rate or its steps")
    if len(maps) == 0:
        return {}
    regions, sizes = _regions(masks, maps.shape[1:])
    defective = regions > 0
    positives = int(defective.sum())
    negatives = defective.size - positives
    if positives == 0 or negatives == 0:
        return {}
    order = np.argsort(maps.reshape(-1))[::-1]
    values = maps.reshape(-1)[order]
    # One point of each curve per distinct value: pixels with equal scores pass the threshold together.
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    weights = np.concatenate(([0.0], 1.0 / (sizes * len(sizes))))
    true = np.cumsum(defective[order], dtype=np.int64)[last]
    false = (last + 1 - true) / negatives
    overlap = np.cumsum(weights[regions[order]])[last]
    rate = np.concatenate(([0.0], false))
    return {
        "pixel_auroc": float(auc(rate, np.concatenate(([0.0], true / positives)))),
        "pixel_aupro": _area_to(rate, np.concatenate(([0.0], overlap)), AUPRO_LIMIT),
    }


def _area_to(rate: np.ndarray, overlap: np.ndarray, limit: float) -> float:
    """Area under a curve from rate 0 to `limit`, divided by `limit`; the curve is linear between its points."""
    from sklearn.metrics import auc

    stop = int(np.searchsorted(rate, limit, side="right"))
    inside, height = rate[:stop], overlap[:stop]
    if stop < len(rate) and inside[-1] < limit:
        edge = np.interp(limit, rate[stop - 1 : stop + 1], overlap[stop - 1 : stop + 1])
        inside, height = np.append(inside, limit), np.append(height, edge)
    return float(auc(inside, height) / limit)


def _regions(masks: Sequence[np.ndarray], size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The region number of each pixel over all images, flat, 0 outside; and each region's size in pixels."""
    from scipy import ndimage

    labels = np.zeros((len(masks), *size), dtype=np.int32)
    count = 0
    for index, mask in enumerate(masks):
        small = _nearest(np.asarray(mask, dtype=bool), size)
        if small.any():
            found, regions = ndimage.label(small, structure=_EIGHT)
            labels[index] = np.where(found > 0, found + count, 0)
            count += regions
    flat = labels.reshape(-1)
    return flat, np.bincount(flat, minlength=count + 1)[1:].astype(np.float64)


def _nearest(mask: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A mask at another size by nearest neighbour, with torch's rule: source = floor(target * scale)."""
    rows = (np.arange(size[0]) * (mask.shape[0] / size[0])).astype(np.int64)
    columns = (np.arange(size[1]) * (mask.shape[1] / size[1])).astype(np.int64)
    return np.asarray(mask[rows[:, None], columns[None, :]])
