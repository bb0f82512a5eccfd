"""Walks WordNet outwards from every sense of a keyword, nearest words first (method.md, section 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from fewgood.text.decency import is_decent_lemma, is_decent_synset
from fewgood.text.keyword import Entry

__all__ = ["TEMPLATES", "Word", "bare_prompt", "candidate_words", "prompt_for"]

TEMPLATES = (
    "a photo of a flawless {word}",
    "a photo of a perfect {word}",
    "a photo of a good {word}",
    "a photo of an undamaged {word}",
    "a photo of a {word} without defect",
    "a close-up photo of a flawless {word}",
    "a photo of the flawless {word}",
    "a photo of a {word}",
)
"""Ours: descriptions of a good part. WordNet's words use the first; the others stand in where WordNet has no word."""
_FARTHEST = 6
_HIGHEST = 2
_TOO_ABSTRACT = 4
_ENOUGH = 8
_OTHERS_A_ROUND = 1
"""Words a round from a sense that is no thing: enough for stage 1 to see it, too few to use up the count."""
_THINGS = frozenset(
    f"noun.{file}" for file in ("animal", "artifact", "body", "food", "object", "plant", "shape", "substance")
)


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word, and the way on which it was found."""

    text: str
    """As it is put into a template, modifier included."""
    bare: str
    """Without the modifier: WordNet's own word, by which stage 1 judges; the keyword's is the keyword."""
    synset: str | None
    """WordNet's name of the sense it was found in; None for the keyword (several senses) and for templates."""
    relation: str
    """keyword, synonym, hypernym, hyponym, sister or template."""
    depth: int
    """Steps from the keyword's sense."""
    root: str | None
    """The keyword's sense from which it was reached."""
    thing: bool = True
    """Whether that sense is a thing, not a person, an act, a quantity (WordNet's lexicographer file)."""
    template: str = TEMPLATES[0]


def prompt_for(word: Word) -> str:
    """The prompt: the word, modifier included, in its template."""
    return word.template.replace("{word}", word.text)


def bare_prompt(word: Word) -> str:
    """The same without the modifier, which would make the words of all senses alike."""
    return word.template.replace("{word}", word.bare)


def candidate_words(entry: Entry, count: int, wordnet: Any) -> list[Word]:
    """Up to `count` distinct words, the keyword first, then outwards.

    Paper: synonyms, hypernyms and hyponyms from WordNet. Ours: all decent noun senses of kinds (not of individuals, as
    the writer Grass) are walked at once, one step further each round, and take turns within a round, so a sense with
    many hyponyms does not crowd out the others; a person, an act or a quantity gives one word a round. Hypernyms
    end after two steps, before words such as "artifact". Sisters
    (other hyponyms of a hypernym) are names of other things, so they only fill up to eight words.

    Args:
        entry: how the keyword enters WordNet.
        count: how many words at most; 1 or more.
        wordnet: NLTK's reader.

    Returns:
        The words in the order found; fewer when WordNet has no more. Without any noun: the keyword in each template.
    """
    if entry.noun is None:
        return [
            Word(
                text=entry.keyword,
                bare=entry.keyword,
                synset=None,
                relation="template",
                depth=0,
                root=None,
                template=template,
            )
            for template in TEMPLATES[:count]
        ]
    senses = [
        synset
        for synset in wordnet.synsets(entry.noun, "n")
        if is_decent_synset(synset) and not synset.instance_hypernyms()
    ]
    words = [Word(text=entry.keyword, bare=entry.keyword, synset=None, relation="keyword", depth=0, root=None)]
    seen = {entry.keyword.casefold()}
    for word in _rounds(senses, entry, wordnet):
        if len(words) >= (min(count, _ENOUGH) if word.relation == "sister" else count):
            break
        if word.text.casefold() not in seen:
            seen.add(word.text.casefold())
            words.append(word)
    return words


def _rounds(senses: list[Any], entry: Entry, wordnet: Any) -> Iterator[Word]:
    walks = [list(_walk(sense)) for sense in senses]
    sisters = [list(_sisters(sense)) for sense in senses]
    rounds = [[[step for step in walk if step[2] == depth] for walk in walks] for depth in range(_FARTHEST + 1)]
    for turn in [*rounds, sisters]:
        per_sense = [
            [
                word
                for synset, relation, depth in steps
                for word in _lemmas(synset, relation, depth, sense, entry, wordnet)
            ][: None if sense.lexname() in _THINGS else _OTHERS_A_ROUND]
            for sense, steps in zip(senses, turn, strict=True)
        ]
        yield from (word for word in chain.from_iterable(zip_longest(*per_sense)) if word is not None)


def _walk(sense: Any) -> Iterator[tuple[Any, str, int]]:
    yield sense, "synonym", 0
    up, down, visited = [sense], [sense], {sense}
    for depth in range(1, _FARTHEST + 1):
        down = _next(down, "hyponyms", visited)
        up = _next(up, "hypernyms", visited) if depth <= _HIGHEST else []
        above = [(synset, "hypernym", depth) for synset in up if synset.min_depth() > _TOO_ABSTRACT]
        below = [(synset, "hyponym", depth) for synset in down]
        # In turn, so that a sense with many hyponyms still names what it is, and the other way round.
        yield from (step for step in chain.from_iterable(zip_longest(below, above)) if step is not None)


def _next(level: list[Any], pointer: str, visited: set[Any]) -> list[Any]:
    """The decent synsets one step further, not seen before; an indecent one also ends the way through it."""
    found: list[Any] = []
    for synset in level:
        for further in sorted(getattr(synset, pointer)(), key=_commonness):
            if further not in visited and is_decent_synset(further):
                visited.add(further)
                found.append(further)
    return found


def _commonness(synset: Any) -> tuple[int, int, str]:
    """Sorts common words first, of equals the one with more kinds below it ("edible nut" before "cembra nut").

    The name comes last: NLTK keeps pointers in sets, whose order differs from process to process.
    """
    return -sum(lemma.count() for lemma in synset.lemmas()), -len(synset.hyponyms()), synset.name()


def _sisters(sense: Any) -> Iterator[tuple[Any, str, int]]:
    visited = {sense}
    for above in _next([sense], "hypernyms", visited):
        yield from ((synset, "sister", 2) for synset in _next([above], "hyponyms", visited))


def _lemmas(synset: Any, relation: str, depth: int, sense: Any, entry: Entry, wordnet: Any) -> Iterator[Word]:
    for lemma in synset.lemmas():
        bare = text = lemma.name().replace("_", " ")
        if text.casefold().replace(" ", "_") == entry.noun or not is_decent_lemma(lemma, wordnet):
            continue
        if entry.modifier and not text.casefold().startswith(f"{entry.modifier} "):
            text = f"{entry.modifier} {text}"
        yield Word(
            text=text,
            bare=bare,
            synset=synset.name(),
            relation=relation,
            depth=depth,
            root=sense.name(),
            thing=sense.lexname() in _THINGS,
        )
