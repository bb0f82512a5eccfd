"""Stage `prompts`: the keyword and the support images to a ranking of text prompts (method.md, section 1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from fewgood.errors import SpecError
from fewgood.specs import plain
from fewgood.stages.context import Context, Node
from fewgood.stages.embedding_model import embedding_identity
from fewgood.store import Artifact, ArtifactKey
from fewgood.text import PromptRanking, rank_prompts

__all__ = ["STAGE", "VERSION", "keyword_of", "prompts_node", "read_prompts"]

STAGE = "prompts"
VERSION = 1
_FILE = "prompts.json"


def prompts_node(context: Context) -> Node:
    """The ranking of `context`'s keyword on its support images."""
    spec = context.spec
    keyword = keyword_of(context)

    def create(folder: Path, _: Mapping[str, Artifact]) -> None:
        context.progress(STAGE, 0, 1, f"keyword {keyword!r}")
        ranking = rank_prompts(
            keyword, context.support_images, spec.prompts, context.embedder, home=context.store.home.root
        )
        (folder / _FILE).write_text(json.dumps(ranking.to_json(), indent=1))
        context.progress(STAGE, 1, 1, ranking.best.prompt)

    key = ArtifactKey(
        STAGE,
        VERSION,
        {
            "keyword": keyword,
            "spec": plain(spec.prompts),
            "embedding": embedding_identity(spec.embedding),
            "support": context.support.digest,
        },
    )
    return Node(key, create)


def read_prompts(artifact: Artifact) -> PromptRanking:
    """The ranking that the stage wrote."""
    return PromptRanking.from_json(artifact.read_json(_FILE))


def keyword_of(context: Context) -> str:
    """The word for the part: the user's, else the category's own.

    Raises:
        SpecError: if there is neither.
    """
    keyword = context.spec.prompts.keyword or context.category.keyword
    if not keyword:
        raise SpecError(
            f"category {context.category.name!r} of {context.category.dataset} has no word of its own: "
            "say what the part is with --keyword, for example --keyword 'metal nut'"
        )
    return keyword
