"""Image files outside a dataset's layout: the ones in a folder, and one to write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fewgood.data.images import EXTENSIONS
from fewgood.errors import DataError

__all__ = ["image_files", "write_image"]


def image_files(path: Path) -> list[Path]:
    """The image files directly in a folder, sorted by name; or the one file that `path` is.

    Raises:
        DataError: when there is nothing at `path`, or it may not be read.
    """
    path = path.expanduser()
    if path.is_file():
        return [path]
    try:
        found = [
            entry
            for entry in path.iterdir()
            if entry.is_file() and entry.suffix.lower() in EXTENSIONS and not entry.name.startswith(".")
        ]
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): give a folder of images, or one image") from error
    return sorted(found)


def write_image(path: Path, image: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB as a PNG; the same pixels give the same bytes."""
    Image.fromarray(image).save(path, format="PNG", compress_level=3)
