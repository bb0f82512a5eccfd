"""A training set as a folder that other tools read: MVTec layout, a contact sheet, one JSON line per image."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fewgood.data import read_image, write_image
from fewgood.errors import StoreError
from fewgood.stages.context import Context
from fewgood.stages.training_set import read_origins
from fewgood.store import Artifact
from fewgood.store.home import no_space

__all__ = ["check_target", "contact_sheet", "export_training_set"]

_TILE = 160
"""Side of a picture on the contact sheet, pixels."""
_COLUMNS = 8


def check_target(out: Path) -> None:
    """Refuse a target before anything is computed.

    Raises:
        StoreError: if `out` exists and is not an empty folder, or cannot be made.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"--out {out} exists and is not empty: give a folder that does not exist yet")
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        probe = out.absolute().parent / f".{out.name}.{uuid.uuid4().hex}"
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise StoreError(f"--out {out} cannot be made ({error.strerror}): give a folder that can be written") from error


def export_training_set(context: Context, artifact: Artifact, out: Path) -> dict[str, Any]:
    """Write a training set under `out/<category>/train/good`, complete or not at all.

    `images.jsonl` beside `train` says of each file what it is: support or added, its source, prompt, score and index.

    Returns:
        Paths and counts, as plain JSON.

    Raises:
        StoreError: if the folder cannot be written.
    """
    origins = read_origins(artifact)
    partial = out.absolute().parent / f".{out.name}.{uuid.uuid4().hex}"
    category = partial / context.category.name
    good = category / "train" / "good"
    pictures: list[tuple[str, np.ndarray]] = []
    try:
        good.mkdir(parents=True)
        lines: list[dict[str, Any]] = []
        for number, (item, image) in enumerate(zip(context.support.items, context.support_images, strict=True)):
            name = f"support-{number:05d}.png"
            write_image(good / name, image)
            lines.append({"file": f"train/good/{name}", "role": "support", "source": item.name})
            pictures.append(("support", image))
        for number, entry in enumerate(origins["added"]):
            name = f"{context.spec.arm}-{number:05d}.png"
            image = read_image(artifact.path / entry["file"])
            write_image(good / name, image)
            rest = {key: value for key, value in entry.items() if key != "file"}
            lines.append({"file": f"train/good/{name}", "role": "added", **rest, "seed": context.spec.seed})
            score = entry.get("score")
            pictures.append((context.spec.arm if score is None else f"score {score:.3f}", image))
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (category / "images.jsonl").write_text(text, encoding="utf-8")
        (category / "spec.json").write_text(json.dumps(context.spec.to_json(), indent=1), encoding="utf-8")
        contact_sheet(pictures).save(category / "contact_sheet.png")
        if out.is_dir():
            out.rmdir()  # empty, or check_target would have refused it
        partial.rename(out)
    except OSError as error:
        reason = "no space left" if no_space(error) else str(error.strerror or error)
        raise StoreError(f"--out {out} cannot be written ({reason}): free some space or give another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    folder = out / context.category.name
    return {
        "images": str(folder / "train" / "good"),
        "lines": str(folder / "images.jsonl"),
        "contact_sheet": str(folder / "contact_sheet.png"),
        "support_images": len(context.support_images),
        "added_images": len(origins["added"]),
        "prompt": origins["prompt"],
    }


def contact_sheet(pictures: list[tuple[str, np.ndarray]], *, limit: int = 64) -> Image.Image:
    """Pictures in rows of eight with a caption under each; at most `limit` of them.

    Args:
        pictures: (caption, uint8 (H, W, 3)) pairs.
        limit: How many are shown.
    """
    shown = pictures[:limit]
    columns = min(_COLUMNS, max(len(shown), 1))
    rows = -(-len(shown) // columns)
    cell = _TILE + 20
    sheet = Image.new("RGB", (columns * (_TILE + 8) + 8, rows * (cell + 8) + 8), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (caption, image) in enumerate(shown):
        x = 8 + (number % columns) * (_TILE + 8)
        y = 8 + (number // columns) * (cell + 8)
        picture = Image.fromarray(image)
        picture.thumbnail((_TILE, _TILE))
        sheet.paste(picture, (x + (_TILE - picture.width) // 2, y + (_TILE - picture.height) // 2))
        draw.text((x + 2, y + _TILE + 3), caption, fill="black")
    return sheet
