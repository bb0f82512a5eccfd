"""The arms that add generated images: those that the integrator chooses (`generate`), or any (`generate-random`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fewgood.arms.base import AddedImage, ArmInputs, Candidate, TrainingSet
from fewgood.seeds import stream_seed
from fewgood.selection import select_covering, select_random, select_top

__all__ = ["generate", "generate_random"]


def generate(inputs: ArmInputs) -> TrainingSet:
    """The support images and the m candidates that the text-guided integrator chooses.

    Paper (section 3.4): those that fit the prompt best. Ours: of a share of the candidates that fit it best, those that
    cover most of what the support images have not.
    """
    scores = [candidate.score for candidate in inputs.candidates if candidate.score is not None]
    if len(scores) < len(inputs.candidates):
        raise ValueError("the arm generate needs scored candidates")
    kept = select_top(scores, max(inputs.count, math.ceil(round(inputs.text_share * len(scores), 6))))
    if len(kept) > inputs.count:
        if inputs.patches is None:
            raise ValueError("coverage needs patch features")
        found = inputs.patches([*inputs.support, *(inputs.candidates[index].image for index in kept)])
        held = len(inputs.support)
        kept = [kept[place] for place in select_covering(found[held:], found[:held], inputs.count)]
    return _chosen(inputs, "generate", kept)


def generate_random(inputs: ArmInputs) -> TrainingSet:
    """The support images and m candidates picked at random from the same pool: the control for the integrator."""
    seed = stream_seed(inputs.seed, "generate-random")
    return _chosen(inputs, "generate-random", select_random(len(inputs.candidates), inputs.count, seed))


def _chosen(inputs: ArmInputs, arm: str, picks: Sequence[int]) -> TrainingSet:
    return TrainingSet(inputs.support, [_added(inputs, arm, inputs.candidates[pick]) for pick in picks])


def _added(inputs: ArmInputs, arm: str, candidate: Candidate) -> AddedImage:
    return AddedImage(
        candidate.image,
        {
            "arm": arm,
            "source": inputs.support_names[candidate.source],
            "index": candidate.index,
            "prompt": inputs.prompt,
            "score": candidate.score,
        },
    )
