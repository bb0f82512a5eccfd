from __future__ import annotations

import json
import math
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from fewgood.errors import BaselineError
from fewgood.metrics import image_metrics, pixel_metrics

CASES = json.loads((Path(__file__).parent / "cases.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case(case):
    given = case["input"]
    if case["metric"] == "image":
        found = image_metrics(np.array(given["defect"], dtype=bool), np.array(given["scores"], dtype=float))
    else:
        found = pixel_metrics([np.array(mask, dtype=bool) for mask in given["masks"]], np.array(given["maps"]))
    assert found.keys() == case["expected"].keys(), case["reason"]
    for name, value in case["expected"].items():
        assert found[name] == pytest.approx(value, abs=case["tolerance"]), case["reason"]


def _blobs(seed, count=12, size=48):
    rng = np.random.default_rng(seed)
    masks = [np.zeros((size, size), bool) for _ in range(count)]
    for mask in masks[: count // 2]:
        for _ in range(rng.integers(1, 4)):
            top, left, side = (*rng.integers(0, size - 12, 2).tolist(), int(rng.integers(2, 12)))
            mask[top : top + side, left : left + side] = True
    maps = np.stack(masks) * rng.random() + rng.random((count, size, size))
    return masks, np.round(maps, 2).astype(np.float32)  # rounding makes ties


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pixel_metrics_equal_anomalib_and_torchmetrics(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from anomalib.metrics.aupro import _AUPRO
        from torchmetrics.functional.classification import binary_auroc
    masks, maps = _blobs(seed)
    reference = _AUPRO(fpr_limit=0.3)
    reference.update(torch.from_numpy(maps), torch.from_numpy(np.stack(masks)).int())
    found = pixel_metrics(masks, maps)
    assert found["pixel_aupro"] == pytest.approx(float(reference.compute()), abs=1e-5)
    expected = binary_auroc(torch.from_numpy(maps).flatten(), torch.from_numpy(np.stack(masks)).int().flatten())
    assert found["pixel_auroc"] == pytest.approx(float(expected), abs=1e-5)


def test_masks_are_resized_as_torchvision_does():
    from torchvision import tv_tensors
    from torchvision.transforms.v2 import Resize

    from fewgood.metrics.pixel import _nearest

    rng = np.random.default_rng(0)
    for shape, size in [
        ((100, 60), (37, 37)),
        ((250, 250), (224, 224)),
        ((50, 70), (96, 64)),
        ((1024, 900), (224, 224)),
    ]:
        mask = rng.random(shape) > 0.5
        expected = Resize(size)(tv_tensors.Mask(torch.from_numpy(mask.astype(np.uint8))[None]))[0].numpy().astype(bool)
        assert np.array_equal(_nearest(mask, size), expected)


def test_metrics_only_depend_on_the_order_of_scores():
    rng = np.random.default_rng(1)
    defect, scores = rng.random(60) > 0.4, rng.normal(size=60)
    assert image_metrics(defect, scores) == pytest.approx(image_metrics(defect, np.exp(scores) * 1e3))


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(BaselineError, match="1 of 2 image scores"):
        image_metrics(np.array([True, False]), np.array([1.0, math.nan]))
    with pytest.raises(BaselineError, match="not finite"):
        pixel_metrics([np.eye(2, dtype=bool)], np.array([[[1.0, math.inf], [0, 0]]]))


def test_lengths_must_fit():
    with pytest.raises(BaselineError, match="one score per image"):
        image_metrics(np.array([True, False]), np.array([1.0]))
    with pytest.raises(BaselineError, match="one map per mask"):
        pixel_metrics([np.eye(2, dtype=bool)], np.zeros((2, 2, 2)))


def test_pixel_metrics_are_fast_enough():
    masks, maps = _blobs(3, count=40, size=224)
    started = time.perf_counter()
    pixel_metrics(masks, maps)
    # 249 images of this size must stay below half a minute on a busy machine.
    assert time.perf_counter() - started < 5
