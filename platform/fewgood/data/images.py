"""Reads image and mask files strictly: whatever the file's depth, as 8-bit RGB; whatever is damaged, as one clear error."""

from __future__ import annotations

import contextlib
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from fewgood.data.items import Item
from fewgood.errors import ImageError

__all__ = ["EXTENSIONS", "decode", "mask_files", "read_image", "read_mask"]

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
"""Extensions that count as images, in lower case; compared without case."""

_LOSSY = frozenset({"JPEG", "MPO", "WEBP"})
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error, zlib.error)
"""What Pillow's decoders raise on damaged files."""


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read an image as 8-bit RGB, at the size it is stored with.

    16-bit images are scaled by 1/257 (their full range, so that brightness stays comparable between images), grey ones
    get three equal channels, palettes are resolved and transparency is dropped. An EXIF rotation is not applied, as in
    the field's own loaders: masks are drawn on the stored pixels. Of several frames the first is read.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ImageError: When the file is missing, unreadable, truncated or of a depth without a known range.
    """
    pixels, _ = decode(path)
    return pixels


def read_mask(item: Item, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Read an item's ground truth; all False when it has none.

    A pixel is defective when its mask is not zero: MVTec LOCO AD and VisA use small numbers, and antialiased edges count
    as defect. In lossy files (JPEG, WebP) it has to be 128 or more, since compression leaves noise around black.

    Args:
        item: The item; where its mask is a folder, the files in it are united.
        size: Height and width of the item's image.

    Returns:
        `(H, W)` bool.

    Raises:
        ImageError: When a mask is unreadable, or of another size than the image.
    """
    union = np.zeros(size, dtype=np.bool_)
    if item.mask is None:
        return union
    for path in mask_files(item.mask):
        pixels, lossy = decode(path, mask=True)
        if pixels.shape[:2] != size:
            raise ImageError(
                f"{path} is {pixels.shape[1]}x{pixels.shape[0]} pixels but its image {item.path} is {size[1]}x{size[0]}: "
                f"draw the mask on the image at its stored size, or remove the mask"
            )
        union |= pixels.max(axis=2) >= (128 if lossy else 1)
    return union


def mask_files(mask: Path) -> list[Path]:
    """The files of a mask, sorted: itself, or the images in it when it is a folder.

    Raises:
        ImageError: When the folder has no images.
    """
    if not mask.is_dir():
        return [mask]
    files = sorted(
        path for path in mask.iterdir() if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
    )
    if not files:
        raise ImageError(f"{mask} has no mask images in it: put them back from the dataset's archive")
    return files


def decode(path: Path, *, mask: bool = False) -> tuple[npt.NDArray[np.uint8], bool]:
    """Decode a file completely.

    Args:
        path: The file.
        mask: Keep every non-zero value of a deep image non-zero, instead of scaling it down to 8 bits.

    Returns:
        `(H, W, 3)` uint8 RGB, and whether the file's format is lossy.

    Raises:
        ImageError: As `read_image`.
    """
    try:
        with _strict_pillow(), Image.open(path) as image:
            image.load()
            return _to_rgb(path, image, mask=mask), image.format in _LOSSY
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist: put the file back or choose another root") from error
    except PermissionError as error:
        raise ImageError(f"{path} may not be read by this user: change its permissions") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} has too many pixels to be read ({error}): cut it into smaller images") from error
    except _DAMAGE as error:
        raise ImageError(
            f"{path} cannot be read as an image ({_reason(path, error)}): replace it with an intact file or remove it"
        ) from error


class _StrictPillow:
    """Pillow's process-wide switches set for strict reading, as long as any thread is inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._undo = contextlib.ExitStack()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._enter()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._undo.close()

    def _enter(self) -> None:
        # Another library may have asked Pillow to fill missing rows with grey; a half image must not enter a result.
        self._undo.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", ImageFile.LOAD_TRUNCATED_IMAGES)
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        self._undo.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # line-scan images are large


_strict_pillow = _StrictPillow()


def _to_rgb(path: Path, image: Image.Image, *, mask: bool) -> npt.NDArray[np.uint8]:
    if image.mode == "F":
        raise ImageError(f"{path} holds 32-bit floats, whose range is not known: save it with 8 or 16 bits per channel")
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0 or deep.max() > 65535:
            raise ImageError(
                f"{path} holds values from {deep.min()} to {deep.max()}, allowed are 0 to 65535: save it with 8 or 16 bits"
            )
        grey = np.minimum(deep, 255) if mask else np.rint(deep / 257.0)
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in ("P", "PA", "LA", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _reason(path: Path, error: BaseException) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty"
    text = " ".join(str(error).split())
    return "no image format that Pillow knows" if "cannot identify" in text else text or type(error).__name__
