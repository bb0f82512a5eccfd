"""What the keyword-to-prompt generator returns: candidates with both stages' scores, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["PromptCandidate", "PromptRanking"]


@dataclass(frozen=True, kw_only=True)
class PromptCandidate:
    """One candidate prompt, what it comes from and how it fared."""

    word: str
    """The word in the prompt, modifier included."""
    prompt: str
    """The text that is embedded."""
    synset: str | None
    """WordNet's sense of the word; for the keyword the sense that the image prefers; None without WordNet."""
    relation: str
    """keyword, synonym, hypernym, hyponym, sister or template."""
    depth: int
    """Steps in WordNet from the keyword's sense."""
    text_distance: float | None
    """Stage 1: cosine distance of the word without modifier to the keyword's prompt, 0 to 2; None for
    templates."""
    image_similarity: float | None
    """Stage 2: cosine to the mean embedding of the support images, -1 to 1."""
    dropped: str | None
    """Why stage 1 dropped it; None when it was kept."""


@dataclass(frozen=True, kw_only=True)
class PromptRanking:
    """All candidates of a keyword: the kept ones by image similarity, then the dropped ones likewise."""

    keyword: str
    """As it was read, cleaned."""
    best: PromptCandidate
    """The kept candidate nearest to the images."""
    candidates: tuple[PromptCandidate, ...]
    note: str | None
    """What a user should know about how the keyword was found in WordNet."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "keyword": self.keyword,
            "best": asdict(self.best),
            "candidates": [asdict(candidate) for candidate in self.candidates],
            "note": self.note,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PromptRanking:
        """The inverse of `to_json`."""
        return cls(
            keyword=values["keyword"],
            best=PromptCandidate(**values["best"]),
            candidates=tuple(PromptCandidate(**candidate) for candidate in values["candidates"]),
            note=values["note"],
        )
