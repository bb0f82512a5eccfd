"""The arms: counts, pairing, and noise that has the residuals' spectrum."""

import dataclasses

import numpy as np
import pytest

from fewgood.arms import ARM_BUILDERS, ArmInputs, Candidate, build_training_set
from fewgood.arms.noise import amplitude_spectrum, shaped_noise
from fewgood.data.augmentation import augment
from fewgood.specs import ARMS

COUNT = 6


def image(seed, size=(40, 56)):
    return np.random.default_rng(seed).integers(40, 200, (*size, 3), dtype=np.uint8)


def inputs(k=2, scores=None):
    support = [image(i) for i in range(k)]
    candidates = []
    for index in range(12):
        base = augment(support[index % k], 3, index, "object")
        drawn = np.clip(base.astype(int) + np.random.default_rng(index).integers(-9, 10, base.shape), 0, 255)
        score = None if scores is None else scores[index]
        candidates.append(Candidate(index, drawn.astype(np.uint8), base, index % k, score))
    names = [f"train/good/{i}.png" for i in range(k)]
    return ArmInputs(
        support=support,
        support_names=names,
        count=COUNT,
        seed=3,
        kind="object",
        all_good=[*support, image(8), image(9)],
        all_good_names=[*names, "train/good/8.png", "train/good/9.png"],
        candidates=candidates,
        prompt="a photo of a nut",
    )


SCORES = [0.1 * ((7 * i) % 12) for i in range(12)]


def test_every_arm_of_the_spec_has_a_builder():
    assert tuple(ARM_BUILDERS) == ARMS


@pytest.mark.parametrize("arm", ARMS)
def test_counts_and_support(arm):
    made = build_training_set(arm, inputs(scores=SCORES))
    expected = {"none": 0, "full": 2}.get(arm, COUNT)
    assert len(made.added) == expected
    assert len(made.images) == 2 + expected
    assert all(np.array_equal(one, other) for one, other in zip(made.images, inputs().support, strict=False))
    assert all(one.image.dtype == np.uint8 and one.image.ndim == 3 for one in made.added)
    again = build_training_set(arm, inputs(scores=SCORES))
    assert all(np.array_equal(one.image, other.image) for one, other in zip(made.added, again.added, strict=True))


def test_generate_takes_the_best_and_random_does_not_look():
    best = [added.origin["index"] for added in build_training_set("generate", inputs(scores=SCORES)).added]
    assert best == sorted(range(12), key=lambda i: -SCORES[i])[:COUNT]
    picked = {added.origin["index"] for added in build_training_set("generate-random", inputs(scores=SCORES)).added}
    reversed_scores = [-score for score in SCORES]
    same = {a.origin["index"] for a in build_training_set("generate-random", inputs(scores=reversed_scores)).added}
    assert picked == same
    assert len(picked) == COUNT
    with pytest.raises(ValueError, match="scored"):
        build_training_set("generate", inputs())


def test_coverage_chooses_among_those_that_the_text_keeps():
    fitting = sorted(range(12), key=lambda i: -SCORES[i])

    def grid(share):
        asked = []

        def patches(images):  # one patch an image: the later among those asked for, the farther away
            asked.append(images)
            return np.arange(len(images), dtype=np.float32).reshape(-1, 1, 1)

        made = dataclasses.replace(inputs(scores=SCORES), text_share=share, patches=patches)
        return [added.origin["index"] for added in build_training_set("generate", made).added], asked

    assert grid(0.0) == (fitting[:COUNT], [])
    assert grid(0.5) == (fitting[:COUNT], [])  # no more than are wanted
    picks, asked = grid(0.75)
    assert picks[0] == fitting[8]
    assert set(picks) < set(fitting[:9])
    assert len(asked[0]) == 2 + 9
    assert grid(1.0)[0][0] == fitting[11]
    with pytest.raises(ValueError, match="patch features"):
        build_training_set("generate", dataclasses.replace(inputs(scores=SCORES), text_share=1.0))


def test_augment_is_the_base_of_the_candidates():
    given_inputs = inputs()
    views = build_training_set("augment", given_inputs).added
    for view, candidate in zip(views, given_inputs.candidates, strict=False):
        assert np.array_equal(view.image, candidate.base)


def test_noise_has_the_power_and_scale_of_the_residuals():
    # Residuals: smooth stripes of a known strength, the same in all channels.
    base = np.full((64, 64, 3), 128, np.uint8)
    stripes = 10 * np.sin(2 * np.pi * 4 * np.arange(64) / 64)[None, :, None]
    candidate = Candidate(0, np.rint(128 + np.broadcast_to(stripes, base.shape)).astype(np.uint8), base, 0, None)
    spectrum = amplitude_spectrum([candidate])
    fields = [shaped_noise(spectrum, (64, 64), np.random.default_rng(i)) for i in range(64)]
    assert np.sqrt(np.mean(np.square(fields))) == pytest.approx(10 / np.sqrt(2), rel=0.15)
    power = np.mean([np.abs(np.fft.fft2(field[..., 0])) ** 2 for field in fields], axis=0)
    assert {tuple(peak) for peak in np.argwhere(power > 0.3 * power.max())} == {(0, 4), (0, 60)}
    assert np.allclose(fields[0][..., 0], fields[0][..., 2], atol=0.2)
    other = shaped_noise(spectrum, (96, 50), np.random.default_rng(0))
    assert other.shape == (96, 50, 3)


def test_noise_differs_from_what_is_drawn_on_by_about_the_residuals_strength():
    given_inputs = inputs()
    noisy = build_training_set("noise", given_inputs).added
    assert [added.origin["index"] for added in noisy] == list(range(COUNT))
    delta = [a.image.astype(float) - b.base for a, b in zip(noisy, given_inputs.candidates, strict=False)]
    residual = [c.image.astype(float) - c.base for c in given_inputs.candidates]
    assert np.std(delta) == pytest.approx(np.std(residual), rel=0.15)
