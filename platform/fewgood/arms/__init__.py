"""The arms of a comparison: one builder each, from the same support set to the training set a detector is given."""

from fewgood.arms.base import AddedImage, ArmInputs, Candidate, TrainingSet
from fewgood.arms.registry import ARM_BUILDERS, build_training_set

__all__ = ["ARM_BUILDERS", "AddedImage", "ArmInputs", "Candidate", "TrainingSet", "build_training_set"]
