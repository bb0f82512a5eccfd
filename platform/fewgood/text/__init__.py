"""From a keyword and a few images to the prompt that describes the part (method.md, section 1)."""

from __future__ import annotations

from fewgood.text.keyword import clean_keyword
from fewgood.text.ranking import rank_prompts
from fewgood.text.records import PromptCandidate, PromptRanking
from fewgood.text.wordnet import ensure_wordnet

__all__ = ["PromptCandidate", "PromptRanking", "clean_keyword", "ensure_wordnet", "rank_prompts"]
