from __future__ import annotations

import numpy as np
import pytest
import torch

from fewgood.baselines import BASELINES, baseline_spec, detect
from fewgood.baselines.seeding import seeded
from fewgood.errors import AssetError, BaselineError

CPU = torch.device("cpu")
SMALL = {"image_size": 64, "batch_size": 4}


def _texture(seed, height=72, width=64, defect=False):
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    image = 120 + 40 * np.sin(rows / 3 + rng.random()) * np.cos(columns / 4) + rng.normal(0, 6, (height, width))
    rgb = np.repeat(image[..., None], 3, axis=2)
    if defect:
        rgb[20:44, 18:42] = (230, 20, 20)
    return rgb.clip(0, 255).astype(np.uint8)


GOOD = [_texture(seed) for seed in range(3)]
TEST = [_texture(10), _texture(11, 64, 80), _texture(12, defect=True), _texture(13, 64, 80, defect=True)]


def _run(train, test, home, seed=0, name="patchcore", **options):
    spec = baseline_spec(name, {**SMALL, **options})
    return detect(spec, train, test, seed=seed, home=home, device=CPU)


def test_patchcore_separates_a_gross_defect_and_says_what_it_used(tmp_path):
    found = _run(GOOD, TEST, tmp_path)
    assert found.image_scores[2:].min() > found.image_scores[:2].max()
    assert found.anomaly_maps.shape == (4, 64, 64)
    assert found.anomaly_maps.dtype == np.float32
    row, column = np.unravel_index(found.anomaly_maps[2].argmax(), (64, 64))
    assert 14 <= row <= 44
    assert 12 <= column <= 48
    for key in (
        "backbone",
        "weights_digest",
        "layers",
        "image_size",
        "anomalib",
        "torch",
        "fit_seconds",
        "score_seconds",
    ):
        assert key in found.provenance


def test_the_same_seed_gives_the_same_bits_whatever_was_drawn_before(tmp_path):
    first = _run(GOOD, TEST, tmp_path, coreset_size=50)
    torch.rand(7)
    np.random.rand(3)  # noqa: NPY002
    again = _run(GOOD, TEST, tmp_path, coreset_size=50)
    other = _run(GOOD, TEST, tmp_path, coreset_size=50, seed=1)
    assert np.array_equal(first.image_scores, again.image_scores)
    assert np.array_equal(first.anomaly_maps, again.anomaly_maps)
    assert not np.array_equal(first.image_scores, other.image_scores)


def test_the_caller_s_random_state_is_left_alone():
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(2), np.random.rand(2)  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    with seeded(0, CPU):
        torch.rand(3)
        np.random.rand(3)  # noqa: NPY002
    assert torch.equal(expected[0], torch.rand(2))
    assert np.array_equal(expected[1], np.random.rand(2))  # noqa: NPY002


def test_scores_do_not_depend_on_the_other_test_images(tmp_path):
    both, alone = _run(GOOD, TEST, tmp_path), _run(GOOD, TEST[2:3], tmp_path)
    assert alone.image_scores[0] == pytest.approx(both.image_scores[2], rel=1e-5)


def test_the_memory_bank_has_the_same_capacity_for_every_arm(tmp_path):
    assert _run(GOOD[:1], [], tmp_path).provenance["memory_bank"] == 64
    assert _run(GOOD, [], tmp_path, coreset_size=100).provenance["memory_bank"] == 100
    assert _run(GOOD, [], tmp_path, coreset_size=100, coreset_sampling_ratio=0.1).provenance["memory_bank"] == 19


def test_duplicated_images_are_no_trouble(tmp_path):
    found = _run(GOOD[:1] * 4, TEST, tmp_path, coreset_size=100)
    assert np.isfinite(found.image_scores).all()


def test_one_training_image_and_no_test_image(tmp_path):
    found = _run(GOOD[:1], [], tmp_path)
    assert found.image_scores.shape == (0,)
    assert found.anomaly_maps.shape == (0, 64, 64)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([], TEST, "patchcore got 0 training images"),
        ([GOOD[0].astype(np.float32)], TEST, "training image 0 is float32"),
        (GOOD, [GOOD[0][..., 0]], "test image 0 is uint8 of shape"),
    ],
)
def test_images_that_cannot_be_meant_are_refused(tmp_path, train, test, message):
    with pytest.raises(BaselineError, match=message):
        _run(train, test, tmp_path)


def test_scores_that_are_not_finite_are_an_error(tmp_path, monkeypatch):
    from fewgood.baselines.patchcore import PatchCore

    monkeypatch.setattr(
        PatchCore, "score", lambda self, test: (np.full(len(test), np.nan), np.zeros((len(test), 2, 2)))
    )
    with pytest.raises(BaselineError, match="not finite for 4 of 4 test images"):
        _run(GOOD, TEST, tmp_path)


def test_a_backbone_whose_weights_are_elsewhere_says_so(tmp_path, monkeypatch):
    import timm

    real = timm.create_model

    def offline(name, pretrained=False, **options):
        if pretrained:
            raise OSError("We couldn't connect to 'https://huggingface.co'\nmore lines")
        return real(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(AssetError, match=r"resnet18 are not on this machine.*HF_HOME") as found:
        _run(GOOD, TEST, tmp_path, backbone="resnet18")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", [name for name, entry in BASELINES.items() if entry.strides])
def test_any_timm_backbone_runs(tmp_path, monkeypatch, name):
    import timm

    real = timm.create_model
    # The hub cannot be reached from a test: random weights stand in for the pretrained ones.
    monkeypatch.setattr(
        timm, "create_model", lambda model, pretrained=False, **options: real(model, pretrained=False, **options)
    )
    few = {} if name == "patchcore" else {"steps": 2}
    found = _run(GOOD[:2], TEST[:2], tmp_path, name=name, backbone="resnet18", **few)
    assert found.provenance["backbone"] == "resnet18"
    assert found.anomaly_maps.shape == (2, 64, 64)


def test_the_map_is_anomalib_s(tmp_path):
    from fewgood.baselines.detection import Context
    from fewgood.baselines.patchcore import PatchCore
    from fewgood.baselines.registry import PatchcoreOptions

    detector = PatchCore(PatchcoreOptions(image_size=96), Context(seed=0, home=tmp_path, device=CPU))
    distances = 40 * torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    expected = detector.model.anomaly_map_generator(distances, (96, 96))
    found = detector._blurred(torch.nn.functional.interpolate(distances, size=(96, 96)))
    assert torch.allclose(found, expected, rtol=1e-5, atol=0)
