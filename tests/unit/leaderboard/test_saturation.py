"""Saturation: the named points follow from the paired differences, and nothing is named where no interval can be."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fewgood.leaderboard.runs import configurations, read_runs
from fewgood.leaderboard.saturation import saturation, saturation_over_cells
from fewgood.leaderboard.statistics import difference

COUNTS = (4, 16, 64, 256)


@pytest.fixture
def curve(make_row):
    """Rows of one cell whose gain over `none` at each number of images is given, with a spread over the seeds."""

    def rows(gains, *, seeds=4, spread=0.004, category="bolt", arm="generate", steps=100, controls=True):
        made = []
        for seed in range(seeds):
            fixed = {"category": category, "test_scores": None}
            if controls:
                made.append(make_row("none", seed, image_auroc=0.6 + 0.01 * seed, **fixed))
            for place, (count, gain) in enumerate(gains.items()):
                value = 0.6 + 0.01 * seed + gain + spread * math.sin(seed * 5 + place)
                spec = {"selection": {"count": count, "rounds": 1}, "generator": {"steps": steps}}
                row = make_row(arm, seed, count=count, image_auroc=value, spec_json=json.dumps(spec), **fixed)
                hashed = f"{arm}-{count}-{steps}-{category}"
                made.append({**row, "config_hash": hashed, "run_id": f"{hashed}-{seed}"})
        return made

    return rows


def of(rows, label="mvtec_ad/bolt"):
    return saturation(read_runs(rows), label)


def test_a_gain_that_rises_and_falls_has_its_three_points(curve):
    found = of(curve(dict(zip(COUNTS, (0.05, 0.1, 0.2, 0.1), strict=True))))
    assert (found.peak, found.beyond, found.noise_from) == (64, 64, 256)
    assert "highest with 64 images" in found.sentence
    assert "Beyond 64 images, more are not shown to help" in found.sentence
    assert "From 256 on, more act as noise" in found.sentence
    assert "6 intervals" in found.limits
    assert [count for count, _ in found.curves["generate"]] == list(COUNTS)


def test_a_gain_that_still_rises_does_not_end(curve):
    found = of(curve(dict(zip(COUNTS, (0.05, 0.1, 0.2, 0.3), strict=True))))
    assert (found.peak, found.beyond, found.noise_from) == (256, 256, None)
    assert "was not seen" in found.sentence
    assert "not shown to help" not in found.sentence


def test_noise_alone_claims_no_gain(curve):
    found = of(curve(dict.fromkeys(COUNTS, 0.0), spread=0.05))
    assert found.beyond == 4
    assert found.noise_from is None
    assert "No number of images is shown to gain" in found.sentence
    assert "act as noise" not in found.sentence


def test_one_seed_names_no_point_and_shows_no_interval(curve):
    found = of(curve(dict(zip(COUNTS, (0.05, 0.1, 0.2, 0.1), strict=True)), seeds=1))
    assert (found.peak, found.beyond, found.noise_from) == (None, None, None)
    assert found.sentence.startswith("No point can be named")
    assert "95 %" not in found.sentence
    assert {row[3:] for row in found.chart.rows} == {("-", "-")}


def test_fewer_than_two_numbers_are_no_curve(curve, make_row):
    assert of(curve({16: 0.1})) is None
    assert of([make_row("none", 0)]) is None
    assert of(curve({4: 0.1, 16: math.nan})) is None
    assert saturation([], "nothing") is None


def test_a_curve_of_augmentation_alone_says_nothing_of_generation(curve):
    found = of(curve({4: 0.1, 16: 0.2}, arm="augment"))
    assert found.peak is None
    assert "nothing is said about its saturation" in found.sentence


def test_a_curve_varies_the_number_of_images_alone(curve):
    rows = curve({4: 0.1, 16: 0.2}) + curve({64: 0.9}, steps=400, controls=False)
    assert [count for count, _ in of(rows).curves["generate"]] == [4, 16]
    mixed = of(curve({4: 0.1}) + curve({16: 0.2}, steps=400, controls=False))
    assert "differ in other settings" in mixed.limits


def test_cells_are_pooled_where_they_share_their_numbers(curve):
    gains = dict(zip(COUNTS, (0.05, 0.1, 0.2, 0.1), strict=True))
    rows = [curve(gains, category=name) for name in ("bolt", "nut")] + [curve({4: 0.3, 8: 0.1}, category="tile")]
    cells = [(f"cell {place}", read_runs(members)) for place, members in enumerate(rows)]
    found = saturation_over_cells(cells)
    assert found.label == "2 of 3 cells (mean)"
    assert (found.peak, found.noise_from) == (64, 256)
    assert "cell 0, cell 1" in found.limits
    assert saturation_over_cells(cells[1:]) is None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gains=st.lists(st.integers(-30, 30), min_size=2, max_size=4),
    seeds=st.integers(1, 4),
    spread=st.sampled_from([0.0, 0.01, 0.05]),
    order=st.randoms(use_true_random=False),
)
def test_the_points_follow_from_the_differences(curve, gains, seeds, spread, order: random.Random):
    rows = curve({count: gain / 100 for count, gain in zip(COUNTS, gains, strict=False)}, seeds=seeds, spread=spread)
    found = of(rows)
    shuffled = order.sample(rows, len(rows))
    assert repr(of(shuffled).chart) == repr(found.chart)
    assert (of(shuffled).sentence, of(shuffled).limits) == (found.sentence, found.limits)
    for _, gap in found.curves["generate"]:
        assert gap.low is None or gap.low <= gap.mean <= gap.high
    if seeds == 1:
        assert found.peak is None
        return
    by_count = {item.count: item.runs for item in configurations(read_runs(rows)) if item.arm == "generate"}

    def verdict(more, fewer):
        return difference(by_count[more], by_count[fewer], "image_auroc").verdict

    means = {count: gap.mean for count, gap in found.curves["generate"]}
    assert means[found.peak] == max(means.values())
    assert all(verdict(n, found.beyond) != "higher" for n in means if n > found.beyond)
    for smaller in [count for count in means if count < found.beyond]:
        assert any(verdict(n, smaller) == "higher" for n in means if n > smaller)
    below = [n for n in means if n > found.peak and verdict(n, found.peak) == "lower"]
    assert found.noise_from == min(below, default=None)
