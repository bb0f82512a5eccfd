"""Published values to set beside our own, with what is known of how they were measured; never in one ranking with ours.

They were measured on other support images, mostly with other backbones and image sizes. `published.json` holds them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from fewgood.leaderboard.runs import METRICS

__all__ = ["PublishedValue", "published"]

_FILE = Path(__file__).with_name("published.json")

_SHOTS = ("few", "full")
"""Besides a number of shots: a paper's own "few" without the number, and all good training images."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "year": (int,),
    "image_size": (int, type(None)),
    "value": (float,),
    "with_generation": (bool,),
}
"""Field -> its types where they are not text."""


@dataclass(frozen=True, kw_only=True)
class PublishedValue:
    """One number of one publication.

    Attributes:
        source: Authors, title or venue, and where in it the number stands.
        year: Of the publication.
        arxiv: Its number on arXiv.
        method: The detector.
        dataset: As the ledger names it.
        scope: What the number is a mean of.
        shots: A number, "few" or "full".
        backbone: As the source names it, or "not stated".
        image_size: Pixels, or None where it is not stated.
        metric: A column of the ledger.
        value: In [0, 1].
        with_generation: Whether generated images were added to the support images.
        protocol: What is known of the measurement.
        unknown: What is not, which is why the number stands beside a ranking and not in it.
    """

    source: str
    year: int
    arxiv: str
    method: str
    dataset: str
    scope: str
    shots: str
    backbone: str
    image_size: int | None
    metric: str
    value: float
    with_generation: bool
    protocol: str
    unknown: str

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PublishedValue:
        """Read one entry of the file.

        Raises:
            ValueError: if a field is missing, unknown, empty, of another type or out of its range.
        """
        names = {item.name for item in fields(cls)}
        if set(document) != names:
            raise ValueError(f"a published value has the fields {sorted(names)}, not {sorted(document)}")
        for name in names:
            found = document[name]
            if type(found) not in _TYPES.get(name, (str,)) or found == "":
                raise ValueError(f"{name} of a published value cannot be {found!r}")
        value = cls(**document)
        if not 0 <= value.value <= 1:
            raise ValueError(f"the value {value.value} of {value.source} is no share in [0, 1]")
        if value.metric not in METRICS:
            raise ValueError(f"the metric {value.metric} of {value.source} is none of {', '.join(METRICS)}")
        if not value.shots.isdigit() and value.shots not in _SHOTS:
            raise ValueError(f"the shots {value.shots} of {value.source} are neither a number nor one of {_SHOTS}")
        return value


def published(dataset: str | None = None, shots: str | int | None = None) -> list[PublishedValue]:
    """The published values of a dataset and a number of shots, in the order of the file.

    Args:
        dataset: As the ledger names it; None for all.
        shots: As the ledger writes it ("1", "full"), or "few", which some papers say without a number; None for all.

    Returns:
        The values; none where nothing is known.
    """
    return [item for item in _read() if dataset in (None, item.dataset) and (shots is None or str(shots) == item.shots)]


@cache
def _read() -> tuple[PublishedValue, ...]:
    return tuple(PublishedValue.from_json(item) for item in json.loads(_FILE.read_text(encoding="utf-8")))
