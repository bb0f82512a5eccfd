"""The commands on the embedded sample: the JSON shapes that other people's scripts rely on, caching, and export."""

import json
import math

import pytest

pytestmark = pytest.mark.integration

SETTINGS = {
    "generator.steps": 12,
    "selection.count": 4,
    "prompts.count": 6,
    "sampling.latent_samples": 2,
    "baseline.image_size": 96,
}


def small(**changed):
    """The flags of a run that takes seconds; `selection__count=8` changes one, None leaves it out."""
    values = SETTINGS | {key.replace("__", "."): value for key, value in changed.items()}
    return [word for key, value in values.items() if value is not None for word in ("--set", f"{key}={value}")]


METRICS = {"image_auroc", "image_aupr", "image_f1_max", "pixel_auroc", "pixel_aupro"}


def test_evaluate_shape_and_cache(fewgood):
    words = ["evaluate", "--dataset", "sample", "--category", "washer", "--arm", "generate", "--seed", "1"]
    first = fewgood(*words, *small(), "--json")
    assert first.status == 0, first.err
    document = first.document
    assert document["status"] == "ok"
    assert set(document["metrics"]) == METRICS
    assert all(0 <= value <= 1 for value in document["metrics"].values())
    assert document["support"] == ["train/good/001.png"]
    assert document["spec"]["generator"]["steps"] == 12
    assert len(document["spec_hash"]) == 32
    stages = document["stages"]
    assert {"prompts", "generator", "pool", "embeddings", "scores", "training_set", "detector"} <= set(stages)
    assert all(math.isfinite(entry["seconds"]) and isinstance(entry["cached"], bool) for entry in stages.values())
    assert not stages["generator"]["cached"]
    assert stages["generator"]["seconds"] > 0
    assert document["prompt"]

    again = fewgood(*words, *small(), "--json").document
    assert again["metrics"] == document["metrics"]
    assert all(entry["cached"] for entry in again["stages"].values())
    assert {"prompts", "generator", "pool", "embeddings", "scores", "training_set", "detector"} <= set(again["stages"])

    plain = fewgood(*words, *small())
    assert f"image_auroc    {document['metrics']['image_auroc']:.4f}" in plain.out

    more = fewgood(*words, *small(selection__count=8), "--json").document
    assert more["stages"]["generator"]["cached"], "another augmentation size keeps the generator"
    assert more["stages"]["prompts"]["cached"]
    assert more["added"] == 8


def test_compare_shape(fewgood):
    outcome = fewgood(
        *("compare", "--dataset", "sample", "--category", "brick", "--arms", "none,duplicate,augment"),
        *("--seeds", "0,1,2", *small(), "--json"),
    )
    assert outcome.status == 0, outcome.err
    document = outcome.document
    assert set(document["arms"]) == {"none", "duplicate", "augment"}
    for arm in document["arms"].values():
        entry = arm["image_auroc"]
        assert len(entry["values"]) == 3
        assert entry["low"] <= entry["mean"] <= entry["high"]
        assert entry["mean"] == pytest.approx(sum(entry["values"]) / 3)
    pairs = {(entry["arm"], entry["against"]): entry for entry in document["differences"]}
    gain = pairs["augment", "none"]["image_auroc"]
    assert gain["low"] <= gain["mean"] <= gain["high"]
    means = {name: arm["image_auroc"]["mean"] for name, arm in document["arms"].items()}
    assert gain["mean"] == pytest.approx(means["augment"] - means["none"])


def test_the_other_arms_run(fewgood):
    outcome = fewgood(
        *("compare", "--dataset", "sample", "--category", "washer"),
        *("--arms", "none,noise,generate-random,generate,full", "--seeds", "1", *small(), "--json"),
    )
    assert outcome.status == 0, outcome.err
    arms = outcome.document["arms"]
    assert set(arms) == {"none", "noise", "generate-random", "generate", "full"}
    assert arms["none"]["image_auroc"]["low"] is None, "one seed has no interval"


def test_prompts_shape(fewgood, shared_home):
    from fewgood.data import load_category

    category = load_category("sample", "washer", root=None, home=shared_home)
    folder = category.root / "train" / "good"
    document = fewgood("prompts", "nut", "--images", folder, "--json").document
    assert {"prompt", "synset"} <= set(document["best"])
    assert document["best"]["prompt"] in {entry["prompt"] for entry in document["candidates"]}
    dropped = [entry for entry in document["candidates"] if entry["dropped"]]
    assert all(isinstance(entry["dropped"], str) for entry in dropped)
    table = fewgood("prompts", "nut", "--images", folder)
    assert table.status == 0
    assert document["best"]["prompt"] in table.out


def test_generate_writes_what_anomalib_reads(fewgood, tmp_path):
    out = tmp_path / "parts"
    outcome = fewgood(
        *("generate", "--dataset", "sample", "--category", "washer", "--seed", "1", "--count", "5"),
        *(*small(selection__count=None), "--out", out, "--json"),
    )
    assert outcome.status == 0, outcome.err
    assert outcome.document["added_images"] == 5
    lines = [json.loads(line) for line in (out / "washer" / "images.jsonl").read_text().splitlines()]
    assert [line["role"] for line in lines] == ["support"] + ["added"] * 5
    assert all((out / "washer" / line["file"]).is_file() for line in lines)
    assert all(line["prompt"] and -1 <= line["score"] <= 1 for line in lines[1:])
    assert (out / "washer" / "contact_sheet.png").stat().st_size > 1000

    from anomalib.data.datasets.image.folder import FolderDataset

    dataset = FolderDataset(name="washer", root=out / "washer", normal_dir="train/good")
    assert len(dataset) == 6
    assert dataset[0].image.shape[0] == 3


def test_generate_from_good_images_only(fewgood, tmp_path, shared_home):
    import shutil

    from fewgood.data import load_category

    source = load_category("sample", "brick", root=None, home=shared_home).train[:2]
    folder = tmp_path / "mine" / "wall" / "train" / "good"
    folder.mkdir(parents=True)
    for item in source:
        shutil.copy(item.path, folder)
    outcome = fewgood(
        *("generate", "--root", tmp_path / "mine", "--category", "wall", "--shots", "2", "--count", "3"),
        *(*small(selection__count=None), "--out", tmp_path / "out", "--keyword", "brick wall", "--json"),
    )
    assert outcome.status == 0, outcome.err
    assert outcome.document["support_images"] == 2


@pytest.mark.parametrize("form", ["table", "json", "csv", "md", "html", "latex"])
def test_leaderboard_formats(fewgood, form):
    fewgood("evaluate", "--dataset", "sample", "--category", "brick", "--arm", "none", *small())
    outcome = fewgood("leaderboard", "--format", form)
    assert outcome.status == 0, outcome.err
    assert "brick" in outcome.out
    assert fewgood("leaderboard", "--format", form).out == outcome.out, "same ledger, same bytes"


def test_doctor(fewgood):
    outcome = fewgood("doctor", "--json")
    assert outcome.status == 0, outcome.out
    checks = {check["name"]: check for check in outcome.document["checks"]}
    assert checks["WordNet"]["ok"]
    assert checks["backbone EfficientNet-Lite0"]["ok"]


def test_rounds_feed_back(fewgood):
    outcome = fewgood(
        *("evaluate", "--dataset", "sample", "--category", "washer", "--seed", "1", *small()),
        *("--set", "selection.rounds=2", "--set", "selection.feedback=2", "--json"),
    )
    assert outcome.status == 0, outcome.err
    assert {"feedback", "rounds", "proxy"} <= set(outcome.document["stages"])


SHORT = {
    "patchcore": [],
    "cflow": ["--set", "baseline.steps=4"],
    "reverse_distillation": ["--set", "baseline.steps=4"],
    "efficient_ad": ["--set", "baseline.steps=4", "--set", "baseline.teacher_steps=8"],
}


def test_every_baseline_is_tried():
    from fewgood.baselines import BASELINES

    assert set(SHORT) == set(BASELINES)


@pytest.mark.parametrize("name", SHORT)
def test_each_baseline_runs_one_shot_on_the_sample(fewgood, name):
    words = ["evaluate", "--dataset", "sample", "--category", "brick", "--arm", "none", "--baseline", name]
    outcome = fewgood(*words, *SHORT[name], "--json")
    assert outcome.status == 0, outcome.err
    assert set(outcome.document["metrics"]) == METRICS
    assert len(outcome.document["support"]) == 1


def test_full_shots(fewgood):
    words = ["evaluate", "--dataset", "sample", "--category", "brick", "--shots", "full", "--arm", "none"]
    document = fewgood(*words, *small(), "--json").document
    assert len(document["support"]) == 40
    ceiling = ["evaluate", "--dataset", "sample", "--category", "brick", "--shots", "1", "--arm", "full"]
    assert fewgood(*ceiling, *small(), "--json").document["added"] == 39
