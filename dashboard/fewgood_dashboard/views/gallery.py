"""Gallery: a run's support images, what was generated from them, and what its detector sees on defects."""

from __future__ import annotations

import io
from collections.abc import Sequence

import streamlit as st
from PIL import Image

from fewgood.errors import FewgoodError
from fewgood.leaderboard.formats import plain_text
from fewgood.leaderboard.report import CellPictures
from fewgood.pictures import run_pictures
from fewgood_dashboard import address, parts, queries
from fewgood_dashboard.source import Source

__all__ = ["render", "zoomed"]

_SIDE = 640
"""Longest side of a picture that is sent to the browser, pixels."""
_ZOOMED_SIDE = 720
_ACROSS = 6


def render(source: Source) -> None:
    """Choose a category and a run of it; look at its pictures, and closer at one."""
    datasets = source.kept(("pictured",), lambda: queries.pictured(source.index))
    if not datasets:
        st.info("No run has finished yet, so there is nothing to look at.")
        return
    columns = st.columns([2, 3])
    names = [f"{dataset}/{category}" for dataset, category in datasets]
    name = address.choose("Category", names, "cell", show=plain_text, where=columns[0])
    dataset, category = datasets[names.index(name)]
    runs = queries.gallery_runs(source.index, dataset, category)
    by_entry = {row["entry"]: row for row in runs}
    entry = address.choose("Run", list(by_entry), "run", show=lambda key: _label(by_entry[key]), where=columns[1])
    pictures = _pictures(source, entry)
    if pictures is None:
        return
    _support(pictures)
    _generated(pictures)
    _detections(pictures)
    _closer(pictures)


def _pictures(source: Source, entry: str) -> CellPictures | None:
    def compute() -> CellPictures | str:
        rows = source.index.rows([entry])
        if not rows:
            return "the run's ledger file is no longer there"
        try:
            return run_pictures(rows[0], source.home, side=_SIDE)
        except (
            FewgoodError,
            OSError,
            LookupError,
            ValueError,
            TypeError,
            AttributeError,
            Image.DecompressionBombError,
        ) as error:
            return str(error) or type(error).__name__

    found = source.kept(("pictures", entry), compute)
    if isinstance(found, str):
        st.info("The pictures of this run cannot be shown: its images or artifacts are not on this machine (any more).")
        st.text(plain_text(found))
        st.caption(
            "The command on the page Runs makes them again; `fewgood dashboard --home` names the home that holds artifacts."
        )
        return None
    return found


def _support(pictures: CellPictures) -> None:
    st.subheader("Support set")
    st.caption("The good images that everything is made from.")
    _grid([(image, "") for image in pictures.support])


def _generated(pictures: CellPictures) -> None:
    st.subheader("Added to the training set")
    if not pictures.generated:
        st.caption("This arm adds no images.")
        return
    st.caption(
        "Prompt and the integrator's score under each generated image; for other arms, the image it was made from."
    )
    _grid(pictures.generated)
    if pictures.rejected:
        with st.expander(f"Generated and not kept, the lowest scores first ({len(pictures.rejected)})"):
            _grid(pictures.rejected)


def _detections(pictures: CellPictures) -> None:
    st.subheader("What the detector sees")
    if not pictures.detections:
        st.caption("This detector keeps no anomaly maps.")
        return
    st.caption("Test image, anomaly map over it (dark to bright), and the true defect where the dataset has a mask.")
    for start in range(0, len(pictures.detections), 2):
        for place, (image, heat, mask, caption) in zip(
            st.columns(2), pictures.detections[start : start + 2], strict=False
        ):
            with place:
                parts_of = [image, heat, *([mask] if mask is not None else [])]
                for column, shown in zip(st.columns(3), parts_of, strict=False):
                    column.image(shown, width="stretch")
                st.caption(parts.escaped(caption))


def _closer(pictures: CellPictures) -> None:
    st.subheader("Look closer")
    known: dict[str, tuple[bytes, ...]] = {}
    for number, image in enumerate(pictures.support, 1):
        known[f"support {number}"] = (image,)
    for number, (image, _) in enumerate(pictures.generated, 1):
        known[f"added {number}"] = (image, *pictures.support[:1])
    for number, (image, heat, mask, _) in enumerate(pictures.detections, 1):
        known[f"test {number}"] = (image, heat, *([mask] if mask is not None else []))
    if not known:
        return
    columns = st.columns(4)
    name = address.choose("Image", list(known), "image", where=columns[0])
    factor = address.number("Zoom", 1, 8, "zoom", default=1, where=columns[1])
    across = address.number("From the left, %", 0, 100, "x", default=50, where=columns[2])
    down = address.number("From the top, %", 0, 100, "y", default=50, where=columns[3])
    for column, image in zip(st.columns(3), known[name], strict=False):
        column.image(zoomed(image, factor, across / 100, down / 100), width="stretch")
    st.caption(
        "The same part of each picture; pixels are repeated, not smoothed. An added image stands beside the first support image."
    )


def zoomed(image: bytes, factor: int, across: float, down: float) -> bytes:
    """A part of a PNG, enlarged without smoothing.

    Args:
        image: The PNG.
        factor: The part is 1 / factor of the image wide and high; from 1.
        across: Where the part lies from left to right, 0 to 1.
        down: Where it lies from top to bottom, 0 to 1.

    Returns:
        A PNG whose longest side is 720 pixels.
    """
    with Image.open(io.BytesIO(image)) as opened:
        picture = opened.convert("RGB")
    width, height = max(1, picture.width // factor), max(1, picture.height // factor)
    left, top = round((picture.width - width) * across), round((picture.height - height) * down)
    part = picture.crop((left, top, left + width, top + height))
    scale = _ZOOMED_SIDE / max(part.size)
    size = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
    stream = io.BytesIO()
    part.resize(size, Image.Resampling.NEAREST).save(stream, format="PNG")
    return stream.getvalue()


def _grid(items: Sequence[tuple[bytes, str]]) -> None:
    for start in range(0, len(items), _ACROSS):
        for column, (image, caption) in zip(st.columns(_ACROSS), items[start : start + _ACROSS], strict=False):
            column.image(image, width="stretch")
            if caption:
                column.caption(parts.escaped(caption))


def _label(row: dict[str, object]) -> str:
    count = f" +{row['count']}" if row["count"] is not None else ""
    return plain_text(
        f"{row['arm']}{count}, seed {row['seed']}, {row['baseline']}, {row['shots']}-shot ({str(row['config_hash'])[:8]})"
    )
