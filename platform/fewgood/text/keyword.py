"""From what a user typed to the noun that WordNet knows: cleaning, compounds, parts."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from fewgood.errors import SpecError

__all__ = ["Entry", "clean_keyword", "look_up"]

_LONGEST = 64
_SHORTEST_PART = 3


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How a keyword enters WordNet."""

    keyword: str
    """The cleaned keyword, e.g. "metal nut"."""
    noun: str | None
    """WordNet's form of the noun to walk from, with underscores; None when it knows no part of the keyword."""
    modifier: str
    """What is put before every word, e.g. "metal"; empty when the whole keyword is known."""
    note: str | None
    """What a user should know about the way; None when the keyword was found as it is."""


def clean_keyword(text: str) -> str:
    """The keyword in lower case with single spaces, underscores and hyphens between words as spaces.

    Raises:
        SpecError: it is empty, longer than 64 characters, without a letter, or has characters that do not print.
    """
    if len(text) > _LONGEST:
        raise SpecError(f"--keyword has {len(text)} characters, allowed are {_LONGEST}: give the part's name")
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for character in text):
        raise SpecError(f"--keyword is {text!a}, allowed are characters that print: give the part's name")
    plain = unicodedata.normalize("NFKC", text).lower()
    words = re.sub(r"[\s_\-]+", " ", plain).strip()
    if not any(character.isalpha() for character in words):
        raise SpecError(f"--keyword is {text!a}, allowed is a word with letters, for example 'metal nut'")
    if len(words) > _LONGEST:
        raise SpecError(f"--keyword has {len(words)} characters, allowed are {_LONGEST}: give the part's name")
    return words


def look_up(keyword: str, wordnet: Any) -> Entry:
    """Find the noun that WordNet knows, nearest to the whole keyword.

    Ours, in this order: the keyword; without the number at its end ("macaroni2"); written in two words ("chewinggum");
    its head noun with the modifier kept ("metal nut": "nut"); a part of a written-together head ("metalnut"); any other
    word of it ("pipe fryum": "pipe"); nothing, and then templates are all there is.

    Args:
        keyword: a cleaned keyword.
        wordnet: NLTK's reader.
    """
    noun = _known(keyword, wordnet)
    if noun:
        return Entry(keyword=keyword, noun=noun, modifier="", note=None)
    name = re.sub(r"\s*\d+$", "", keyword)
    stripped = name != keyword and bool(name)
    if not stripped:
        name = keyword
    prefix = f"the number at the end of {keyword!r} is left out; " if stripped else ""
    noun = _known(name, wordnet)
    if noun:
        return Entry(keyword=name, noun=noun, modifier="", note=prefix.rstrip("; ") or None)
    words = name.split(" ")
    two = _two_words(words[-1], wordnet)
    if len(words) == 1 and two and _known(" ".join(two), wordnet):
        spaced = " ".join(two)
        note = f"{prefix}{name!r} is read as {spaced!r}"
        return Entry(keyword=spaced, noun=_known(spaced, wordnet), modifier="", note=note)
    unknown = f"{prefix}WordNet lacks {name!r}: "
    for start in range(1, len(words)):
        head = " ".join(words[start:])
        noun = _known(head, wordnet)
        if noun:
            modifier = " ".join(words[:start])
            note = f"{unknown}built on its head noun {head!r}, with {modifier!r} kept before every word"
            return Entry(keyword=name, noun=noun, modifier=modifier, note=note)
    if two:
        modifier = " ".join([*words[:-1], two[0]])
        note = f"{unknown}built on its part {two[1]!r}, with {modifier!r} kept before every word"
        return Entry(keyword=f"{modifier} {two[1]}", noun=_known(two[1], wordnet), modifier=modifier, note=note)
    for word in reversed(words[:-1]):
        noun = _known(word, wordnet)
        if noun:
            return Entry(keyword=name, noun=noun, modifier="", note=f"{unknown}built on its part {word!r}")
    return Entry(keyword=name, noun=None, modifier="", note=f"{unknown}the candidates are plain templates")


def _known(words: str, wordnet: Any) -> str | None:
    """WordNet's form of a noun (singular, underscores), or None."""
    if len(words) < 2:
        return None
    form = wordnet.morphy(words.replace(" ", "_"), wordnet.NOUN)
    return str(form) if form else None


def _two_words(word: str, wordnet: Any) -> tuple[str, str] | None:
    """A word written together as two nouns, the longest tail first; None when it is not one."""
    for cut in range(_SHORTEST_PART, len(word) - _SHORTEST_PART + 1):
        first, second = word[:cut], word[cut:]
        if _known(first, wordnet) == first and _known(second, wordnet):
            return first, second
    return None
