"""Writes the sample set once below the home folder, in MVTec layout, safely under concurrency and interruption."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from fewgood.data.sample.canvas import VERSION
from fewgood.data.sample.drawing import draw, file_names
from fewgood.errors import StoreError

__all__ = ["sample_root"]

_log = logging.getLogger(__name__)


def sample_root(home: Path, category: str) -> Path:
    """The folder above the sample's categories, with `category` drawn: `home/data/sample-v1`.

    A category is drawn into a temporary folder beside its place and renamed when complete, so what exists is complete,
    an interrupted drawing is done again, and of several processes that draw at once one wins and the others use its files.

    Args:
        home: Where fewgood keeps everything.
        category: One of `fewgood.data.sample.CATEGORIES`.

    Raises:
        StoreError: When the home folder cannot be written.
    """
    root = home / "data" / f"sample-v{VERSION}"
    target = root / category
    if target.is_dir():
        return root
    try:
        root.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{category}-", dir=root))
    except OSError as error:
        raise StoreError(
            f"{root} cannot be written ({error.strerror}), where the sample set is drawn: choose another --home"
        ) from error
    try:
        _log.info("drawing the sample category %s into %s", category, target)
        _write(scratch, category)
        scratch.chmod(0o755)
        try:
            scratch.rename(target)
        except OSError as error:
            if not target.is_dir():  # else another process was first, with the same bytes
                raise StoreError(f"{target} cannot be written ({error.strerror}): choose another --home") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return root


def _write(folder: Path, category: str) -> None:
    try:
        for name, split, label, number in file_names(category):
            image, mask = draw(category, split, label, number)
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path, compress_level=6)
            if mask is not None:
                truth = folder / "ground_truth" / label / f"{path.stem}_mask.png"
                truth.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask.astype(np.uint8) * 255).save(truth)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written ({error.strerror}), where the sample set is drawn: free some space or choose "
            f"another --home"
        ) from error
