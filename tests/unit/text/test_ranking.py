from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewgood.errors import DataError, SpecError
from fewgood.specs import PromptSpec
from fewgood.text import PromptRanking, rank_prompts

DATA = Path(os.environ.get("FEWGOOD_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
PERSONS = {
    "prison guard",
    "jailer",
    "jailor",
    "gaoler",
    "turnkey",
    "lawman",
    "law officer",
    "peace officer",
    "crackpot",
}


def photographs(folder, count):
    files = sorted((DATA / folder).glob("*.png")) + sorted((DATA / folder).glob("*.jpg"))
    if not files:
        pytest.skip(f"no images in FEWGOOD_TEST_DATA/{folder}")
    return [np.asarray(Image.open(path).convert("RGB")) for path in files[:count]]


def ring():
    """A shaded metal ring on a light ground."""
    y, x = np.mgrid[:256, :256] - 128.0
    radius = np.hypot(x, y)
    metal = (radius < 95) & (radius > 45)
    values = np.where(metal, 150 + 60 * (x - y) / 256 + 25 * np.cos(2 * np.arctan2(y, x)), 215 - 0.05 * y)
    values = np.where(metal & ((radius > 91) | (radius < 49)), 80, values)
    values += np.random.default_rng(0).normal(0, 3, values.shape)
    return np.repeat(np.clip(values, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def sense_chain(synset, wordnet):
    return {step.name() for path in wordnet.synset(synset).hypernym_paths() for step in path}


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("words", [16, 32, 64])
def test_screw_is_not_a_prison_guard(embedder, built_home, wordnet, count, words):
    images = photographs("mvtec_ad/screw/train/good", count)
    ranking = rank_prompts("screw", images, PromptSpec(count=words), embedder, home=built_home)
    assert "screw.n.04" in sense_chain(ranking.best.synset, wordnet)
    assert {item.word for item in ranking.candidates if item.dropped} >= {"prison guard"}
    assert not {item.word for item in ranking.candidates if item.dropped is None} & PERSONS


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("words", [16, 32, 64])
def test_nut_is_food_on_hazelnuts(embedder, built_home, wordnet, count, words):
    images = photographs("hazelnut_toy/hazelnut/train/good", count)
    ranking = rank_prompts("nut", images, PromptSpec(count=words), embedder, home=built_home)
    chain = sense_chain(ranking.best.synset, wordnet)
    assert chain & {"nut.n.01", "edible_nut.n.01"}
    kept = {item.synset for item in ranking.candidates if item.dropped is None}
    assert {"hex_nut.n.01", "edible_nut.n.01"} <= kept, "stage 1 must leave both senses to the images"
    assert not {item.word for item in ranking.candidates if item.dropped is None} & PERSONS


@pytest.mark.parametrize("keyword", ["nut", "metal_nut"])
def test_nut_is_hardware_on_a_metal_ring(embedder, built_home, wordnet, keyword):
    ranking = rank_prompts(keyword, [ring()], PromptSpec(), embedder, home=built_home)
    assert sense_chain(ranking.best.synset, wordnet) & {"nut.n.03", "block.n.01", "fastener.n.02"}


def test_hazelnut_and_gravel_name_themselves(embedder, built_home, wordnet):
    from skimage.data import gravel

    images = photographs("hazelnut_toy/hazelnut/train/good", 3)
    best = rank_prompts("hazelnut", images, PromptSpec(), embedder, home=built_home).best
    assert "edible_nut.n.01" in sense_chain(best.synset, wordnet)
    image = np.repeat(gravel()[:256, :256, None], 3, axis=2)
    assert rank_prompts("gravel", [image], PromptSpec(), embedder, home=built_home).best.synset == "gravel.n.01"


def test_ranking_is_ordered_and_deterministic_and_survives_json(embedder, built_home):
    first = rank_prompts("Metal_Nut", [ring()], PromptSpec(), embedder, home=built_home)
    assert first == rank_prompts("metal nut", [ring()], PromptSpec(), embedder, home=built_home)
    kept = [item.image_similarity for item in first.candidates if item.dropped is None]
    assert kept == sorted(kept, reverse=True)
    assert first.best == first.candidates[0]
    assert first.keyword == "metal nut"
    assert "head noun 'nut'" in (first.note or "")
    assert PromptRanking.from_json(json.loads(json.dumps(first.to_json()))) == first


def test_one_word_is_the_keyword(embedder, built_home):
    ranking = rank_prompts("screw", [ring()], PromptSpec(count=1), embedder, home=built_home)
    assert [item.prompt for item in ranking.candidates] == ["a photo of a flawless screw"]
    assert ranking.best.relation == "keyword"


def test_word_that_wordnet_lacks_uses_templates(embedder, built_home):
    ranking = rank_prompts("zzyzx", [ring()], PromptSpec(), embedder, home=built_home)
    assert {item.relation for item in ranking.candidates} == {"template"}
    assert all(item.synset is None and "zzyzx" in item.prompt for item in ranking.candidates)
    assert "plain templates" in (ranking.note or "")


def test_no_image_and_no_word_are_user_errors(embedder, built_home):
    with pytest.raises(DataError, match="at least one"):
        rank_prompts("screw", [], PromptSpec(), embedder, home=built_home)
    with pytest.raises(SpecError, match="--keyword"):
        rank_prompts("", [ring()], PromptSpec(), embedder, home=built_home)


def test_sample_washer_is_hardware_under_either_name(embedder, built_home, wordnet):
    from fewgood.data import load_category, read_image

    category = load_category("sample", "washer", root=None, home=built_home)
    images = [read_image(item.path) for item in category.train[:5]]
    best = rank_prompts("nut", images, PromptSpec(), embedder, home=built_home).best
    assert sense_chain(best.synset, wordnet) & {"nut.n.03", "block.n.01", "fastener.n.02"}
    best = rank_prompts("washer", images, PromptSpec(), embedder, home=built_home).best
    assert "artifact.n.01" in sense_chain(best.synset, wordnet)
