"""Images as streams: a zip of PNG files, arrays for NumPy, or JSON, each written as the images come.

No writer holds more than one image in memory. A stream that breaks off is noticed: a zip or npz has no directory then, and the
JSON document no end. The JSON is written one image a line, so that it can be read line by line too.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from PIL import Image

from fewgood_serve.names import Reference
from fewgood_serve.painter import Drawn
from fewgood_serve.schemas import ImageRecord

__all__ = ["MEDIA_TYPES", "Sent", "encode", "encode_whole", "record_of"]

MEDIA_TYPES = {"zip": "application/zip", "npz": "application/zip", "json": "application/json"}

_DATE = (1980, 1, 1, 0, 0, 0)
"""The time of every file in a zip: the same images are the same bytes."""
JSON_HEAD = '{"images": [\n'
JSON_TAIL = "\n]}\n"


@dataclass(frozen=True)
class Sent:
    """One image on its way out."""

    record: ImageRecord
    png: bytes


def record_of(drawn: Drawn, reference: Reference, *, seed: int, prompt: str, variance: float) -> ImageRecord:
    """How an image was made."""
    return ImageRecord(
        index=drawn.index,
        seed=seed,
        prompt=prompt,
        score=drawn.score,
        generator=reference.name,
        version=reference.version,
        variance=variance,
        source=drawn.source,
    )


class _Sink(io.RawIOBase):
    """Takes what a zip writes and gives it out in pieces; it cannot seek, so that sizes follow the data."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._written += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._written

    def take(self) -> bytes:
        pieces, self._pieces = b"".join(self._pieces), []
        return pieces


class _Writer:
    """The three formats behind one interface."""

    def __init__(self, name: str) -> None:
        self._format = name
        self._records: list[dict[str, Any]] = []
        self._sink = _Sink()
        self._zip = None if name == "json" else zipfile.ZipFile(cast(Any, self._sink), "w", zipfile.ZIP_STORED)
        if name == "json":
            self._sink.write(JSON_HEAD.encode())

    def add(self, image: Sent) -> bytes:
        number = len(self._records)
        record = image.record.model_dump(mode="json")
        if self._format == "json":
            text = json.dumps({**record, "png": base64.b64encode(image.png).decode()}, ensure_ascii=False)
            self._sink.write((",\n" if number else "").encode() + text.encode())
        elif self._format == "zip":
            self._file(f"{number:05d}.png", image.png)
        else:
            self._array(f"image_{number:05d}", np.asarray(Image.open(io.BytesIO(image.png)).convert("RGB")))
        self._records.append(record)
        return self._sink.take()

    def end(self) -> bytes:
        if self._zip is None:
            self._sink.write(JSON_TAIL.encode())
            return self._sink.take()
        if self._format == "zip":
            lines = [{"file": f"{number:05d}.png", **record} for number, record in enumerate(self._records)]
            self._file("images.json", json.dumps(lines, indent=1, ensure_ascii=False).encode())
        else:
            self._array("index", np.array([record["index"] for record in self._records], dtype=np.int64))
            self._array("score", np.array([record["score"] for record in self._records], dtype=np.float64))
            self._array("source", np.array([record["source"] for record in self._records], dtype=np.int64))
            first = self._records[0] if self._records else {}
            for name in ("seed", "version", "variance", "prompt", "generator"):
                self._array(name, np.array(first.get(name)))
        self._zip.close()
        return self._sink.take()

    def leave(self) -> None:
        """Give up: a stream that breaks off gets no directory, also not when the zip is collected."""
        if self._zip is not None:
            self._zip.fp = None

    def _file(self, name: str, content: bytes) -> None:
        assert self._zip is not None
        info = zipfile.ZipInfo(name, date_time=_DATE)
        info.external_attr = 0o644 << 16
        self._zip.writestr(info, content)

    def _array(self, name: str, value: np.ndarray) -> None:
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, value, allow_pickle=False)
        self._file(f"{name}.npy", buffer.getvalue())


async def encode(images: AsyncGenerator[Sent], name: str) -> AsyncGenerator[bytes]:
    """The bytes of images in a format, piece by piece."""
    writer = _Writer(name)
    try:
        async for image in images:
            yield writer.add(image)
        yield writer.end()
    finally:
        writer.leave()


def encode_whole(images: Iterator[Sent], name: str) -> Iterator[bytes]:
    """The same of images that are there already."""
    writer = _Writer(name)
    try:
        for image in images:
            yield writer.add(image)
        yield writer.end()
    finally:
        writer.leave()
