"""Drawing and scoring the images of a promoted generator: the one loop that the server, its jobs and offline use share.

Image `index` of seed `seed` is what a trial of that seed draws as candidate `index`: a view of a support image, the latent
noise of (seed, index), and the integrator's score against the promoted prompt. Every pass has a fixed number of rows, filled up
by repetition: an image's bytes depend on that number, the threads and the hardware, and on nothing that is drawn beside it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fewgood.embedding import Embedder, load_embedder
from fewgood.errors import StoreError
from fewgood.generator import Drawing, draw_images, load_generator
from fewgood.selection import score_candidates
from fewgood.stages.embedding_model import embedding_identity
from fewgood.stages.pool import Bases, noise_seed
from fewgood_serve.bundle import read_bundle

__all__ = ["Drawn", "Painter", "Wanted", "png"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One image that is asked for."""

    seed: int
    index: int
    variance: float | None = None
    """w, the factor on the latent standard deviation; None takes the promoted one."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One image that was drawn."""

    index: int
    png: bytes
    """A PNG file of (H, W, 3)."""
    score: float
    """Similarity between its expected embedding and the prompt, -1 to 1."""
    source: int
    """Number of the support image that it was drawn around."""


class Painter:
    """A promoted generator, loaded and ready to draw."""

    def __init__(
        self, folder: Path, *, home: Path, device: torch.device, rows: int = 1, embedder: Embedder | None = None
    ) -> None:
        """Load a bundle.

        Args:
            folder: The bundle.
            home: Where the image-text model is kept.
            device: Where the arrays live.
            rows: Images per pass through the networks; 1 or more.
            embedder: The image-text model if it is loaded already.

        Raises:
            StoreError: if the bundle is not whole, or was promoted with another image-text model than the one here.
            AssetError: if the image-text model's weights are not on this machine.
        """
        self.bundle = read_bundle(folder)
        self.rows = rows
        self._generator = load_generator(folder, device=device)
        self._bases = Bases.of(self.bundle.support, self.bundle.sampling, kind=self.bundle.kind)
        self.embedder = embedder or load_embedder(self.bundle.embedding, home=home, device=device)
        if embedding_identity(self.bundle.embedding) != self.bundle.embedding_identity:
            raise StoreError(
                f"the bundle in {folder} was promoted with other weights of {self.bundle.embedding.model} than this machine has: "
                "place the same weights here, or promote it again from here"
            )
        self._prompt = self.embedder.encode_texts([self.bundle.prompt])[0]

    @property
    def prompt(self) -> str:
        """What images are scored against."""
        return self.bundle.prompt

    def draw(self, wanted: Sequence[Wanted]) -> list[Drawn]:
        """Draw and score images, `rows` at a time, in the order asked for."""
        drawn: list[Drawn] = []
        for start in range(0, len(wanted), self.rows):
            drawn += self._draw(wanted[start : start + self.rows])
        return drawn

    def _draw(self, wanted: Sequence[Wanted]) -> list[Drawn]:
        bundle = self.bundle
        drawings = [
            Drawing(
                base=self._bases.base(one.seed, one.index),
                index=one.index,
                seed=noise_seed(one.seed),
                scale=bundle.sampling.scale if one.variance is None else one.variance,
                light=bundle.sampling.light,
            )
            for one in wanted
        ]
        samples = bundle.sampling.latent_samples
        draws = draw_images(
            self._generator, drawings, mode=bundle.sampling.mode, latent_samples=samples, rows=self.rows
        )
        filled = [*draws, *[draws[-1]] * (self.rows - len(draws))]
        embeddings = self.embedder.encode_images([image for one in filled for image in one])
        # One by one: a product over all rows would round a row by its place among them.
        scores = [score_candidates(one[None], self._prompt)[0] for one in embeddings.reshape(len(filled), samples, -1)]
        return [
            Drawn(index=one.index, png=png(images[0]), score=float(score), source=one.index % len(bundle.support))
            for one, images, score in zip(wanted, draws, scores, strict=False)
        ]


def png(image: np.ndarray) -> bytes:
    """A PNG file of a uint8 (H, W, 3) image; the same image gives the same bytes on one version of Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
