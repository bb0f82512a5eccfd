"""Features of a frozen backbone: the same bits from cache or not, and no image goes through the backbone twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fewgood.baselines import BASELINES, baseline_spec, detect
from fewgood.baselines.anomalib_parts import TimmFeatureExtractor
from fewgood.baselines.frozen import images_digest
from fewgood.metrics import image_metrics, pixel_metrics

CPU = torch.device("cpu")
FROZEN = [name for name, entry in BASELINES.items() if entry.strides]
DEFECT = np.array([False, False, True, True])


def _texture(seed, height=72, width=64, defect=False):
    rng = np.random.default_rng(seed)
    image = rng.normal(120, 30, (height, width, 3)).cumsum(axis=1) % 255
    if defect:
        image[20:44, 18:42] = (230, 20, 20)
    return image.astype(np.uint8)


GOOD = [_texture(seed) for seed in range(3)]
ADDED = [_texture(seed, 64, 80) for seed in range(20, 38)]
TEST = [_texture(10), _texture(11, 64, 80), _texture(12, defect=True), _texture(13, defect=True)]
MASKS = [np.zeros(image.shape[:2], bool) for image in TEST]
for mask in MASKS[2:]:
    mask[20:44, 18:42] = True


class DictCache:
    """Keeps everything; `lasting` is what another run would find."""

    def __init__(self):
        self.kept, self.lasting = {}, {}

    def get(self, key, compute, *, keep=True):
        name = repr(sorted(key.items()))
        if name not in self.kept:
            self.kept[name] = compute()
            if keep:
                self.lasting[name] = self.kept[name]
        return self.kept[name]

    def next_run(self):
        self.kept = dict(self.lasting)


@pytest.fixture
def seen(monkeypatch):
    """How many images each call of a backbone was given."""
    counts = []
    real = TimmFeatureExtractor.forward

    def forward(self, inputs):
        counts.append(len(inputs))
        return real(self, inputs)

    monkeypatch.setattr(TimmFeatureExtractor, "forward", forward)
    return counts


def _run(train, home, *, name="patchcore", cache=None, good=0, seed=0, **options):
    few = {} if name == "patchcore" else {"steps": 2}
    spec = baseline_spec(name, {"image_size": 64, "batch_size": 4, **few, **options})
    return detect(
        spec, train, TEST, seed=seed, home=home, device=CPU, cache=cache, good_images=good,
        test_digest=None if cache is None else images_digest(TEST),
    )  # fmt: skip


def _metrics(found):
    return image_metrics(DEFECT, found.image_scores) | pixel_metrics(MASKS, found.anomaly_maps)


@pytest.mark.parametrize("name", FROZEN)
def test_metrics_with_and_without_the_cache_are_the_same(tmp_path, seen, name):
    cache = DictCache()
    plain = _run(GOOD, tmp_path, name=name)
    for calls in (len(GOOD) + len(TEST), 0):
        seen.clear()
        cached = _run(GOOD, tmp_path, name=name, cache=cache, good=len(GOOD))
        assert sum(seen) == calls
        assert np.array_equal(plain.image_scores, cached.image_scores)
        assert np.array_equal(plain.anomaly_maps, cached.anomaly_maps)
        assert _metrics(cached) == pytest.approx(_metrics(plain), abs=1e-6)
        cache.next_run()


def test_an_option_that_changes_the_features_is_another_entry(tmp_path, seen):
    cache = DictCache()
    _run(GOOD, tmp_path, cache=cache, good=3)
    seen.clear()
    _run(GOOD, tmp_path, cache=cache, good=3, coreset_size=50, num_neighbors=3, batch_size=16, seed=1)
    assert sum(seen) == 0
    _run(GOOD, tmp_path, cache=cache, good=3, image_size=72)
    assert sum(seen) == 7
    # A layer that another baseline or option has made is not stored again.
    before = len(cache.kept)
    _run(GOOD, tmp_path, cache=cache, good=3, layers="blocks.2")
    assert len(cache.kept) == before
    assert sum(seen) == 7


def test_the_order_of_the_data_set_s_images_and_what_is_added_do_not_matter(tmp_path, seen):
    """The arm `full` puts another support image first for every seed; other arms add images of their own."""
    cache = DictCache()
    _run(GOOD, tmp_path, cache=cache, good=3)
    seen.clear()
    train = [GOOD[2], GOOD[0], GOOD[1], *ADDED]
    cached = _run(train, tmp_path, cache=cache, good=3, coreset_size=200)
    assert sum(seen) == len(ADDED)
    plain = _run(train, tmp_path, coreset_size=200)
    assert np.array_equal(plain.image_scores, cached.image_scores)
    # The added images are found again by this run's next detector, and by no other run.
    seen.clear()
    _run(train, tmp_path, cache=cache, good=3)
    assert sum(seen) == 0
    cache.next_run()
    _run(train, tmp_path, cache=cache, good=3)
    assert sum(seen) == len(ADDED)


def test_an_image_s_features_depend_on_no_other_image_and_on_no_thread_count(tmp_path):
    found = []
    threads = torch.get_num_threads()
    for count, train in ((1, GOOD[:1]), (2, [*ADDED, GOOD[0]])):
        cache = DictCache()
        torch.set_num_threads(count)
        try:
            _run(train, tmp_path, cache=cache, good=0)
            assert torch.get_num_threads() == count
        finally:
            torch.set_num_threads(threads)
        found.append(cache.kept)
    for alone, among in zip(_layers(found[0], 1), _layers(found[1], 19), strict=True):
        assert any(np.array_equal(alone[0], one) for one in among)


def _layers(kept, count):
    """The maps of as many images, by layer."""
    chosen = {name: arrays["maps"] for name, arrays in kept.items() if len(arrays["maps"]) == count}
    layers = {layer: maps for layer in ("blocks.2", "blocks.4") for name, maps in chosen.items() if layer in name}
    assert len(layers) == 2
    return [layers[layer] for layer in sorted(layers)]


def test_the_same_image_many_times_goes_through_the_backbone_once(tmp_path, seen):
    _run([GOOD[0]] * 6, tmp_path, cache=DictCache(), good=1)
    assert sum(seen) == 1 + len(TEST)


def test_the_name_of_images_says_their_content_shape_and_order():
    first, second = GOOD[:2]
    names = {
        images_digest(images)
        for images in ([first], [second], [first, second], [second, first], [first.reshape(64, 72, 3)])
    }
    assert len(names) == 5
    assert images_digest([first.copy()]) == images_digest([first])
