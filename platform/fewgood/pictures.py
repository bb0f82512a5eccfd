"""Pictures for the report, from the artifacts that the ledger's rows name: support, generated, and anomaly maps."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fewgood.data import Category, Item, load_category, read_image, read_mask
from fewgood.errors import FewgoodError, StoreError
from fewgood.leaderboard.report import CellPictures, render_report
from fewgood.store import ArtifactStore, Home

__all__ = ["SIDE", "cell_pictures", "report_html", "run_pictures", "write_report"]

SIDE = 224
"""Longest side of a picture in the report, pixels."""
_GENERATED = 12
_REJECTED = 4
_DETECTIONS = 8

logger = logging.getLogger(__name__)


def write_report(rows: Sequence[Mapping[str, Any]], home: Home, path: Path, *, title: str) -> None:
    """Write the HTML report of `rows`, complete or not at all.

    Raises:
        StoreError: if the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    text = report_html(rows, home, title=title)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"report {path} cannot be written ({error.strerror}): give another file") from error


def report_html(rows: Sequence[Mapping[str, Any]], home: Home, *, title: str) -> str:
    """The HTML report of `rows`, with the pictures that are still in the store."""
    return render_report(rows, title=title, pictures=cell_pictures(rows, home))


def cell_pictures(rows: Sequence[Mapping[str, Any]], home: Home) -> list[CellPictures]:
    """For each category the pictures of one run: the generated arm's with the highest proxy score, first seed.

    A category whose images or artifacts are no longer there is left out, with a line in the log.
    """
    chosen: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in sorted(rows, key=_preference):
        if row["status"] == "ok":
            chosen.setdefault((row["dataset"], row["category"]), row)
    pictures = []
    for (dataset, category), row in sorted(chosen.items()):
        try:
            pictures.append(run_pictures(row, home))
        except (FewgoodError, OSError, LookupError, ValueError, TypeError, AttributeError) as error:
            logger.warning("no pictures of %s/%s: %s", dataset, category, error)
    return pictures


def _preference(row: Mapping[str, Any]) -> tuple[Any, ...]:
    proxy = row["proxy_score"] if row["proxy_score"] is not None else -1.0
    return (row["arm"] != "generate", row["arm"] != "generate-random", -proxy, row["seed"], row["run_id"])


def run_pictures(row: Mapping[str, Any], home: Home, *, side: int = SIDE) -> CellPictures:
    """The pictures of one run, from its data and from artifacts by their hash.

    Args:
        row: A finished row of the ledger.
        home: Whose artifacts are read.
        side: Longest side of a picture, pixels; a smaller image keeps its size.

    Raises:
        DataError: if the category's images are no longer where the row says.
        OSError: if an artifact is no longer in the store.
    """
    data = json.loads(row["spec_json"])["data"]
    stages = json.loads(row["stages_json"])
    root = None if data["root"] is None else Path(data["root"])
    category = load_category(data["dataset"], data["category"], root=root, home=home.root)
    training = _artifact(home, "training_set", stages["training_set"]["artifacts"][0])
    if training is None:
        raise FileNotFoundError(f"the run's training set is no longer in the store of {home.root}")
    origins = json.loads((training / "training_set.json").read_text())
    generated = [
        (_png(read_image(training / entry["file"]), side), _caption(entry, origins["prompt"]))
        for entry in origins["added"][:_GENERATED]
    ]
    by_name = {item.name: item for item in category.train}
    support = [by_name[name] for name in row["support_files"] if name in by_name]
    return CellPictures(
        label=f"{row['dataset']}/{row['category']} ({row['arm']}, seed {row['seed']})",
        support=[_png(read_image(item.path), side) for item in support[:_DETECTIONS]],
        generated=generated,
        rejected=_rejected(origins["rejected"], stages, home, side),
        detections=_detections(row, stages, category, home, side),
    )


def _artifact(home: Home, stage: str, digest: str) -> Path | None:
    """An artifact's folder, fetched where only a shared store has it; None if it is gone."""
    found = ArtifactStore(home).open(stage, digest)
    return None if found is None else found.path


def _rejected(
    rejected: Sequence[Mapping[str, Any]], stages: Mapping[str, Any], home: Home, side: int
) -> list[tuple[bytes, str]]:
    """The candidates that the integrator scored lowest."""
    scored = sorted((entry for entry in rejected if entry["score"] is not None), key=lambda entry: entry["score"])
    found: list[tuple[bytes, str]] = []
    chunks = [_artifact(home, "pool", name) for name in stages.get("pool", {}).get("artifacts", ())]
    folders = [folder for folder in chunks if folder is not None]
    for entry in scored[:_REJECTED]:
        path = next((p for folder in folders if (p := folder / f"{entry['index']:05d}-0.png").is_file()), None)
        if path is not None:
            found.append((_png(read_image(path), side), f"score {entry['score']:.3f}"))
    return found


def _detections(
    row: Mapping[str, Any], stages: Mapping[str, Any], category: Category, home: Home, side: int
) -> list[tuple[bytes, bytes, bytes | None, str]]:
    folder = _artifact(home, "detector", stages["detector"]["artifacts"][0])
    if folder is None or not (folder / "maps.npz").is_file():
        return []
    with np.load(folder / "maps.npz") as stored:
        indices, maps = stored["index"].tolist(), stored["maps"].astype(np.float32)
    low, high = float(np.quantile(maps, 0.02)), float(np.quantile(maps, 0.998))
    # Defects first, one of each type before a second of any; one good image to compare with.
    order = sorted(range(len(indices)), key=lambda n: (not category.test[indices[n]].is_defect, n % 2, n))
    good = [n for n in order if not category.test[indices[n]].is_defect][:1]
    shown = [n for n in order if category.test[indices[n]].is_defect][: _DETECTIONS - 1] + good
    pictures = []
    for number in shown:
        item = category.test[indices[number]]
        image = read_image(item.path)
        heat = _overlay(image, (maps[number] - low) / max(high - low, 1e-9))
        score = row["test_scores"][indices[number]]
        pictures.append(
            (_png(image, side), _png(heat, side), _mask_png(item, image, side), f"{item.label}, score {score:.3f}")
        )
    return pictures


def _overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The anomaly map in colour over its image, both uint8 (H, W, 3); `heat` is 0 to 1."""
    from matplotlib import colormaps

    size = (image.shape[1], image.shape[0])
    resized = Image.fromarray((np.clip(heat, 0, 1) * 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    colour = colormaps["inferno"](np.asarray(resized) / 255.0)[..., :3] * 255.0
    return np.asarray(0.45 * image + 0.55 * colour, dtype=np.uint8)


def _mask_png(item: Item, image: np.ndarray, side: int) -> bytes | None:
    if item.mask is None:
        return None
    mask = read_mask(item, image.shape[:2])
    return _png(np.repeat((mask * 255).astype(np.uint8)[..., None], 3, axis=2), side)


def _caption(entry: Mapping[str, Any], prompt: str | None) -> str:
    if entry.get("score") is not None:
        return f"{prompt}, score {entry['score']:.3f}"
    return f"from {Path(str(entry.get('source', 'the support set'))).name}"


def _png(image: np.ndarray, side: int) -> bytes:
    picture = Image.fromarray(image)
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
