"""The arms without a generator and without augmentation: `none`, `duplicate` and the ceiling `full`."""

from __future__ import annotations

from fewgood.arms.base import AddedImage, ArmInputs, TrainingSet

__all__ = ["duplicate", "full", "none"]


def none(inputs: ArmInputs) -> TrainingSet:
    """The k support images as they are."""
    return TrainingSet(inputs.support, [])


def duplicate(inputs: ArmInputs) -> TrainingSet:
    """The k images repeated to k + m: shows what the mere number of images does."""
    k = len(inputs.support)
    added = [
        AddedImage(inputs.support[i % k], {"arm": "duplicate", "source": inputs.support_names[i % k]})
        for i in range(inputs.count)
    ]
    return TrainingSet(inputs.support, added)


def full(inputs: ArmInputs) -> TrainingSet:
    """All good training images of the category: the ceiling of a k-shot cell."""
    chosen = set(inputs.support_names)
    added = [
        AddedImage(image, {"arm": "full", "source": name})
        for image, name in zip(inputs.all_good, inputs.all_good_names, strict=True)
        if name not in chosen
    ]
    return TrainingSet(inputs.support, added)
