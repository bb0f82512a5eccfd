"""Running one baseline: fit on the training images, score the test images, say what was used."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fewgood.baselines.registry import BASELINES, baseline_spec
from fewgood.errors import BaselineError
from fewgood.progress import Progress, silent
from fewgood.specs import BaselineSpec

if TYPE_CHECKING:
    import torch

__all__ = ["Context", "Detection", "Detector", "FeatureCache", "detect"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detection:
    """What a baseline says about the test images."""

    image_scores: np.ndarray
    """(N,) float64; higher is more anomalous. Only their order means something across baselines."""
    anomaly_maps: np.ndarray | None
    """(N, H, W) float32 at the baseline's image size; None for a baseline without maps."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """backbone, weights_digest, layers, image_size, library versions, device, fit_seconds, score_seconds, latency_ms."""


class FeatureCache(Protocol):
    """Keeps arrays that other trials need again."""

    def get(
        self, key: Mapping[str, Any], compute: Callable[[], dict[str, np.ndarray]], *, keep: bool = True
    ) -> dict[str, np.ndarray]:
        """The arrays under `key`, from the cache or from `compute`; the same bits either way.

        With `keep` false only the same run needs them again, so that they need not outlive it.
        """


@dataclass(frozen=True, kw_only=True)
class Context:
    """Where a detector works, which is not part of its options."""

    seed: int
    home: Path
    device: torch.device
    cache: FeatureCache | None = None
    test_digest: str | None = None
    good_images: int = 0
    progress: Progress = silent


class Detector(Protocol):
    """One trained baseline; made as `cls(options, context)` with every random generator seeded."""

    provenance: dict[str, Any]
    """backbone, weights_digest and what else fixes its features."""

    def fit(self, train: Sequence[np.ndarray]) -> None:
        """Learn from good images, each uint8 (H, W, 3) RGB."""

    def score(self, test: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """Image scores (N,) and anomaly maps (N, H, W) of images, each uint8 (H, W, 3) RGB; N is at least 1."""


def detect(
    spec: BaselineSpec,
    train: Sequence[np.ndarray],
    test: Sequence[np.ndarray],
    *,
    seed: int,
    home: Path,
    device: torch.device,
    cache: FeatureCache | None = None,
    test_digest: str | None = None,
    good_images: int = 0,
    timed_images: int = 0,
    progress: Progress | None = None,
) -> Detection:
    """Fit a baseline on good images and score test images.

    Args:
        spec: Made by `baseline_spec`.
        train: Good images, uint8 (H, W, 3) RGB, of any sizes; at least one.
        test: Images to score, as `train`; may be empty.
        seed: Starts every random stream of the baseline.
        home: Where built assets are kept.
        device: Where the networks run.
        cache: Keeps what a frozen backbone makes of the images; of test images only with `test_digest`.
        test_digest: Names the content and order of `test`.
        good_images: How many of `train`, from the first on, are the data set's own: other trials need them again.
        timed_images: How many test images are scored once more, one by one, for `latency_ms`; 0 leaves it out.
        progress: Told about each piece of work.

    Returns:
        Scores and maps in the order of `test`.

    Raises:
        SpecError: `spec` is not a registered baseline with valid options.
        BaselineError: No training image, an image that is not uint8 RGB, or scores that are not finite.
        AssetError: The backbone's weights are not on this machine.
    """
    import torch

    from fewgood.baselines.seeding import seeded

    _check_images("training", train)
    _check_images("test", test)
    if len(train) == 0:
        raise BaselineError(
            f"{spec.name} got 0 training images, allowed is 1 or more; add good images to the training set"
        )
    spec = baseline_spec(spec.name, spec.option_dict())
    entry = BASELINES[spec.name]
    options = entry.options(**spec.option_dict())
    kept = None if cache is None else _Bypass(cache)
    context = Context(
        seed=seed,
        home=home,
        device=device,
        cache=kept,
        test_digest=test_digest,
        good_images=good_images,
        progress=progress or silent,
    )
    with seeded(seed, device):
        started = time.perf_counter()
        detector: Detector = entry.load()(options, context)
        detector.fit(train)
        fitted = time.perf_counter()
        size = options.image_size
        scores, maps = np.zeros(0), np.zeros((0, size, size), np.float32)
        if len(test) > 0:
            found, found_maps = detector.score(test)
            scores, maps = np.asarray(found, dtype=np.float64), found_maps  # type: ignore[assignment]
        done = time.perf_counter()
        latency = _latency_ms(detector, test, kept, timed_images)
    _check_scores(spec.name, scores, maps)
    provenance = {
        "baseline": spec.name,
        "image_size": size,
        **detector.provenance,
        "anomalib": _version("anomalib"),
        "torch": torch.__version__,
        "device": device.type,
        "fit_seconds": round(fitted - started, 3),
        "score_seconds": round(done - fitted, 3),
        "latency_ms": latency,
    }
    return Detection(image_scores=scores, anomaly_maps=maps, provenance=provenance)


class _Bypass:
    """A cache that can be switched off, so that a latency is that of an image nobody has seen before."""

    def __init__(self, cache: FeatureCache) -> None:
        self._cache = cache
        self.active = True

    def get(
        self, key: Mapping[str, Any], compute: Callable[[], dict[str, np.ndarray]], *, keep: bool = True
    ) -> dict[str, np.ndarray]:
        return self._cache.get(key, compute, keep=keep) if self.active else compute()


def _latency_ms(detector: Detector, test: Sequence[np.ndarray], cache: _Bypass | None, count: int) -> float | None:
    """The median time to score one image that is already in memory, milliseconds; the first one warms up."""
    if count < 1 or len(test) == 0:
        return None
    if cache is not None:
        cache.active = False
    times = []
    for index in range(count + 1):
        image = test[index % len(test)]
        started = time.perf_counter()
        detector.score([image])
        times.append(time.perf_counter() - started)
    return round(1000 * float(np.median(times[1:])), 3)


def _check_images(what: str, images: Sequence[np.ndarray]) -> None:
    for index, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise BaselineError(
                f"{what} image {index} is {image.dtype} of shape {image.shape}, "
                "allowed is uint8 (height, width, 3); read it with fewgood.data.read_image"
            )


def _check_scores(name: str, scores: np.ndarray, maps: np.ndarray | None) -> None:
    bad = int((~np.isfinite(scores)).sum()) + (0 if maps is None else int((~np.isfinite(maps)).any(axis=(1, 2)).sum()))
    if bad:
        raise BaselineError(
            f"{name} gave scores that are not finite for {bad} of {len(scores)} test images; "
            "lower its learning rate (baseline.lr) or its steps, or check the training images"
        )


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
