"""Sampling: the support image's own size, bytes that depend on (seed, index, draw) alone, bounded memory."""

import numpy as np
import pytest
import torch

from fewgood.errors import DataError
from fewgood.generator import load_generator, sample_candidates
from fewgood.generator.light import sample_light
from fewgood.generator.tiling import tiled
from fewgood.specs import SamplingSpec
from fewgood.stages.pool import Bases, noise_seed

MODES = ("residual", "decode")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(20, 20), (33, 47), (1, 5), (64, 32), (97, 18)])
def test_an_image_keeps_its_size(generator, stripes, mode, size):
    batch = sample_candidates(generator, [stripes(*size)], [0], SamplingSpec(latent_samples=3, mode=mode), seed=1)
    assert [draw.shape for draw in batch.draws[0]] == [(*size, 3)] * 3
    assert batch.images[0].dtype == np.uint8
    assert np.array_equal(batch.images[0], batch.draws[0][0])


def test_residual_at_scale_zero_is_the_image_and_decode_its_reconstruction(generator, stripes):
    image = stripes(41, 30)
    residual, decode = (
        sample_candidates(
            generator, [image], [7], SamplingSpec(latent_samples=3, mode=mode, scale=0.0, light=0.0), seed=1
        ).draws[0]
        for mode in MODES
    )
    assert all(np.array_equal(draw, image) for draw in residual)
    assert all(np.array_equal(draw, decode[0]) for draw in decode)
    assert not np.array_equal(decode[0], image)


@pytest.mark.parametrize("mode", MODES)
def test_bytes_do_not_depend_on_the_batch(generator, stripes, mode):
    bases = [stripes(30, 40, seed=i) for i in range(3)]
    sampling = SamplingSpec(latent_samples=3, mode=mode, scale=2.0)
    together = sample_candidates(generator, bases, [4, 9, 2], sampling, seed=1)
    assert together.sources == [4, 9, 2]
    alone = sample_candidates(generator, bases[1:2], [9], sampling, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(alone.draws[0], together.draws[1], strict=True))
    single = sample_candidates(
        generator, bases, [4, 9, 2], SamplingSpec(mode=mode, scale=2.0, latent_samples=1), seed=1
    )
    assert all(np.array_equal(a, b) for a, b in zip(single.images, together.images, strict=True))


def test_draws_indices_and_seeds_differ_and_the_global_random_state_has_no_part(generator, stripes):
    image, sampling = stripes(30, 40), SamplingSpec(latent_samples=3, scale=3.0)

    def draws(index: int, seed: int) -> list[np.ndarray]:
        return sample_candidates(generator, [image], [index], sampling, seed=seed).draws[0]

    torch.manual_seed(0)
    one = draws(0, 1)
    torch.manual_seed(99)
    assert all(np.array_equal(a, b) for a, b in zip(one, draws(0, 1), strict=True))
    for other in (one[1], draws(1, 1)[0], draws(0, 2)[0]):
        assert not np.array_equal(one[0], other)


def test_a_larger_scale_strays_further(generator, stripes):
    image = stripes(48, 48)
    errors = []
    for scale in (0.5, 1.0, 3.0):
        batch = sample_candidates(
            generator, [image], [0], SamplingSpec(scale=scale, latent_samples=8, light=0.0), seed=0
        )
        errors.append(np.mean([np.abs(draw.astype(float) - image).mean() for draw in batch.draws[0]]))
    assert 0 < errors[0] < errors[1] < errors[2]


def test_without_variance_residual_is_the_image_itself(tmp_path, tiny, train, stripes):
    train(tmp_path / "plain", tiny(variance=False))
    plain = load_generator(tmp_path / "plain", device=torch.device("cpu"))
    batch = sample_candidates(
        plain, [stripes(24, 24)], [0], SamplingSpec(latent_samples=3, scale=5.0, light=0.0), seed=0
    )
    assert np.array_equal(batch.images[0], stripes(24, 24))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [0.0, 3.0])
def test_light_falls_on_what_was_drawn_and_is_the_same_for_all_draws(generator, stripes, mode, scale):
    def draws(light: float) -> list[np.ndarray]:
        sampling = SamplingSpec(latent_samples=3, mode=mode, scale=scale, light=light)
        return sample_candidates(generator, [stripes(41, 30)], [7], sampling, seed=1).draws[0]

    for lit, plain in zip(draws(0.4), draws(0.0), strict=True):
        assert not np.array_equal(lit, plain)
        assert np.array_equal(lit, sample_light(plain, light=0.4, seed=1, index=7))


@pytest.mark.parametrize("pose", [True, False])
def test_undrawn_is_the_candidate_that_the_network_leaves_alone(generator, pose):
    """So that the arm `noise` differs from generated images in what the network drew, and not in light or pose."""
    rows, columns = np.mgrid[:64, :64]
    distance = np.hypot(rows - 32, columns - 32)
    ring = np.repeat(np.where((distance > 10) & (distance < 22), 190, 60).astype(np.uint8)[..., None], 3, axis=2)
    sampling = SamplingSpec(scale=0.0, pose=pose)
    bases = Bases.of([ring], sampling, kind="object")
    assert (bases.ranges.turn == 180.0) == pose
    for index in range(3):
        drawn = sample_candidates(generator, [bases.base(5, index)], [index], sampling, seed=noise_seed(5))
        assert np.array_equal(bases.undrawn(5, index), drawn.images[0])


def test_inputs_are_checked(generator, stripes):
    with pytest.raises(DataError, match="uint8"):
        sample_candidates(generator, [stripes(20, 20) / 255.0], [0], SamplingSpec(), seed=0)
    with pytest.raises(ValueError, match="zip"):
        sample_candidates(generator, [stripes(20, 20)], [0, 1], SamplingSpec(), seed=0)
    assert sample_candidates(generator, [], [], SamplingSpec(), seed=0).images == []


@pytest.mark.parametrize(("up", "down"), [(1, 1), (4, 1), (1, 4)])
@pytest.mark.parametrize("size", [(16, 16), (40, 16), (52, 68), (17 * 4, 33 * 4)])
def test_tiles_join_to_the_whole_without_seams(up, down, size):
    """For a function of single positions, tiling must change nothing."""

    def function(value):
        pooled = torch.nn.functional.avg_pool2d(value, down)
        return pooled.repeat_interleave(up, dim=2).repeat_interleave(up, dim=3) * 2 + 1

    value = torch.rand(1, 2, *size, generator=torch.Generator().manual_seed(0))
    joined = tiled(function, value, tile=24, overlap=8, up=up, down=down)
    torch.testing.assert_close(joined, function(value))


def test_a_large_image_goes_through_in_tiles(generator, stripes, monkeypatch):
    sizes = []
    encode = generator.network.encode
    monkeypatch.setattr("fewgood.generator.sampling._TILE", 64)
    monkeypatch.setattr(generator.network, "encode", lambda part: sizes.append(part.shape[2:]) or encode(part))
    batch = sample_candidates(generator, [stripes(70, 150)], [0], SamplingSpec(latent_samples=1), seed=0)
    assert batch.images[0].shape == (70, 150, 3)
    assert len(sizes) > 1
    assert max(max(size) for size in sizes) <= 64
