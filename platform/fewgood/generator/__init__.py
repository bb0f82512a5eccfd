"""The variance-aware image generator (method.md, section 2; paper: arXiv 2403.06247, section 3.2)."""

from __future__ import annotations

from fewgood.generator.checkpoint import file_digest
from fewgood.generator.sampling import (
    CandidateBatch,
    Drawing,
    Generator,
    draw_images,
    load_generator,
    sample_candidates,
)
from fewgood.generator.training import TrainingReport, train_generator

__all__ = [
    "CandidateBatch",
    "Drawing",
    "Generator",
    "TrainingReport",
    "file_digest",
    "draw_images",
    "load_generator",
    "sample_candidates",
    "train_generator",
]
