"""The metrics that a run is reported by: image AUROC, AUPR and F1-max, pixel AUROC and AUPRO."""

from __future__ import annotations

from fewgood.metrics.image import image_metrics
from fewgood.metrics.pixel import AUPRO_LIMIT, pixel_metrics

__all__ = ["AUPRO_LIMIT", "image_metrics", "pixel_metrics"]
