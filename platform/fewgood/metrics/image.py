"""Image metrics: how well scores separate defective images from good ones."""

from __future__ import annotations

import numpy as np

from fewgood.errors import BaselineError

__all__ = ["image_metrics"]


def image_metrics(defect: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Image AUROC, AUPR and F1-max, by scikit-learn's definitions.

    A test set with one class only has no such metric: the result is then empty, never NaN or zero.

    Args:
        defect: (N,) bool, True for a defective image.
        scores: (N,) finite, higher is more anomalous; their scale does not matter.

    Returns:
        `image_auroc`: area under the ROC curve, ties counted half.
        `image_aupr`: area under the precision-recall curve as average precision (no interpolation), the sum that
        anomalib and torchmetrics approach by trapezoids. Its floor is the share of defects, so compare it within one test set.
        `image_f1_max`: the largest F1 over all thresholds. It is found with the test labels, as is usual in the
        field, so it is a ceiling and not what a threshold chosen beforehand would reach.

    Raises:
        BaselineError: Lengths differ or a score is not finite.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    defect, scores = np.asarray(defect, dtype=bool), np.asarray(scores, dtype=np.float64)
    if defect.shape != scores.shape or defect.ndim != 1:
        raise BaselineError(f"{scores.shape} scores do not fit {defect.shape} labels, allowed is one score per image")
    if not np.isfinite(scores).all():
        raise BaselineError(f"{int((~np.isfinite(scores)).sum())} of {len(scores)} image scores are not finite")
    if defect.all() or not defect.any():
        return {}
    precision, recall, _ = precision_recall_curve(defect, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).tiny)
    return {
        "image_auroc": float(roc_auc_score(defect, scores)),
        "image_aupr": float(average_precision_score(defect, scores)),
        "image_f1_max": float(f1.max()),
    }
