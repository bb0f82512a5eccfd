"""Reading the ledger, pairing runs, choosing configurations, and the comparison document."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewgood.leaderboard import compare, compare_document, effects, leaderboard, pick_runs, read_runs
from fewgood.leaderboard.runs import configurations
from fewgood.leaderboard.statistics import choose, difference, estimate, partner, pool


def entry(document, arm, against):
    return next(item for item in document["differences"] if (item["arm"], item["against"]) == (arm, against))


def test_document_of_one_cell(make_cell):
    rows = make_cell()
    document = compare_document(rows)
    assert list(document["arms"]) == ["none", "augment", "generate"]
    for arm, metrics in document["arms"].items():
        values = [row["image_auroc"] for row in rows if row["arm"] == arm]
        assert metrics["image_auroc"]["values"] == values
        assert metrics["image_auroc"]["mean"] == pytest.approx(math.fsum(values) / 3)
        assert metrics["image_auroc"]["resampled"] == "seeds and test images"
        assert metrics["pixel_auroc"]["resampled"] == "seeds"
    pairs = [(item["arm"], item["against"]) for item in document["differences"]]
    assert pairs == [("augment", "none"), ("generate", "none"), ("generate", "augment")]
    gain = entry(document, "generate", "none")["image_auroc"]
    assert gain["low"] > 0
    assert gain["mean"] == pytest.approx(
        document["arms"]["generate"]["image_auroc"]["mean"] - document["arms"]["none"]["image_auroc"]["mean"]
    )
    json.dumps(document, allow_nan=False)


def test_one_seed_has_a_mean_a_note_and_no_interval(make_cell):
    document = compare_document(make_cell(seeds=1))
    value = document["arms"]["generate"]["image_auroc"]
    assert (value["low"], value["high"], value["note"]) == (None, None, "no interval: one seed only")
    gain = entry(document, "generate", "none")
    assert gain["image_auroc"]["low"] is None
    assert 0 <= gain["delong"]["p"] <= 1
    assert any("one seed only" in note for note in document["notes"])


def test_several_cells_are_pooled_and_kept_apart_by_kind(make_cell):
    rows = make_cell("bolt") + make_cell("tile", kind="texture", lift=0.1)
    document = compare_document(rows)
    cells = [entry(cell, "generate", "none")["image_auroc"]["mean"] for cell in document["cells"]]
    pooled = entry(document, "generate", "none")
    assert pooled["image_auroc"]["mean"] == pytest.approx(sum(cells) / 2)
    assert pooled["image_auroc"]["over"] == ["mvtec_ad/bolt", "mvtec_ad/tile"]
    assert pooled["image_auroc"]["low"] <= pooled["image_auroc"]["mean"] <= pooled["image_auroc"]["high"]
    assert pooled["cells"]["wins"] + pooled["cells"]["ties"] + pooled["cells"]["losses"] == 2
    assert sorted(document["kinds"]) == ["object", "texture"]


def test_wilcoxon_appears_from_six_cells_on(make_cell):
    rows = [row for index in range(6) for row in make_cell(f"part{index}", seeds=2, lift=0.5 + index / 10)]
    gain = entry(compare_document(rows), "generate", "none")["cells"]
    assert gain["wilcoxon_p"] == pytest.approx(2 / 2**6)
    assert gain["wilcoxon_p_holm"] == pytest.approx(3 * 2 / 2**6)


@pytest.mark.parametrize(
    "change",
    [
        {"backbone_digest": "other"},
        {"image_size": 320},
        {"select_on": "test"},
        {"shots": "4"},
        {"spec_json": json.dumps({"baseline": {"name": "patchcore", "options": {"coreset": 0.5}}})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_runs_that_must_not_be_ranked_together_are_not(make_cell, change):
    rows = make_cell()
    others = [{**row, **change, "run_id": row["run_id"] + "x"} for row in make_cell() if row["arm"] == "generate"]
    document = compare_document([row for row in rows if row["arm"] != "generate"] + others)
    assert document["arms"] == {}
    assert len(document["rankings"]) == 2
    assert all(item["arm"] != "generate" for ranking in document["rankings"] for item in ranking["differences"])
    assert len({row.ranking for row in leaderboard(rows + others)}) == 2


def test_unpaired_seeds_are_dropped_and_counted(make_cell):
    rows = [row for row in make_cell(seeds=4) if (row["arm"], row["seed"]) != ("none", 2)]
    for row in rows:
        if (row["arm"], row["seed"]) == ("generate", 3):
            row["support_digest"] = "another"
    gain = entry(compare_document(rows), "generate", "none")
    assert gain["image_auroc"]["over"] == ["0", "1"]
    assert gain["unpaired"] == 2


def test_full_is_paired_although_its_support_differs(make_row):
    rows = [make_row("none", seed) for seed in (0, 1)]
    rows += [make_row("full", seed, lift=1.0, support_digest="all") for seed in (0, 1)]
    assert entry(compare_document(rows), "full", "none")["image_auroc"]["over"] == ["0", "1"]


def test_scores_that_contradict_the_recorded_value_are_not_resampled(make_cell):
    rows = [{**row, "image_auroc": 0.5} for row in make_cell()]
    assert compare_document(rows)["arms"]["none"]["image_auroc"]["resampled"] == "seeds"


def test_the_paired_interval_is_narrower_than_the_two_arms(make_cell):
    document = compare_document(make_cell(seeds=5))
    width = {arm: value["image_auroc"]["high"] - value["image_auroc"]["low"] for arm, value in document["arms"].items()}
    gain = entry(document, "augment", "none")["image_auroc"]
    assert gain["high"] - gain["low"] < min(width["none"], width["augment"])


def test_duplicates_ok_beats_failed_and_the_latest_wins(make_row):
    late = make_row(image_auroc=0.9, test_scores=None, started_utc="2025-02-01T00:00:00Z")
    failed = make_row(status="failed", error="boom", started_utc="2025-03-01T00:00:00Z")
    again = make_row(image_auroc=0.8, test_scores=None, run_id="again", started_utc="2025-01-15T00:00:00Z")
    runs = read_runs([make_row(), failed, late, again])
    assert [(run.ok, run.metrics["image_auroc"]) for run in runs] == [(True, 0.9)]


def test_a_failed_run_without_a_backbone_joins_its_ranking(make_cell, make_row):
    failed = make_row(
        "generate", 3, count=16, status="failed", error="boom", backbone=None, backbone_digest=None, image_size=None
    )
    rows = leaderboard([*make_cell(), failed])
    assert len({row.ranking for row in rows}) == 1
    line = next(row for row in rows if row.arm == "generate")
    assert (line.seeds, line.failed, line.missing_seeds) == (3, 1, "")
    assert next(row for row in rows if row.arm == "none").missing_seeds == "3"


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 8))
def test_order_and_duplicates_change_nothing(random, index):
    rows = ROWS[:]
    expected = compare_document(rows)
    rows.append(dict(rows[index]))
    random.shuffle(rows)
    assert compare_document(rows) == expected
    assert leaderboard(rows) == leaderboard(ROWS)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=5))
def test_every_interval_contains_its_estimate(values):
    template = ROWS[0]
    rows = []
    for seed, (one, other) in enumerate(values):
        for arm, value in (("none", one), ("generate", other)):
            rows.append(
                {
                    **template,
                    "arm": arm,
                    "seed": seed,
                    "run_id": f"{arm}{seed}",
                    "config_hash": arm,
                    "support_digest": str(seed),
                }
                | {"image_auroc": value, "pixel_auroc": value}
            )
    document = compare_document(rows)
    found = [*document["arms"].values(), *document["differences"]]
    for metrics in found:
        for name in ("image_auroc", "pixel_auroc"):
            value = metrics[name]
            assert value["low"] <= value["mean"] <= value["high"]


def test_the_proxy_chooses_and_the_partner_has_the_same_size(make_row):
    rows = []
    for seed in (0, 1):
        rows += [make_row("augment", seed, count=count) for count in (4, 8)]
        rows.append(make_row("generate", seed, count=4, lift=2.0, proxy_score=0.6))
        rows.append(make_row("generate", seed, count=8, lift=0.1, proxy_score=0.9))
    found = configurations(read_runs(rows))
    chosen, remark = choose([item for item in found if item.arm == "generate"], "proxy")
    assert chosen.count == 8
    assert "highest proxy score" in remark
    optimist, warning = choose([item for item in found if item.arm == "generate"], "test")
    assert optimist.count == 4
    assert "too good by that choice" in warning
    control, remark = partner(chosen, [item for item in found if item.arm == "augment"], "proxy")
    assert (control.count, remark) == (8, None)


def test_a_setting_that_an_arm_ignores_does_not_part_it_from_its_partner(make_row):
    def spec(share, light):
        return json.dumps({"selection": {"count": 16, "text_share": share}, "sampling": {"light": light}})

    # The random choice of one pool is one run, whichever share it was first run beside; it must win against another light.
    rows = [
        make_row("generate", 0, spec_json=spec(0.75, 0.4)),
        make_row("generate-random", 0, spec_json=spec(0.0, 0.4), config_hash="first"),
        make_row("generate-random", 0, spec_json=spec(0.75, 0.0), config_hash="other", run_id="other", proxy_score=0.9),
    ]
    chosen, *others = reversed(configurations(read_runs(rows)))
    control, _ = partner(chosen, others, "proxy")
    assert control.config_hash == "first"
    assert effects.settings(chosen, arm="generate-random") == effects.settings(control)
    assert effects.settings(chosen) != effects.settings(control, arm="generate")


LARGE = ("spec_json", "support_files", "test_scores")


def shown(rankings):
    """What a comparison says: means, intervals, counts and p-values, without the arrays behind them."""
    return [
        [
            (key, {name: value.to_json() for name, value in values.items() if value.mean is not None})
            for part in (item, *item.cells)
            for group in (part.estimates, part.differences)
            for key, values in group.items()
        ]
        + [(cell.key, cell.kind, tuple(cell.arms)) for cell in item.cells]
        + list(item.gains.items())
        for item in rankings
    ]


def studied(make_row):
    rows = []
    for category in ("bolt", "tile"):
        for seed in (0, 1):
            rows.append(make_row("none", seed, category=category))
            for count in (4, 8, 16):
                proxy = 0.5 + ((count * 7 + len(category)) % 5) / 10
                rows.append(make_row("augment", seed, category=category, count=count, lift=0.2, proxy_score=proxy))
                rows.append(make_row("generate", seed, category=category, count=count, lift=0.4, proxy_score=proxy))
        rows.append(
            make_row("generate", 2, category=category, count=8, status="failed", error="boom", image_auroc=None)
        )
    return rows


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 27), max_size=12), st.sampled_from(["proxy", "test", "fixed"]))
def test_comparing_the_picked_runs_gives_the_same_numbers(dropped, select_on):
    rows = [row | {"select_on": select_on} for index, row in enumerate(STUDIED) if index not in dropped]
    runs = read_runs(rows)
    picked, remarks = pick_runs(runs)
    assert shown(compare(picked)) == shown(compare(runs))
    assert [[cell.notes for cell in item.cells] for item in compare(picked, remarks=remarks)] == [
        [cell.notes for cell in item.cells] for item in compare(runs)
    ]
    assert pick_runs(picked)[0] == picked
    assert set(picked) <= set(runs)


def test_one_configuration_per_arm_is_picked_with_its_failures_and_a_remark():
    picked, remarks = pick_runs(read_runs(STUDIED))
    assert len({(run.cell, run.arm, run.config_hash) for run in picked}) == 6
    assert any("highest proxy score" in note for notes in remarks.values() for note in notes)
    assert {run.status for run in pick_runs(read_runs(STUDIED_ON_8))[0]} == {"ok", "failed"}


@pytest.mark.parametrize("select_on", ["proxy", "test", "fixed"])
def test_narrow_rows_pick_what_full_rows_pick(select_on):
    rows = [row | {"select_on": select_on, "baseline_options": '{"coreset":0.1}'} for row in STUDIED]
    rows = [row | {"count": row["added"] or None} for row in rows]
    narrow = [{name: value for name, value in row.items() if name not in LARGE} for row in rows]
    full, short = (pick_runs(read_runs(each)) for each in (rows, narrow))
    assert [run.run_id for run in short[0]] == [run.run_id for run in full[0]]
    assert short[1] == full[1]
    assert compare(short[0])[0].cells[0].estimates["none"]["image_auroc"].resampled == "seeds"


def test_without_specs_a_partner_shares_what_the_columns_say(make_row):
    rows = [make_row("generate", seed, count=8, prompt="a bolt") for seed in (0, 1)]
    rows += [
        make_row("generate-random", seed, count=8, prompt=prompt, config_hash=f"random-{index}")
        | {"run_id": f"random-{index}-{seed}", "started_utc": f"2025-01-0{index + 1}"}
        for seed in (0, 1)
        for index, prompt in enumerate(("a bolt", "a screw"))
    ]
    narrow = [{name: value for name, value in row.items() if name not in LARGE} for row in rows]
    picked, _ = pick_runs(read_runs(narrow))
    assert {run.prompt for run in picked if run.arm == "generate-random"} == {"a bolt"}


def test_a_difference_negated_is_the_difference_the_other_way_round(make_cell):
    arms = {item.arm: item.runs for item in configurations(read_runs(make_cell()))}
    gap = difference(arms["generate"], arms["none"], "image_auroc")
    back = difference(arms["none"], arms["generate"], "image_auroc")
    turned = gap.negated()
    assert (turned.mean, turned.low, turned.high) == pytest.approx((back.mean, back.low, back.high))
    assert turned.values == pytest.approx(back.values)
    assert gap.negated().negated().to_json() == gap.to_json()
    assert estimate([], "image_auroc").negated().mean is None


def test_an_estimate_at_another_level(make_cell):
    arms = {item.arm: item.runs for item in configurations(read_runs(make_cell()))}
    usual = difference(arms["augment"], arms["none"], "image_auroc")
    wide = difference(arms["augment"], arms["none"], "image_auroc", level=0.999)
    assert wide.low < usual.low <= usual.mean <= usual.high < wide.high
    assert (usual.to_json().get("level"), wide.to_json()["level"]) == (None, 0.999)
    again = pool([("bolt", usual)], bounds=(-1.0, 1.0), level=0.999)
    assert (again.low, again.high) == (wide.low, wide.high)


def test_group_metrics_of_loco_are_reported_apart(make_cell):
    groups = json.dumps({"logical": {"image_auroc": 0.6}, "structural": {"image_auroc": 0.8}})
    rows = make_cell(group_metrics_json=groups)
    assert compare_document(rows)["arms"]["none"]["logical.image_auroc"]["mean"] == pytest.approx(0.6)
    assert leaderboard(rows)[0].structural_auroc == pytest.approx(0.8)


def test_old_schema_nan_and_nothing():
    document = compare_document(
        [{"run_id": "a", "status": "ok", "arm": "none", "image_auroc": float("nan"), "spec_json": "{"}]
    )
    assert document["arms"]["none"] == {}
    assert compare_document([])["notes"] == ["no runs"]


def test_missing_metric_says_so(make_row):
    runs = read_runs([make_row(image_auroc=None)])
    assert estimate(runs, "image_auroc").note == "no finished run has image_auroc"
    assert difference(runs, [], "image_auroc").mean is None


def _conftest():
    from pathlib import Path
    from runpy import run_path

    return run_path(str(Path(__file__).parent / "conftest.py"))


ROWS = _conftest()["build_cell"]()
STUDIED = studied(_conftest()["build_row"])
STUDIED_ON_8 = [row for row in STUDIED if row["arm"] != "generate" or "-8-" in row["run_id"]]
