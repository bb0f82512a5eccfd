"""The arm `augment`: k + m plain geometric and photometric augmentations, the control that generation has to beat."""

from __future__ import annotations

from fewgood.arms.base import AddedImage, ArmInputs, TrainingSet
from fewgood.data.augmentation import augment as augment_image

__all__ = ["augment"]


def augment(inputs: ArmInputs) -> TrainingSet:
    """The support images and m augmented views of them; candidate i of the pool is drawn on the same view, or turned."""
    k = len(inputs.support)
    added = [
        AddedImage(
            augment_image(inputs.support[i % k], inputs.seed, i, inputs.kind),
            {"arm": "augment", "source": inputs.support_names[i % k], "index": i},
        )
        for i in range(inputs.count)
    ]
    return TrainingSet(inputs.support, added)
