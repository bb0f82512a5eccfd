"""The parts of anomalib that the baselines are built from, imported once with the import's own noise kept quiet."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # anomalib imports all of its models at once, and some of them use names that timm and anomalib deprecate.
    warnings.simplefilter("ignore")
    from anomalib.models.components import KCenterGreedy, TimmFeatureExtractor
    from anomalib.models.image.cflow.torch_model import CflowModel
    from anomalib.models.image.cflow.utils import get_logp, positional_encoding_2d
    from anomalib.models.image.efficient_ad.torch_model import (
        EfficientAdModel,
        EfficientAdModelSize,
        MediumPatchDescriptionNetwork,
        SmallPatchDescriptionNetwork,
        reduce_tensor_elems,
    )
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel
    from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode
    from anomalib.models.image.reverse_distillation.loss import ReverseDistillationLoss
    from anomalib.models.image.reverse_distillation.torch_model import ReverseDistillationModel

__all__ = [
    "AnomalyMapGenerationMode",
    "CflowModel",
    "EfficientAdModel",
    "EfficientAdModelSize",
    "KCenterGreedy",
    "MediumPatchDescriptionNetwork",
    "PatchcoreModel",
    "ReverseDistillationLoss",
    "ReverseDistillationModel",
    "SmallPatchDescriptionNetwork",
    "TimmFeatureExtractor",
    "get_logp",
    "positional_encoding_2d",
    "reduce_tensor_elems",
]
