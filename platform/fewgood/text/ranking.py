"""The keyword-to-prompt generator: WordNet candidates, text outliers out, the image chooses among the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fewgood.errors import DataError
from fewgood.specs import PromptSpec
from fewgood.text.candidates import Word, bare_prompt, candidate_words, prompt_for
from fewgood.text.keyword import clean_keyword, look_up
from fewgood.text.outliers import text_distances, text_outliers
from fewgood.text.records import PromptCandidate, PromptRanking
from fewgood.text.wordnet import load_wordnet

if TYPE_CHECKING:
    from fewgood.embedding import Embedder

__all__ = ["rank_prompts"]


def rank_prompts(
    keyword: str, images: Sequence[np.ndarray], spec: PromptSpec, embedder: Embedder, *, home: Path
) -> PromptRanking:
    """Rank prompts for a part by text and by its good images.

    Paper (2403.06247, keyword-to-prompt generator): related words from WordNet; stage 1 removes distance-based outliers
    of the text space; stage 2 takes the prompt whose embedding is most similar to the images'. Ours: the walk
    (`candidate_words`), the template, the centre and scale of stage 1 (`text_outliers`), and that the images are
    represented by the direction of their mean unit embedding. Equal scores keep WordNet's order, so the ranking is
    the same each time.

    Args:
        keyword: the part's name, as a user types it ("metal_nut").
        images: the support images, uint8 (H, W, 3) RGB; at least one.
        spec: how many words.
        embedder: the image-text space.
        home: where WordNet is kept when NLTK has none.

    Returns:
        The best prompt and all candidates with both stages' scores.

    Raises:
        SpecError: the keyword cannot be one.
        DataError: there is no image.
        AssetError: WordNet is not on this machine.
    """
    cleaned = clean_keyword(keyword)
    if not images:
        raise DataError(f"the prompts of {cleaned!r} are chosen by images and there is none: give at least one")
    wordnet = load_wordnet(home)
    entry = look_up(cleaned, wordnet)
    words = candidate_words(entry, spec.count, wordnet)
    texts_ND = embedder.encode_texts([prompt_for(word) for word in words])
    image_D = embedder.encode_images(images).astype(np.float64).mean(axis=0)
    similarity_N = texts_ND.astype(np.float64) @ (image_D / max(float(np.linalg.norm(image_D)), 1e-12))
    bare_ND = embedder.encode_texts([bare_prompt(word) for word in words]) if entry.modifier else texts_ND
    distance_N = text_distances(bare_ND)
    reasons = text_outliers(words, distance_N)
    candidates = [
        PromptCandidate(
            word=word.text,
            prompt=prompt_for(word),
            synset=word.synset,
            relation=word.relation,
            depth=word.depth,
            text_distance=None if word.relation == "template" else round(float(distance_N[index]), 6),
            image_similarity=round(float(similarity_N[index]), 6),
            dropped=reasons[index],
        )
        for index, word in enumerate(words)
    ]
    candidates[0] = replace(candidates[0], synset=_sense_of_keyword(words, candidates))
    # Python's sort is stable: ties stay in the order of the walk.
    ordered = sorted(candidates, key=lambda item: (item.dropped is not None, -(item.image_similarity or 0.0)))
    return PromptRanking(keyword=cleaned, best=ordered[0], candidates=tuple(ordered), note=entry.note)


def _sense_of_keyword(words: Sequence[Word], candidates: Sequence[PromptCandidate]) -> str | None:
    """The sense whose best kept word is nearest to the images: the keyword itself belongs to all its senses.

    Words more than a step away say little about the sense, and are asked only when there is no other.
    """
    kept = [index for index in range(1, len(words)) if words[index].root and candidates[index].dropped is None]
    near = [index for index in kept if words[index].depth <= 1] or kept
    if not near:
        return None
    return words[max(near, key=lambda index: (candidates[index].image_similarity or 0.0, -index))].root
