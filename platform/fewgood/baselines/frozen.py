"""What a frozen backbone makes of images: computed once, kept by the images' content, the same bits from cache or not.

An image goes through the backbone alone and on one thread, so its maps do not depend on which images are beside it, nor
on which of them are kept already. (In a batch they do: PyTorch takes another convolution from 16 images on.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from fewgood.baselines.detection import Context
from fewgood.baselines.images import batches, to_batch
from fewgood.baselines.threads import each_on_one_thread
from fewgood.specs import digest

__all__ = ["FrozenFeatures", "images_digest"]

_AT_ONCE = 16
"""Images between two reports of progress."""


def images_digest(images: Sequence[np.ndarray]) -> str:
    """The name of images by their content and order."""
    return digest([_content(image) for image in images])


class FrozenFeatures:
    """The maps of some layers of a frozen backbone, with the cache that the detector was given."""

    def __init__(
        self,
        extractor: Callable[[torch.Tensor], Mapping[str, torch.Tensor]],
        context: Context,
        *,
        backbone: str,
        weights_digest: str,
        layers: Sequence[str],
        image_size: int,
    ) -> None:
        """`extractor` maps (B, 3, image_size, image_size) to {layer: (B, C, h, w)} and is in evaluation mode."""
        self._extractor, self._context = extractor, context
        self._layers, self._size = tuple(layers), image_size
        self._key: dict[str, Any] = {
            "kind": "backbone-maps",
            "backbone": backbone,
            "weights_digest": weights_digest,
            "image_size": image_size,
            "precision": "float32",
        }

    def test(self, images: Sequence[np.ndarray], batch_size: int) -> Iterator[tuple[slice, dict[str, torch.Tensor]]]:
        """The test images' maps in batches: (place, {layer: (B, C, h, w)}) on the context's device."""
        cache, name = self._context.cache, self._context.test_digest
        kept = None
        if cache is not None and name is not None:
            kept = self._kept(name, lambda: self._alone(images), keep=True)
        for start in range(0, len(images), batch_size):
            place = slice(start, min(start + batch_size, len(images)))
            found = self._alone(images[place]) if kept is None else {name: maps[place] for name, maps in kept.items()}
            yield place, {layer: maps.to(self._context.device) for layer, maps in found.items()}

    def train(self, images: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """The training images' maps, {layer: (N, C, h, w)} on the CPU.

        The data set's own images are kept as a set whatever their order, so that every arm and seed finds them.
        """
        if self._context.cache is None:
            return self._alone(images)
        good = min(self._context.good_images, len(images))
        found = [self._set(part, keep) for part, keep in ((images[:good], True), (images[good:], False)) if len(part)]
        return {layer: torch.cat([part[layer] for part in found]) for layer in self._layers}

    def train_in_batches(self, images: Sequence[np.ndarray], batch_size: int) -> dict[str, torch.Tensor]:
        """As `train`, but in passes of `batch_size` images, and kept under the whole list's content and order.

        For a detector that trains on the maps for many steps: these magnify a difference in the last digit.
        """

        def compute() -> dict[str, torch.Tensor]:
            parts: dict[str, list[torch.Tensor]] = {layer: [] for layer in self._layers}
            with torch.no_grad():
                for _, batch in batches(images, self._size, batch_size, normalize=True, device=self._context.device):
                    for layer, maps in self._extractor(batch).items():
                        parts[layer].append(maps.cpu())
            return {layer: torch.cat(maps) for layer, maps in parts.items()}

        if self._context.cache is None:
            return compute()
        name = digest([images_digest(images), min(batch_size, len(images)), torch.get_num_threads()])
        return self._kept(name, compute, keep=self._context.good_images >= len(images))

    def _set(self, images: Sequence[np.ndarray], keep: bool) -> dict[str, torch.Tensor]:
        """The maps of images that are kept as a set: each different image once, in the order of their digests."""
        names = [_content(image) for image in images]
        different = dict(zip(names, images, strict=True))
        order = sorted(different)
        found = self._kept(digest(order), lambda: self._alone([different[name] for name in order]), keep=keep)
        rows = [order.index(name) for name in names]
        return {layer: maps[rows] for layer, maps in found.items()}

    def _kept(
        self, images: str, compute: Callable[[], dict[str, torch.Tensor]], *, keep: bool
    ) -> dict[str, torch.Tensor]:
        """Each layer's maps from the cache; of layers that lack, all are computed in one go."""
        cache = self._context.cache
        assert cache is not None, "only called with a cache"
        computed: dict[str, torch.Tensor] = {}

        def layer_maps(layer: str) -> dict[str, np.ndarray]:
            if not computed:
                computed.update(compute())
            return {"maps": computed[layer].numpy()}

        return {
            layer: torch.from_numpy(
                cache.get({**self._key, "layer": layer, "images": images}, partial(layer_maps, layer), keep=keep)[
                    "maps"
                ]
            )
            for layer in self._layers
        }

    def _alone(self, images: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """{layer: (N, C, h, w)} on the CPU, each image in a pass of its own."""
        device = self._context.device

        def one(place: int) -> dict[str, torch.Tensor]:
            found = self._extractor(to_batch([images[place]], self._size, normalize=True).to(device))
            return {layer: maps.cpu() for layer, maps in found.items()}

        kept: dict[str, torch.Tensor] = {}
        for start in range(0, len(images), _AT_ONCE):
            places = range(start, min(start + _AT_ONCE, len(images)))
            # Streams of an accelerator are in order anyway.
            found = each_on_one_thread(one, places) if device.type == "cpu" else _without_gradients(one, places)
            for place, maps in zip(places, found, strict=True):
                for layer in self._layers:
                    if layer not in kept:
                        kept[layer] = torch.empty((len(images), *maps[layer].shape[1:]))
                    kept[layer][place] = maps[layer][0]
            if len(images) > _AT_ONCE:
                self._context.progress("baseline embed", places.stop, len(images))
        return kept


@torch.no_grad()
def _without_gradients(
    work: Callable[[int], dict[str, torch.Tensor]], places: Sequence[int]
) -> list[dict[str, torch.Tensor]]:
    return [work(place) for place in places]


def _content(image: np.ndarray) -> str:
    """A digest of an image's shape and pixels, 32 hexadecimal characters."""
    found = hashlib.blake2b(f"{image.dtype.str} {image.shape} ".encode(), digest_size=16)
    found.update(np.ascontiguousarray(image).tobytes())
    return found.hexdigest()
