"""Drawing: the same image whatever is drawn beside it, and the same as a trial draws."""

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from fewgood.errors import StoreError
from fewgood.generator import load_generator, sample_candidates
from fewgood.stages.pool import Bases, noise_seed
from fewgood_serve.bundle import read_bundle
from fewgood_serve.painter import Painter, Wanted

CPU = torch.device("cpu")


def pixels(drawn):
    return np.asarray(Image.open(io.BytesIO(drawn.png)))


def test_images_are_those_of_a_trial(painter, bundle, support):
    seed, indices = 5, [0, 1, 2, 3]
    found = read_bundle(bundle)
    bases = Bases.of(support, found.sampling, kind="texture")
    batch = sample_candidates(
        load_generator(bundle, device=CPU),
        [bases.base(seed, index) for index in indices],
        indices,
        found.sampling,
        seed=noise_seed(seed),
    )
    drawn = painter.draw([Wanted(seed=seed, index=index) for index in indices])
    assert [one.source for one in drawn] == [0, 1, 0, 1]
    for mine, theirs in zip(drawn, batch.images, strict=True):
        assert np.array_equal(pixels(mine), theirs)


@pytest.mark.parametrize("rows", [1, 3])
def test_an_image_does_not_depend_on_what_is_drawn_with_it(painter, rows):
    painter.rows = rows
    wanted = [Wanted(seed=seed, index=index, variance=w) for seed, index, w in ((1, 0, 4.0), (2, 7, 1.0), (9, 3, 8.0))]
    alone = [painter.draw([one])[0] for one in wanted]
    for order in itertools.permutations(range(3)):
        together = painter.draw([wanted[number] for number in order])
        for number, one in zip(order, together, strict=True):
            assert one.png == alone[number].png
            assert one.score == alone[number].score


def test_the_variance_matters(painter):
    still, moved = painter.draw([Wanted(seed=0, index=0, variance=0.0), Wanted(seed=0, index=0, variance=16.0)])
    assert still.png != moved.png


def test_another_image_text_model_is_refused(bundle, colours, tmp_path, monkeypatch):
    monkeypatch.setattr("fewgood_serve.painter.embedding_identity", lambda _: {"model": "other"})
    with pytest.raises(StoreError, match="other weights"):
        Painter(bundle, home=tmp_path, device=CPU, embedder=colours)
