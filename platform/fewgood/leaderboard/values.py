"""Values of a ledger row, read so that nulls, NaN, text in a number's place and damaged JSON do no harm."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["integer", "json_object", "number", "optional_text", "test_images", "text"]


def test_images(row: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[bool, ...], tuple[float, ...]]:
    """(names, whether each is a defect, scores) of the test images, sorted by name; empty where they do not agree."""
    names = [str(name) for name in row.get("test_names") or ()]
    labels = [str(label) for label in row.get("test_labels") or ()]
    raw = list(row.get("test_scores") or ())
    if not names or not len(names) == len(labels) == len(raw):
        return (), (), ()
    order = sorted(range(len(names)), key=lambda index: names[index])
    scores = [number(raw[index]) for index in order]
    known = [score for score in scores if score is not None]
    return (
        tuple(names[index] for index in order),
        tuple(labels[index] != "good" for index in order),
        tuple(known) if len(known) == len(scores) else (),
    )


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if value is None or isinstance(value, str):
        return None
    found = float(value)
    return found if math.isfinite(found) else None


def integer(value: Any) -> int | None:
    """A finite number cut to a whole one, or None."""
    found = number(value)
    return None if found is None else int(found)


def text(value: Any) -> str:
    """Text; empty for null."""
    return "" if value is None else str(value)


def optional_text(value: Any) -> str | None:
    """Text, or None for null."""
    return None if value is None else str(value)


def json_object(value: Any) -> dict[str, Any]:
    """A JSON object, or an empty one for what is none: a damaged cell costs its own value, not the whole leaderboard."""
    if isinstance(value, Mapping):
        return dict(value)
    if not isinstance(value, str) or not value:
        return {}
    try:
        loaded = json.loads(value)
    except json.JSONDecodeError:
        return {}
    return loaded if isinstance(loaded, dict) else {}
