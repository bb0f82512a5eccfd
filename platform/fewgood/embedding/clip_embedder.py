"""An open_clip model as an `Embedder`: preprocessing, batches, unit norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fewgood.embedding.files import tensor_digest

__all__ = ["ClipEmbedder"]

_BATCH = 32


class ClipEmbedder:
    """Images and texts in the space of one open_clip model, in float32.

    Every text is padded to the model's context length and every image brought to one size, so an embedding does not
    depend on what shares its batch (to about 1e-6, the arithmetic's own noise).

    Args:
        name: the model and its weights, for people.
        model: an open_clip model; it is moved to `device`, frozen and switched to inference.
        preprocess: PIL image to a (3, h, w) tensor, as open_clip makes it for evaluation.
        tokenizer: list of texts to a (N, L) tensor of token ids.
        device: where the model runs.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        preprocess: Callable[[Image.Image], Tensor],
        tokenizer: Callable[[list[str]], Tensor],
        device: torch.device,
    ) -> None:
        self.name = name
        self.weights_digest = tensor_digest(model.state_dict())
        self._model = model.to(device).eval().requires_grad_(False)
        self._preprocess = preprocess
        self._tokenizer = tokenizer
        self._device = device

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Embed uint8 (H, W, 3) RGB images; returns (N, D) float32 of unit norm, in the order given."""
        return self._encode(
            images,
            lambda part: torch.stack([self._preprocess(Image.fromarray(image)) for image in part]),
            self._model.encode_image,
        )

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts; returns (N, D) float32 of unit norm, in the order given. Long texts are cut at the end."""
        return self._encode(texts, lambda part: self._tokenizer(list(part)), self._model.encode_text)

    def _encode(
        self, inputs: Sequence[Any], prepare: Callable[[Sequence[Any]], Tensor], encode: Callable[[Tensor], Tensor]
    ) -> np.ndarray:
        if not inputs:
            return np.zeros((0, self._width()), dtype=np.float32)
        parts: list[np.ndarray] = []
        with torch.inference_mode():
            for start in range(0, len(inputs), _BATCH):
                batch = prepare(inputs[start : start + _BATCH]).to(self._device)
                features_BD = torch.nn.functional.normalize(encode(batch).float(), dim=-1)
                parts.append(features_BD.cpu().numpy())
        return np.concatenate(parts)

    def _width(self) -> int:
        with torch.inference_mode():
            return int(self._model.encode_text(self._tokenizer([""]).to(self._device)).shape[-1])
