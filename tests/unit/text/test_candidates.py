from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fewgood.text.candidates import TEMPLATES, candidate_words, prompt_for
from fewgood.text.decency import is_decent_lemma, is_decent_synset
from fewgood.text.keyword import clean_keyword, look_up

VULGAR = {
    "fuck",
    "fucking",
    "nookie",
    "nooky",
    "shag",
    "piece of ass",
    "ass",
    "testis",
    "testicle",
    "ballock",
    "bollock",
}


def words(keyword, wordnet, count=32):
    return candidate_words(look_up(clean_keyword(keyword), wordnet), count, wordnet)


@pytest.mark.parametrize(
    "keyword", ["screw", "nut", "ball", "cock", "cracker", "crap", "chink", "spade", "cunt", "boy"]
)
def test_vulgar_senses_and_slurs_are_never_candidates(wordnet, keyword):
    found = words(keyword, wordnet, count=400)
    for word in found:
        assert word.text == keyword or word.bare.lower() not in VULGAR
        for name in {word.synset, word.root} - {None}:
            synset = wordnet.synset(name)
            domains = {domain.name() for domain in synset.usage_domains()}
            assert not domains & {"obscenity.n.02", "ethnic_slur.n.01", "disparagement.n.01", "vulgarism.n.01"}
            assert "disparaging" not in synset.definition()


def test_indecent_senses_are_known_by_domain_definition_or_kind(wordnet):
    for name in ("fuck.n.01", "darky.n.01", "cunt.n.02", "runt.n.01", "testis.n.01", "pot.n.09", "hillbilly.n.01"):
        assert not is_decent_synset(wordnet.synset(name)), name
    for name in ("screw.n.04", "nut.n.01", "tapir.n.01", "ball.n.01", "scarlet_runner.n.01", "tailback.n.02"):
        assert is_decent_synset(wordnet.synset(name)), name


def test_a_word_that_is_mostly_an_insult_is_not_shown(wordnet):
    lemma = {lemma.name(): lemma for lemma in wordnet.lemmas("ball", "n") if lemma.synset().name() == "ball.n.01"}[
        "ball"
    ]
    assert is_decent_lemma(lemma, wordnet)
    for word in ("kike", "spic", "bollock"):
        assert not any(is_decent_lemma(lemma, wordnet) for lemma in wordnet.lemmas(word, "n")), word


def test_nearest_words_come_first_and_senses_take_turns(wordnet):
    found = words("nut", wordnet)
    assert (found[0].text, found[0].relation) == ("nut", "keyword")
    assert [word.depth for word in found] == sorted(word.depth for word in found)
    roots = {word.root for word in found[:16]}
    assert {"nut.n.01", "nut.n.03"} <= roots
    assert {"synonym", "hypernym", "hyponym"} <= {word.relation for word in found}
    assert len({word.text.casefold() for word in found}) == len(found) == 32


def test_individuals_are_no_candidates(wordnet):
    assert not any("Gunter" in word.text for word in words("grass", wordnet, 400))


def test_modifier_is_kept_once(wordnet):
    found = words("metal_screw_holder", wordnet) + words("metal_nut", wordnet)
    assert all(word.text.startswith("metal") for word in found)
    assert "metal wing nut" in {word.text for word in found}
    assert not any("metal metal" in word.text for word in found)


def test_sisters_only_fill_up(wordnet):
    relations = [word.relation for word in words("gravel", wordnet)]
    assert relations.count("sister") == 0 or len(relations) <= 8
    assert len(words("hip_tile", wordnet)) >= 2


@pytest.mark.parametrize("count", [1, 2, 7])
def test_as_many_words_as_asked(wordnet, count):
    assert len(words("screw", wordnet, count)) == count
    assert len(words("zzyzx", wordnet, count)) == count


def test_unknown_word_gets_every_template_and_is_never_formatted(wordnet):
    found = words("zz{word}yzx", wordnet, 100)
    assert [prompt_for(word) for word in found] == [
        template.replace("{word}", "zz{word}yzx", 1) for template in TEMPLATES
    ]


def test_order_is_the_same_in_another_process(wordnet, built_home):
    """NLTK keeps pointers in sets of strings: unsorted, their order would follow the hash seed."""
    script = (
        "import sys; from pathlib import Path\n"
        "from fewgood.text.candidates import candidate_words; from fewgood.text.keyword import look_up\n"
        "from fewgood.text.wordnet import load_wordnet\n"
        "wordnet = load_wordnet(Path(sys.argv[1]))\n"
        "for word in candidate_words(look_up('grass', wordnet), 200, wordnet): print(word.text)\n"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    other = subprocess.run(
        [sys.executable, "-c", script, str(built_home)], env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.splitlines() == [word.text for word in words("grass", wordnet, 200)]
