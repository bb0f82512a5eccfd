from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewgood.errors import SpecError
from fewgood.text.keyword import clean_keyword, look_up


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("metal_nut", "metal nut"),
        ("  Metal--NUT ", "metal nut"),
        ("SCREW", "screw"),
        ("\uff4eut", "nut"),
        ("Écrou", "écrou"),
    ],
)
def test_is_cleaned(typed, read):
    assert clean_keyword(typed) == read


@pytest.mark.parametrize(
    "typed", ["", "   ", "_", "01", "!?", "screw\n", "a\x00b", "nut\u202e", "x" * 10_000, "\ud800a", "\ufdfa" * 10]
)
def test_what_is_no_word_is_refused_in_one_short_line(typed):
    with pytest.raises(SpecError, match="--keyword") as caught:
        clean_keyword(typed)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@given(st.text(max_size=80))
def test_any_text_is_cleaned_once_or_refused(typed):
    try:
        read = clean_keyword(typed)
    except SpecError:
        return
    assert clean_keyword(read) == read
    assert read.isprintable()


@pytest.mark.parametrize(
    ("keyword", "noun", "modifier", "said"),
    [
        ("screw", "screw", "", None),
        ("screws", "screw", "", None),
        ("washing machine", "washing_machine", "", None),
        ("metal nut", "nut", "metal", "head noun 'nut'"),
        ("macaroni2", "macaroni", "", "number at the end"),
        ("chewinggum", "chewing_gum", "", "read as 'chewing gum'"),
        ("metalnut", "nut", "metal", "part 'nut'"),
        ("pipe fryum", "pipe", "", "part 'pipe'"),
        ("zzyzx", None, "", "plain templates"),
        ("{word} {0}", "word", "", "part"),
    ],
)
def test_falls_back_to_what_wordnet_knows(wordnet, keyword, noun, modifier, said):
    entry = look_up(keyword, wordnet)
    if keyword.startswith("{"):
        assert entry.keyword == keyword
        return
    assert (entry.noun, entry.modifier) == (noun, modifier)
    assert (entry.note is None) if said is None else (said in (entry.note or ""))
