"""Training: a golden loss curve, equal bytes for equal seeds, a codebook that lives, errors that say what to do."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fewgood.errors import DataError, FewgoodError, SpecError
from fewgood.generator.codebook import cluster, revive
from fewgood.generator.crops import crop_batch
from fewgood.generator.losses import build_discriminator, kl_divergence
from fewgood.generator.network import Architecture
from fewgood.generator.perceptual import lite0_distance
from fewgood.generator.trainer import Trainer

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "generator_losses.json"


@pytest.mark.parametrize("variance", [True, False])
def test_the_loss_curve_is_the_golden_one(tmp_path, tiny, train, variance):
    """Record anew with FEWGOOD_RECORD_GOLDEN=1 after a change that is meant to change it."""
    report = train(tmp_path / "out", tiny(steps=8, variance=variance))
    name = "variance" if variance else "plain"
    if os.environ.get("FEWGOOD_RECORD_GOLDEN"):
        golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
        golden[name] = {term: [round(value, 6) for value in values] for term, values in report.losses.items()}
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    golden = json.loads(GOLDEN.read_text())[name]
    assert set(report.losses) == set(golden)
    for term, values in golden.items():
        np.testing.assert_allclose(report.losses[term], values, rtol=1e-3, atol=1e-4, err_msg=term)


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path, tiny, train):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, seed in zip(folders, (3, 3, 4), strict=True):
        torch.manual_seed(len(folder.name) + seed)  # the caller's random state has no part in it
        train(folder, tiny(), seed=seed)
    for name in ("model.safetensors", "losses.json", "spec.json"):
        first, again, other = ((folder / name).read_bytes() for folder in folders)
        assert first == again
        assert first != other


def test_training_lowers_the_error_and_uses_the_codebook(tmp_path, tiny, train):
    short, long = (
        train(tmp_path / str(steps), tiny(steps=steps, learning_rate=2e-3, variance_weight=0.01)) for steps in (1, 60)
    )
    assert long.absolute < 0.7 * short.absolute
    assert long.codes_used >= 4
    assert 0.1 < long.sigma < 0.9


def test_the_variance_weight_raises_the_deviation(tmp_path, tiny, train):
    low, high = (train(tmp_path / str(w), tiny(steps=40, learning_rate=2e-3, variance_weight=w)) for w in (0.0, 1.0))
    assert high.sigma > 1.1 * low.sigma


def test_the_kept_weights_are_the_average(tmp_path, tiny, train):
    train(tmp_path / "last", tiny(ema_decay=0.0))
    train(tmp_path / "mean", tiny(ema_decay=0.9))
    last, mean = (load_file(tmp_path / name / "model.safetensors") for name in ("last", "mean"))
    assert not torch.equal(last["decoder.conv_out.weight"], mean["decoder.conv_out.weight"])


def test_progress_says_rate_and_time_left(tmp_path, tiny, train):
    calls = []
    train(tmp_path / "out", tiny(), progress=lambda *call: calls.append(call))
    assert [call[:3] for call in calls] == [("generator", step, 4) for step in (1, 2, 3, 4)]
    assert all("steps/s" in call[3] and "left" in call[3] for call in calls)


def test_a_diverging_training_leaves_nothing(tmp_path, tiny, train):
    with pytest.raises(FewgoodError, match=r"generator\.learning_rate") as caught:
        train(tmp_path / "a", tiny(steps=20, learning_rate=1e30))
    assert "\n" not in str(caught.value)
    with pytest.raises(FewgoodError, match="step 1 of 4"):
        train(tmp_path / "b", tiny(), perceptual=lambda generated, _: generated.sum() * math.nan)
    assert not any((tmp_path / "a").iterdir())
    assert not any((tmp_path / "b").iterdir())


def test_wrong_images_are_refused(tmp_path, tiny, train, stripes):
    with pytest.raises(DataError, match="0 images"):
        train(tmp_path / "out", tiny(), images=[])
    for wrong in (stripes(20, 20)[..., 0], stripes(20, 20) / 255.0):
        with pytest.raises(DataError, match="image 1 is"):
            train(tmp_path / "out", tiny(), images=[stripes(20, 20), wrong])


def test_a_crop_that_the_stride_does_not_divide_is_refused(tmp_path, tiny, train):
    with pytest.raises(SpecError, match="stride 16"):
        train(tmp_path / "out", tiny(crop=24, channel_multipliers=(1, 1, 1, 1, 1)))


def test_a_small_gray_image_trains(tmp_path, tiny, train):
    gray = np.full((9, 7, 3), 127, np.uint8)
    report = train(tmp_path / "out", tiny(steps=2), images=[gray])
    assert all(math.isfinite(value) for values in report.losses.values() for value in values)


def test_mixed_precision_trains(tmp_path, tiny, train):
    report = train(tmp_path / "out", tiny(), precision="bfloat16")
    assert all(tensor.dtype == torch.float32 for tensor in load_file(tmp_path / "out" / "model.safetensors").values())
    assert math.isfinite(report.losses["loss"][-1])


def test_a_crop_batch_is_a_function_of_seed_and_step(stripes):
    images = [stripes(40, 52), stripes(12, 90)]
    one, again = (crop_batch(images, count=3, side=16, seed=1, step=5) for _ in range(2))
    assert one.shape == (3, 3, 16, 16)
    assert torch.equal(one, again)
    assert float(one.min()) >= -1
    assert float(one.max()) <= 1
    assert not torch.equal(one, crop_batch(images, count=3, side=16, seed=1, step=6))


def test_two_workers_agree_with_one(tiny, stripes):
    """A worker on half of the batch, told the other's half, takes the step of one worker on all of it."""
    images, spec = [stripes(40, 52)], tiny(batch_size=4, adversarial_start=0.0)
    parts = {"device": torch.device("cpu"), "precision": "float32", "perceptual": lambda a, b: (a - b).square().mean()}
    alone = Trainer(spec, Architecture.from_spec(spec), seed=0, **parts)
    crops = crop_batch(images, count=4, side=16, seed=0, step=0)
    noise = alone.noise(4, 16)
    expected = alone.step(crops, noise)

    import threading

    barrier, board = threading.Barrier(2), [None, None]

    class Pair:
        def __init__(self, rank: int) -> None:
            self.rank = rank

        def exchange(self, value):
            board[self.rank] = value.detach().clone()
            barrier.wait(30)
            both = list(board)
            barrier.wait(30)
            return both

        def mean(self, value):
            return torch.stack(self.exchange(value)).mean(dim=0)

        def gather(self, value):
            return torch.cat(self.exchange(value))

    pair = [Trainer(spec, Architecture.from_spec(spec), seed=0, collective=Pair(rank), **parts) for rank in (0, 1)]
    results = [None, None]

    def work(rank: int) -> None:
        part = slice(2 * rank, 2 * rank + 2)
        results[rank] = pair[rank].step(crops[part], noise[part])

    threads = [threading.Thread(target=work, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for name, value in expected.items():
        assert results[0][name] == pytest.approx(value, rel=1e-3, abs=1e-5), name
    codebooks = [trainer.network.quantize.embedding.weight for trainer in (alone, *pair)]
    assert torch.equal(codebooks[1], codebooks[2])
    torch.testing.assert_close(codebooks[0], codebooks[1], rtol=1e-3, atol=2 * spec.learning_rate)


def test_dead_entries_return_to_latents():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(50, 3, generator=generator) + 10
    book = torch.zeros(6, 3)
    used = torch.tensor([True, False, True, False, False, True])
    assert revive(book, used, vectors, generator).tolist() == [1, 3, 4]
    assert torch.equal(book[used], torch.zeros(3, 3))
    assert float(torch.cdist(book[~used], vectors).min(dim=1).values.max()) < 0.1


def test_cluster_finds_separate_groups_and_copes_with_few_vectors():
    generator = torch.Generator().manual_seed(0)
    groups = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    vectors = groups.repeat(30, 1) + 0.01 * torch.randn(90, 2, generator=generator)
    centres = cluster(vectors, 12, generator)
    assert float(torch.cdist(groups, centres).min(dim=1).values.max()) < 0.1
    assert torch.isfinite(cluster(vectors[:2], 12, generator)).all()


def test_divergence_is_zero_for_the_standard_normal_and_known_elsewhere():
    zero = torch.zeros(2, 3, 4, 4)
    assert float(kl_divergence(zero, zero)) == 0.0
    assert float(kl_divergence(zero + 2, zero)) == pytest.approx(2.0)
    assert float(kl_divergence(zero, zero - 2)) == pytest.approx(0.5 * (math.exp(-2) + 1))


def test_the_discriminator_has_no_batch_statistics():
    network = build_discriminator().eval()
    images = torch.rand(3, 3, 32, 32)
    together, alone = network(images)[:1], network.train()(images[:1])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_the_feature_distance_is_zero_for_equal_images_grows_with_blur_and_has_a_gradient():
    distance = lite0_distance()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    blurred = torch.nn.functional.avg_pool2d(image, 3, stride=1, padding=1)
    mild = 0.7 * image + 0.3 * blurred
    assert float(distance(image, image)) == 0.0
    assert 0 < float(distance(mild, image)) < float(distance(blurred, image))
    blurred.requires_grad_(True)
    distance(blurred, image).backward()
    assert float(blurred.grad.abs().sum()) > 0
    assert not any(parameter.requires_grad for parameter in distance.parameters())
