"""A torch dataset whose images come from the server, a block at a time when they are first needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from fewgood_serve.client import Client, ServedImage

__all__ = ["ServedImages"]


class ServedImages(Dataset[Any]):
    """Images of one generator and seed; the same index is always the same image.

    Each worker of a DataLoader has a client of its own and keeps the blocks that it fetched.
    """

    def __init__(
        self,
        url: str,
        name: str,
        count: int,
        *,
        key: str | None = None,
        seed: int = 0,
        variance: float | None = None,
        transform: Callable[[np.ndarray], Any] | None = None,
        block: int = 32,
    ) -> None:
        """Note what is wanted, and pin the version that is the latest now.

        Args:
            url: The server.
            name: `NAME`, `NAME@latest` or `NAME@VERSION`.
            count: How many images.
            key: An API key.
            seed: The same seed gives the same images.
            variance: Factor on the latent standard deviation; None takes the promoted one.
            transform: Takes uint8 (H, W, 3); without it items are float32 (3, H, W) tensors in [0, 1].
            block: Images that are asked for together.

        Raises:
            ServiceError: if the server refuses, or cannot be reached after several tries.
        """
        self._url, self._key = url, key
        self._count, self._seed, self._variance, self._block = count, seed, variance, block
        self._transform = transform
        self._fetched: dict[int, list[ServedImage]] = {}
        self._client: Client | None = None
        self._process = os.getpid()
        self.card = self._connected().card(name)
        """The model card of the version that is drawn from."""
        self._name = f"{self.card.name}@{self.card.version}"

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        served = self.served(index)
        if self._transform is not None:
            return self._transform(served.image)
        return torch.from_numpy(served.image.copy()).permute(2, 0, 1).float() / 255.0

    def served(self, index: int) -> ServedImage:
        """Image `index` with how it was made.

        Raises:
            IndexError: if there are not so many.
        """
        if not -self._count <= index < self._count:
            raise IndexError(f"image {index} of {self._count}")
        number, offset = divmod(index % self._count, self._block)
        if number not in self._fetched:
            start = number * self._block
            self._fetched[number] = list(
                self._connected().images(
                    self._name,
                    min(self._block, self._count - start),
                    seed=self._seed,
                    start=start,
                    variance=self._variance,
                )
            )
        return self._fetched[number][offset]

    def close(self) -> None:
        """End the connection; the next image that is not there yet makes another."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self) -> Client:
        if self._client is None or self._process != os.getpid():  # a forked worker must not share a connection
            self._client, self._process = Client(self._url, self._key), os.getpid()
        return self._client

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None}
