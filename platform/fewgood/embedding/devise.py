"""DeViSE in closed form: a linear map from image features to text embeddings, fitted on a classifier's own rows.

Source: Frome et al. 2013, "DeViSE: A Deep Visual-Semantic Embedding Model". Ours: the closed form, fitted on the rows of
the classifier in place of images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["ClassTexts", "LinearMap", "fit", "held_out_scores", "imagenet_texts", "mean_feature"]

RIDGE = 1.0
"""Weight of the squared norm of the map; the held-out accuracy is flat from about 0.6 to 2."""
FOLDS = 5
"""The 1,000 classes are held out in this many parts, so each fit sees 800 and is tested on the other 200."""
SHUFFLES = 5
"""Times that the classes are cut into folds anew."""


@dataclass(frozen=True, kw_only=True)
class ClassTexts:
    """What ImageNet's classes are called, in the order of the classifier's rows; each tuple has 1,000 texts."""

    names: tuple[str, ...]
    """With the first name only: what the held-out score asks for."""
    synonyms: tuple[str, ...]
    """With all names of the WordNet synset."""
    definitions: tuple[str, ...]
    """With all names and the synset's definition."""


@dataclass(frozen=True)
class LinearMap:
    """`weight @ feature + bias` is the text embedding that a feature points to, up to its length."""

    weight: np.ndarray
    """(D, C)."""
    bias: np.ndarray
    """(D,)."""


def imagenet_texts() -> ClassTexts:
    """Names and definitions of ImageNet-1k's classes, which timm carries."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    synsets = info.label_names()
    lemmas = [info.label_name_to_description(synset) for synset in synsets]
    detailed = [info.label_name_to_description(synset, detailed=True) for synset in synsets]
    return ClassTexts(
        names=tuple(f"a photo of a {text.split(',')[0]}" for text in lemmas),
        synonyms=tuple(f"a photo of a {text}" for text in lemmas),
        definitions=tuple(f"a photo of a {text}" for text in detailed),
    )


def fit(rows: np.ndarray, targets: np.ndarray, feature_mean: np.ndarray) -> LinearMap:
    """Solve the ridge regression from centred, normalised classifier rows to text embeddings.

    Args:
        rows: (K, C) classifier rows, one per class.
        targets: (K, D) text embeddings of the same classes, unit norm.
        feature_mean: (C,) mean image feature; it is subtracted before the map, which spreads the images' embeddings.

    Returns:
        The map for raw image features: the mean is folded into its bias.
    """
    directions_KC = _unit(rows - rows.mean(axis=0))
    # The dual form solves a (K, K) system, smaller than (C, C).
    gram_KK = directions_KC @ directions_KC.T
    dual_KD = np.linalg.solve(gram_KK + RIDGE * np.eye(len(rows)), targets - targets.mean(axis=0))
    weight_DC = (directions_KC.T @ dual_KD).T
    return LinearMap(weight_DC, -weight_DC @ feature_mean)


def held_out_scores(rows: np.ndarray, targets: np.ndarray, names: np.ndarray) -> tuple[float, float]:
    """Zero-shot accuracy on classes that the fit did not see.

    The classes are shuffled and cut into five folds. For each, the map is fitted on the other 800 classes, and each of
    the 200 held-out rows is compared with the 200 held-out names; chance is 0.005 and 0.025. One shuffle's accuracy
    differs by .015 from another's, so the mean over five is taken.

    Args:
        rows: (K, C) classifier rows.
        targets: (K, D) text embeddings that the map is fitted to.
        names: (K, D) embeddings of the names that have to be found.

    Returns:
        (top-1, top-5) accuracy, each the mean over all folds of all shuffles.
    """
    ranks: list[np.ndarray] = []
    for seed in range(SHUFFLES):
        order = np.random.default_rng(seed).permutation(len(rows))
        for held_out in np.array_split(order, FOLDS):
            seen = np.setdiff1d(order, held_out)
            solution = fit(rows[seen], targets[seen], np.zeros(rows.shape[1]))
            images_ND = _unit(_unit(rows[held_out] - rows[seen].mean(axis=0)) @ solution.weight.T)
            cosine_NN = images_ND @ _unit(names[held_out] - targets[seen].mean(axis=0)).T
            ranks.append((cosine_NN > np.diag(cosine_NN)[:, None]).sum(axis=1))
    rank = np.concatenate(ranks)
    return float((rank == 0).mean()), float((rank < 5).mean())


def mean_feature(state_dict: dict[str, Any]) -> np.ndarray:
    """The mean pooled feature of an ImageNet image, (C,) float64, without any image.

    Ours: the last batch norm fixes mean and spread of every channel over ImageNet; the mean of a normal variable after
    ReLU6 has a closed form.
    """
    from scipy.stats import norm

    mean = state_dict["bn2.bias"].double().numpy()
    spread = np.abs(state_dict["bn2.weight"].double().numpy()) + 1e-12

    def rectified(shift: np.ndarray) -> np.ndarray:
        return np.asarray(shift * norm.cdf(shift / spread) + spread * norm.pdf(shift / spread))

    return np.asarray(rectified(mean) - rectified(mean - 6.0))


def _unit(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))
