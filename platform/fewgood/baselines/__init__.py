"""The detectors that a training set is judged by: anomalib's models, one file each, behind one registry."""

from __future__ import annotations

from fewgood.baselines.detection import Detection, FeatureCache, detect
from fewgood.baselines.registry import BASELINES, Baseline, baseline_spec

__all__ = ["BASELINES", "Baseline", "Detection", "FeatureCache", "baseline_spec", "detect"]
