"""Which WordNet senses are never embedded or shown: vulgar, obscene, slurs, disparaging, explicitly sexual, drugs."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["is_decent_lemma", "is_decent_synset"]

_DOMAINS = frozenset(
    {"disparagement.n.01", "ethnic_slur.n.01", "obscenity.n.02", "vulgarism.n.01", "profanity.n.01", "dirty_word.n.01"}
)
_SEXUAL = frozenset(
    {"sexual_activity.n.01", "reproductive_organ.n.01", "gonad.n.01", "genitalia.n.01", "male_reproductive_gland.n.01"}
)
# WordNet marks few senses with a domain; in the others the definition says it ("disparaging terms for ...").
_DEFINITION = re.compile(
    r"\bstreet names? for\b|\(ethnic slur\)|\bslur on\b|\(disparaging\)|terms? of (contempt|abuse)"
    r"|\b(offensive|obscene|vulgar|disparaging|derogatory|insulting|insulted|contemptuous)\b[^;,]{0,24}"
    r"\b(terms?|names?|words?|expressions?|references?)\b"
)


def is_decent_synset(synset: Any) -> bool:
    """Whether a sense may be used.

    Ours: not when its usage domain is a vulgarism, an obscenity, an ethnic slur or a disparagement, not when its
    definition says so, and not when it is sexual anatomy, a sexual act or a street
    name of a drug.
    """
    domains = {domain.name() for domain in synset.usage_domains()}
    if domains & _DOMAINS or _DEFINITION.search(synset.definition()):
        return False
    above = {step.name() for path in synset.hypernym_paths() for step in path}
    return not above & _SEXUAL


def is_decent_lemma(lemma: Any, wordnet: Any) -> bool:
    """Whether a word may be shown as a candidate.

    Ours: not when the word itself has such a domain, nor when any of its noun senses is one and no decent sense is
    more frequent, as for a word that most readers would take as the insult.
    """
    if {domain.synset().name() for domain in lemma.usage_domains()} & _DOMAINS:
        return False
    decent, indecent = -1, -1
    for other in wordnet.lemmas(lemma.name(), "n"):
        if is_decent_synset(other.synset()):
            decent = max(decent, other.count())
        else:
            indecent = max(indecent, other.count())
    return indecent < 0 or decent > indecent
