"""Contrasts: sentences follow the verdicts, intervals hold their means, and what is missing says how to get it."""

from __future__ import annotations

import json
import math
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fewgood.leaderboard.bootstrap import Resample, content_seed, seed_counts
from fewgood.leaderboard.compare import compare
from fewgood.leaderboard.contrasts import findings, ranking_families
from fewgood.leaderboard.effects import between, judged, paired, spoken
from fewgood.leaderboard.runs import read_runs
from fewgood.leaderboard.statistics import Estimate, estimate, pool

KEYS = ["kinds", "groups", "shots", "variance", "integrator"]


@pytest.fixture
def cell(make_row):
    """Rows of one cell, each arm's image AUROC given as its distance to `none`, with a spread over the seeds."""

    def rows(category="bolt", *, seeds=4, spread=0.005, loco=None, shots="1", settings=None, tag="", **gains):
        made = []
        for seed in range(seeds):
            for arm, gain in {"none": 0.0, **gains}.items():
                arm = arm.replace("_", "-")
                noise = 0.0 if arm == "none" else spread * math.sin(seed * 7 + len(arm) + len(category))
                value = 0.5 + 0.01 * seed + gain + noise
                columns = {"image_auroc": value, "test_scores": None, "shots": shots, "category": category}
                if loco is not None:
                    apart = {"logical": value + (loco if arm == "generate" else 0) + noise, "structural": value}
                    columns["group_metrics_json"] = json.dumps({k: {"image_auroc": v} for k, v in apart.items()})
                count = None if arm == "none" else 16
                spec = {"selection": {"count": count, "rounds": 1}, **(settings or {})}
                row = make_row(arm, seed, count=count, spec_json=json.dumps(spec), **columns)
                own = tag if arm in ("generate", "generate-random") else ""
                hashed = f"{arm}-{category}-{own}-{shots}"
                made.append({**row, "config_hash": hashed, "run_id": f"{hashed}-{seed}"})
        return made

    return rows


def of(rows):
    return {item.key: item for item in findings(read_runs(rows))}


def part(values, name="cell"):
    values = np.asarray(values, dtype=float)
    counts = seed_counts(content_seed(name, len(values)), len(values))
    return Resample(values, None, counts)


def estimate_of(values, name="cell"):
    return pool([(name, seeds_of(values, name))], bounds=(-1.0, 1.0))


def seeds_of(values, name="cell"):
    return Estimate(
        mean=float(np.mean(values)),
        low=None,
        high=None,
        values=tuple(values),
        over=tuple(map(str, range(len(values)))),
        resampled="seeds",
        parts=(part(values, name),),
    )


@pytest.mark.parametrize(
    ("objects", "textures", "seeds", "says"),
    [
        (0.2, 0.05, 4, "the gain is higher on objects than on textures"),
        (0.05, 0.2, 4, "the gain is lower on objects than on textures"),
        (0.1, 0.1, 4, "is not shown to differ from that on textures"),
        (
            0.2,
            0.05,
            1,
            "is not shown to differ from that on textures: +0.150, without an interval, as there is one seed",
        ),
    ],
)
def test_objects_against_textures(cell, objects, textures, seeds, says):
    rows = [{**row, "kind": "object"} for row in cell("bolt", seeds=seeds, generate=objects)]
    rows += [{**row, "kind": "texture"} for row in cell("tile", seeds=seeds, generate=textures)]
    found = of(rows)["kinds"]
    assert says in found.sentence
    assert "Measured on 1 object and 1 texture" in found.limits
    assert ("with one seed" in found.limits.lower()) is (seeds == 1)
    gap = found.estimates["none/difference"]
    assert gap.mean == pytest.approx(found.estimates["none/object"].mean - found.estimates["none/texture"].mean)


@pytest.mark.parametrize(
    ("lift", "says"), [(0.2, "higher on logical"), (-0.2, "lower on logical"), (0.0, "is not shown to differ")]
)
def test_logical_against_structural(cell, lift, says):
    found = of(cell(loco=lift, spread=0.02, generate=0.1) + cell("box", loco=lift, spread=0.02, generate=0.1))["groups"]
    assert says in found.sentence
    assert "Measured on 2 cells" in found.limits
    assert found.estimates["none/difference"].mean == pytest.approx(lift, abs=0.02)


def test_shots_are_compared_on_the_cells_that_all_share(cell):
    rows = cell(shots="1", generate=0.2) + cell(shots="5", generate=0.05) + cell(shots="full", generate=0.0)
    found = of(rows + cell("alone", shots="1", generate=-0.3))["shots"]
    assert "above zero at 1-shot and 5-shot" in found.sentence
    assert "not shown to differ from zero at full data" in found.sentence
    assert "higher at 1-shot than at full data" in found.sentence
    assert list(found.estimates)[:3] == ["none/1", "none/5", "none/full"]
    assert found.estimates["none/1"].mean == pytest.approx(0.2, abs=0.01)
    assert found.estimates["none/1 - 5"].mean == pytest.approx(0.15, abs=0.01)
    assert "its own support images" in found.limits


def test_shots_without_a_common_cell_are_not_compared(cell):
    assert of(cell("a", shots="1", generate=0.2) + cell("b", shots="5", generate=0.1))["shots"].chart is None


def test_several_shots_have_a_finding_each(cell):
    rows = cell(shots="1", generate=0.2, generate_random=0.1) + cell(shots="2", generate=0.1, generate_random=0.1)
    assert list(of(rows)) == ["kinds", "groups", "shots", "variance", "integrator-1", "integrator-2"]


def switched(cell, mode, *, on, off, weight=0.6, steps=100, category="bolt"):
    def spec(variance, weight):
        return {
            "generator": {"variance": variance, "variance_weight": weight, "steps": steps if variance else 100},
            "sampling": {"mode": mode},
        }

    return [
        *cell(category, settings=spec(True, weight), tag=f"{mode}-on", generate=on),
        *cell(category, settings=spec(False, 0.1), tag=f"{mode}-off", generate=off),
    ]


def test_variance_on_against_off(cell):
    rows = switched(cell, "decode", on=0.2, off=0.1) + switched(cell, "residual", on=0.1, off=0.1)
    found = of(rows)["variance"]
    assert "In mode decode on mvtec_ad/bolt, image AUROC is higher with the variance" in found.sentence
    assert "In mode residual, where generation without variance is augmentation alone, on" in found.sentence
    assert found.estimates["decode/mvtec_ad/bolt"].mean == pytest.approx(0.1, abs=0.01)
    only = of(switched(cell, "residual", on=0.1, off=0.1))["variance"]
    assert "ablated in mode decode, of which there is no pair" in only.limits


def test_variance_is_compared_with_all_else_equal(cell):
    assert of(switched(cell, "decode", on=0.2, off=0.1, steps=400))["variance"].chart is None


@pytest.mark.parametrize(("gain", "says"), [(0.2, "is higher with"), (0.0, "is lower with"), (0.1, "is not shown to")])
def test_integrator_against_random(cell, gain, says):
    rows = cell("a", spread=0.02, generate=gain, generate_random=0.1)
    rows += cell("b", spread=0.02, generate=gain, generate_random=0.1)
    found = of(rows)["integrator"]
    assert says in found.sentence
    assert found.sentence.startswith("Over 2 cells")
    assert len(found.chart.rows) == 3


def test_what_is_missing_names_a_command_with_real_flags(make_row, repository):
    found = of([make_row("none", 0)])
    assert list(found) == KEYS
    known = "".join((repository / f"platform/fewgood/cli/{name}.py").read_text() for name in ("compare", "common"))
    for item in found.values():
        assert item.chart is None
        assert item.sentence.startswith("Nothing can be said yet")
        assert "fewgood compare" in item.limits
        assert all(f'"{flag}"' in known for flag in re.findall(r"--[a-z]+", item.limits))


def test_settings_of_the_commands_are_read(repository):
    from fewgood.leaderboard.contrast_arms import _COMMANDS
    from fewgood.trials import make_spec, parse_settings

    settings = parse_settings(re.findall(r"--set ([a-z.]+=[a-z]+)", _COMMANDS["variance"]))
    spec = make_spec(dataset="sample", category="bolt", settings=settings)
    assert (spec.generator.variance, spec.sampling.mode) == (False, "decode")


def everything(cell, seeds=3):
    rows = []
    for shots in ("1", "2"):
        for name, kind in (("bolt", "object"), ("tile", "texture")):
            made = cell(name, seeds=seeds, shots=shots, loco=0.1, augment=0.05, generate=0.1, generate_random=0.05)
            rows += [{**row, "kind": kind} for row in made]
    return rows


def test_one_seed_never_shows_an_interval(cell):
    found = of(everything(cell, seeds=1)).values()
    filled = [item for item in found if item.chart is not None]
    assert len(filled) == 7
    for item in filled:
        assert all(gap.low is None and gap.high is None for gap in item.estimates.values())
        assert "[" not in item.chart.svg
        assert "95 %" not in item.sentence
        assert " is higher" not in item.sentence
        assert "certainly" not in item.sentence
        assert "With one seed there is no interval" in item.limits


def test_the_order_of_rows_changes_nothing(cell):
    rows = everything(cell)
    shuffled = random.Random(3).sample(rows, len(rows))
    assert repr(of(shuffled)) == repr(of(rows))


def test_values_that_are_not_numbers_take_no_part(cell):
    rows = [
        {**row, "image_auroc": math.nan, "group_metrics_json": '{"logical": {"image_auroc": NaN}}'}
        if row["arm"] == "generate"
        else row
        for row in everything(cell)
    ]
    assert all(item.chart is None for item in of(rows).values())


def test_hostile_names_are_text(cell):
    evil = '"><script>alert(1)</script>\u202e'
    for item in of(switched(cell, "decode", on=0.2, off=0.1, category=evil)).values():
        if item.chart is not None:
            assert "<script" not in item.chart.svg
            assert "\u202e" not in item.chart.svg


def test_families_differ_in_shots_alone(cell):
    rows = cell(shots="10", generate=0.1) + cell(shots="2", generate=0.1) + cell(shots="full", generate=0.1)
    other = [{**row, "backbone": "wide", "run_id": f"wide-{row['run_id']}"} for row in cell(shots="2", generate=0.1)]
    families = list(ranking_families(compare(read_runs(rows + other))).values())
    assert [[item.key.shots for item in members] for members in families] == [["2", "10", "full"], ["2"]]


values = st.lists(st.floats(-0.5, 0.5, allow_nan=False), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(first=st.lists(values, min_size=1, max_size=3), second=st.lists(values, min_size=1, max_size=3))
def test_a_difference_of_groups_holds_its_mean_and_turns_round(first, second):
    groups = [
        pool([(f"{side}{n}", estimate_of(item, f"{side}{n}")) for n, item in enumerate(cells)], bounds=(-1.0, 1.0))
        for side, cells in (("a", first), ("b", second))
    ]
    gap, back = between(*groups), between(groups[1], groups[0])
    assert gap.mean == pytest.approx(groups[0].mean - groups[1].mean)
    assert back.mean == pytest.approx(-gap.mean)
    single = any(len(item) < 2 for item in (*first, *second))
    assert (gap.low is None) is single
    if not single:
        assert -2 <= gap.low <= gap.mean <= gap.high <= 2
        assert (back.low, back.high) == pytest.approx((-gap.high, -gap.low), abs=1e-9)


def test_a_difference_of_groups_is_as_wide_as_welchs():
    generator = np.random.default_rng(5)
    one, other = generator.normal(0.2, 0.05, 12), generator.normal(0.1, 0.1, 8)
    gap = between(estimate_of(one, "one"), estimate_of(other, "other"))
    welch = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert gap.high - gap.low == pytest.approx(welch.high - welch.low, rel=0.1)
    assert gap.low == pytest.approx(welch.low, abs=0.015)


def test_a_paired_difference_takes_the_seeds_that_both_have():
    first, second = seeds_of([0.1, 0.2, 0.3]), seeds_of([0.1, 0.1])
    gap = paired(first, second, "cell")
    assert gap.over == ("0", "1")
    assert gap.mean == pytest.approx(0.05)
    assert gap.low <= 0.05 <= gap.high
    assert paired(first, estimate([], "x"), "cell").mean is None
    assert between(first, estimate([], "x")).mean is None


@settings(max_examples=60, deadline=None)
@given(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5), st.booleans())
def test_a_claim_is_made_where_the_interval_excludes_zero(mean, below, above, known):
    gap = Estimate(
        mean=mean,
        low=mean - below if known else None,
        high=mean + above if known else None,
        values=(mean,),
        over=("0",),
        resampled="seeds",
    )
    text = judged(gap, "UP", "DOWN", "OPEN")
    if not known:
        assert text == f"OPEN: {spoken(gap)}, as there is one seed"
        return
    expected = "UP" if gap.low > 0 else "DOWN" if gap.high < 0 else "OPEN"
    assert text == f"{expected}: {spoken(gap)}"
    assert ("includes zero" in text) is (expected == "OPEN")
    assert "-0.000" not in text
