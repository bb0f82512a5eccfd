"""Stages `detector` and `proxy`: a baseline fitted on a training set, and judged on the test set or on the support set.

`detector` reads the test images and their masks and yields the metrics of the ledger. `proxy` reads support images alone:
their augmented views are the good ones, synthetic defects on such views the bad ones; it is what a search may select on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fewgood.data import read_image, read_mask
from fewgood.data.augmentation import augment
from fewgood.data.synthetic import synthetic_defect
from fewgood.errors import DataError
from fewgood.seeds import stream_seed
from fewgood.specs import plain
from fewgood.stages.context import Context, LazyImages, Node
from fewgood.stages.features import StoredFeatures
from fewgood.stages.training_set import read_training_images
from fewgood.store import Artifact, ArtifactKey

__all__ = ["PROXY_IMAGES", "STAGE", "VERSION", "detector_node", "proxy_node", "read_proxy", "read_result"]

STAGE = "detector"
VERSION = 2
PROXY = "proxy"
PROXY_VERSION = 2
PROXY_IMAGES = 32
"""Good views, and as many synthetic defects, that the proxy score is measured on."""
_MAPS_PER_TYPE = 2
_TIMED_IMAGES = 3
"""Test images scored once more, one by one, to learn the detector's latency."""


def detector_node(context: Context, training: Node) -> Node:
    """The run's baseline fitted on `training` and scored on the category's test set.

    Raises:
        DataError: when the category has no test images (it can still generate).
    """
    spec, category = context.spec, context.category
    if not category.test:
        raise DataError(
            f"category {category.name!r} has no test images under {category.root}: "
            "it can be used with `fewgood generate`, but nothing can be measured on it"
        )

    def create(folder: Path, made: Mapping[str, Artifact]) -> None:
        from fewgood.baselines import detect
        from fewgood.metrics import image_metrics, pixel_metrics

        items = category.test
        detection = detect(
            spec.baseline,
            read_training_images(context, made["training_set"]),
            LazyImages(items),
            seed=stream_seed(spec.seed, STAGE),
            home=context.store.home.root,
            device=context.device,
            cache=StoredFeatures(context),
            test_digest=category.fingerprint,
            good_images=_good_images(context),
            timed_images=_TIMED_IMAGES,
            progress=context.progress,
        )
        defect = np.array([item.is_defect for item in items])
        metrics = image_metrics(defect, detection.image_scores)
        maps = detection.anomaly_maps
        if maps is not None and category.has_masks and defect.any():
            masks = [read_mask(item, read_image(item.path).shape[:2]) for item in items]
            metrics |= pixel_metrics(masks, maps)
        groups = {
            group: image_metrics(defect[keep], detection.image_scores[keep]) for group, keep in _groups(context).items()
        }
        result = {
            "metrics": metrics,
            "group_metrics": groups,
            "names": [item.name for item in items],
            "labels": [item.label for item in items],
            "scores": [float(score) for score in detection.image_scores],
            "provenance": dict(detection.provenance),
        }
        (folder / "result.json").write_text(json.dumps(result))
        if maps is not None:
            shown = _shown(context)
            np.savez_compressed(folder / "maps.npz", index=np.array(shown), maps=maps[shown].astype(np.float16))

    key = ArtifactKey(
        STAGE,
        VERSION,
        {
            "training_set": training.digest,
            "baseline": plain(spec.baseline),
            "data": category.fingerprint,
            "seed": spec.seed,
        },
    )
    return Node(key, create, {"training_set": training})


def read_result(artifact: Artifact) -> dict[str, Any]:
    """`{"metrics", "group_metrics", "names", "labels", "scores", "provenance"}` of a `detector` artifact."""
    return dict(artifact.read_json("result.json"))


def proxy_node(context: Context, training: Node) -> Node:
    """The image AUROC of the run's baseline between good views of the support set and synthetic defects on such views."""
    spec, category = context.spec, context.category

    def create(folder: Path, made: Mapping[str, Artifact]) -> None:
        from fewgood.baselines import detect
        from fewgood.baselines.frozen import images_digest
        from fewgood.metrics import image_metrics

        seed = stream_seed(spec.seed, PROXY)
        support = context.support_images
        good, bad = [], []
        for index in range(PROXY_IMAGES):
            # Views of their own stream: none of them is a view that an arm trains on.
            good.append(augment(support[index % len(support)], seed, 2 * index, category.kind))
            clean = augment(support[index % len(support)], seed, 2 * index + 1, category.kind)
            bad.append(synthetic_defect(clean, seed, index)[0])
        detection = detect(
            spec.baseline,
            read_training_images(context, made["training_set"]),
            [*good, *bad],
            seed=stream_seed(spec.seed, STAGE),
            home=context.store.home.root,
            device=context.device,
            cache=StoredFeatures(context),
            # The same views and defects for every arm and option of the cell; named by content, since code makes them.
            test_digest=images_digest([*good, *bad]),
            good_images=_good_images(context),
            progress=context.progress,
        )
        defect = np.arange(2 * PROXY_IMAGES) >= PROXY_IMAGES
        (folder / "proxy.json").write_text(json.dumps(image_metrics(defect, detection.image_scores)))

    key = ArtifactKey(
        PROXY,
        PROXY_VERSION,
        {
            "training_set": training.digest,
            "baseline": plain(spec.baseline),
            "support": context.support.digest,
            "seed": spec.seed,
            "kind": category.kind,
        },
    )
    return Node(key, create, {"training_set": training})


def read_proxy(artifact: Artifact) -> float:
    """The proxy's image AUROC, 0 to 1."""
    return float(artifact.read_json("proxy.json")["image_auroc"])


def _good_images(context: Context) -> int:
    """How many of the training images, from the first on, are the data set's own."""
    return len(context.category.train) if context.spec.arm == "full" else len(context.support.items)


def _groups(context: Context) -> dict[str, np.ndarray]:
    """For MVTec LOCO's logical and structural defects, the test images of each with all good ones."""
    items = context.category.test
    names = sorted({item.group for item in items if item.group is not None})
    return {name: np.array([not item.is_defect or item.group == name for item in items]) for name in names}


def _shown(context: Context) -> list[int]:
    """The test images whose anomaly maps are kept for pictures: the first few of each type."""
    counts: dict[str, int] = {}
    shown = []
    for index, item in enumerate(context.category.test):
        counts[item.label] = counts.get(item.label, 0) + 1
        if counts[item.label] <= _MAPS_PER_TYPE:
            shown.append(index)
    return shown
