"""Ledger rows made by hand: enough of one run for the leaderboard, with scores that follow from the arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def build_row(
    arm: str = "none",
    seed: int = 0,
    *,
    category: str = "bolt",
    lift: float = 0.0,
    count: int | None = None,
    images: int = 20,
    **columns: Any,
) -> dict[str, Any]:
    cell = np.random.default_rng(sum(map(ord, category)))
    defect = np.repeat([False, True], images)
    noise = cell.normal(size=2 * images)
    own = np.random.default_rng([seed, sum(map(ord, arm + category)), count or 0])
    scores = noise + (0.7 + 0.3 * np.sin(seed) + lift) * defect + own.normal(size=2 * images) * 0.1
    good, bad = scores[~defect], scores[defect]
    value = float(((bad[:, None] > good).mean() + (bad[:, None] >= good).mean()) / 2)
    spec = {"selection": {"count": count or 16}, "baseline": {"name": "patchcore", "options": {"coreset": 0.1}}}
    row = {
        "schema_version": 1,
        "run_id": f"{category}-{arm}-{count}-{seed}",
        "spec_hash": f"spec-{category}-{arm}-{count}-{seed}",
        "config_hash": f"{arm}-{count}-{category}".ljust(32, "0"),
        "study": None,
        "status": "ok",
        "error": None,
        "dataset": "mvtec_ad",
        "category": category,
        "kind": "object",
        "keyword": category,
        "baseline": "patchcore",
        "backbone": "lite0",
        "backbone_digest": "abc",
        "image_size": 224,
        "shots": "1",
        "arm": arm,
        "seed": seed,
        "select_on": "proxy",
        "spec_json": json.dumps(spec),
        "data_fingerprint": f"data-{category}",
        "support_files": [f"train/good/{seed:03d}.png"],
        "support_digest": f"support-{seed}",
        "support_note": None,
        "prompt": None,
        "image_auroc": value,
        "image_aupr": value,
        "image_f1_max": value,
        "pixel_auroc": value,
        "pixel_aupro": value,
        "group_metrics_json": None,
        "test_names": [f"test/{'scratch' if flag else 'good'}/{index:03d}.png" for index, flag in enumerate(defect)],
        "test_labels": ["scratch" if flag else "good" for flag in defect],
        "test_scores": scores.tolist(),
        "added": count or 0,
        "proxy_score": 0.5 + value / 10,
        "stages_json": "{}",
        "seconds": 2.0 + seed,
        "cpu_seconds": 3.0,
        "precision": "float32",
        "hardware": "2 cores",
        "versions_json": json.dumps({"fewgood": "0.1.0"}),
        "started_utc": f"2025-01-01T00:{seed:02d}:00Z",
        "command": f"fewgood run --arm {arm} --seed {seed}",
    }
    return {**row, **columns}


def build_cell(category: str = "bolt", seeds: int = 3, lift: float = 0.8, **columns: Any) -> list[dict[str, Any]]:
    rows = []
    for seed in range(seeds):
        rows.append(build_row("none", seed, category=category, **columns))
        rows.append(build_row("augment", seed, category=category, lift=lift / 3, count=16, **columns))
        rows.append(build_row("generate", seed, category=category, lift=lift, count=16, **columns))
    return rows


@pytest.fixture
def make_row() -> Callable[..., dict[str, Any]]:
    return build_row


@pytest.fixture
def make_cell() -> Callable[..., list[dict[str, Any]]]:
    return build_cell
