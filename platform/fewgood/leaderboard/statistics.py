"""Means and paired differences of configurations with 95 % intervals over seeds and, where possible, test images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from fewgood.leaderboard.bootstrap import (
    LEVEL,
    Floats,
    Resample,
    auroc,
    auroc_replicates,
    content_seed,
    pooled_interval,
    seed_counts,
)
from fewgood.leaderboard.runs import Configuration, Run
from fewgood.specs import GENERATE_ALONE

__all__ = [
    "TIE",
    "Estimate",
    "WinTieLoss",
    "choose",
    "difference",
    "estimate",
    "partner",
    "pool",
    "win_tie_loss",
]

TIE = 0.0005
"""Differences up to this size print as 0.000 to +/-0.001 and count as a tie."""

IMAGE_METRIC = "image_auroc"
"""The metric whose interval also resamples the test images: the ledger holds its scores per image."""

_SCORE_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds, or over cells, with its interval.

    Attributes:
        mean: The mean; None where no run has the metric.
        low: Lower end, at most `mean`; None where no interval can be given.
        high: Upper end, at least `mean`; None where no interval can be given.
        values: What the mean is taken over, in the order of `over`.
        over: The seeds, or the labels of the cells.
        resampled: "seeds and test images", "seeds" or "nothing".
        note: Why something is missing, as a sentence without its full stop.
        unpaired: Seeds that only one of the two arms has, or that do not share support and test images.
        parts: One `Resample` per cell, from which estimates are pooled.
        level: Coverage that the interval aims at.
    """

    mean: float | None
    low: float | None
    high: float | None
    values: tuple[float, ...]
    over: tuple[str, ...]
    resampled: str
    note: str | None = None
    unpaired: int = 0
    parts: tuple[Resample, ...] = ()
    level: float = LEVEL

    @property
    def verdict(self) -> str:
        """For a difference: "higher", "lower", "unclear" (the interval holds zero), "no interval" or "missing"."""
        if self.mean is None:
            return "missing"
        if self.low is None or self.high is None:
            return "no interval"
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "unclear"

    def negated(self) -> Estimate:
        """A difference seen from its other side."""
        return replace(
            self,
            mean=None if self.mean is None else -self.mean,
            low=None if self.high is None else -self.high,
            high=None if self.low is None else -self.low,
            values=tuple(-value for value in self.values),
            parts=tuple(
                Resample(-part.values, None if part.replicates is None else -part.replicates, part.counts)
                for part in self.parts
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """The estimate as plain JSON, without its replicates."""
        document: dict[str, Any] = {
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "values": list(self.values),
            "over": list(self.over),
            "resampled": self.resampled,
        }
        if self.level != LEVEL:
            document["level"] = self.level
        if self.note:
            document["note"] = self.note
        return document


@dataclass(frozen=True, kw_only=True)
class WinTieLoss:
    """In how many cells one arm is above, level with or below another, and in how many of them that is certain."""

    wins: int
    ties: int
    losses: int
    certain_wins: int
    certain_losses: int


def estimate(runs: Sequence[Run], metric: str, *, level: float = LEVEL) -> Estimate:
    """The mean of `metric` over the seeds of one configuration in one cell.

    Args:
        runs: Finished runs of one cell, one per seed.
        metric: A key of `Run.metrics`.
        level: Coverage that the interval aims at, in (0, 1).

    Returns:
        The estimate in [0, 1]; without an interval for fewer than two seeds.
    """
    having = sorted((run for run in runs if metric in run.metrics), key=lambda run: run.seed)
    if not having:
        return _missing(f"no finished run has {metric}")
    rows = [_replicated(run) if metric == IMAGE_METRIC else None for run in having]
    values = np.array([run.metrics[metric] for run in having])
    return _estimate(values, _stack(rows), having, bounds=(0.0, 1.0), level=level)


def difference(runs: Sequence[Run], against: Sequence[Run], metric: str, *, level: float = LEVEL) -> Estimate:
    """The mean paired difference `runs - against` of `metric` over the seeds that both have.

    Two runs are a pair when seed, support files (unless one arm is `full`) and test images are the same.

    Args:
        runs: Finished runs of one configuration in one cell, one per seed.
        against: The same of the other configuration.
        metric: A key of `Run.metrics`.
        level: Coverage that the interval aims at, in (0, 1).

    Returns:
        The estimate in [-1, 1]; `unpaired` counts the seeds that were dropped.
    """
    left = {run.seed: run for run in runs if metric in run.metrics}
    right = {run.seed: run for run in against if metric in run.metrics}
    pairs = [
        (left[seed], right[seed]) for seed in sorted(left.keys() & right.keys()) if _paired(left[seed], right[seed])
    ]
    unpaired = len(left.keys() | right.keys()) - len(pairs)
    if not pairs:
        return _missing("no seed has both arms on the same support and test images", unpaired=unpaired)
    values = np.array([one.metrics[metric] - other.metrics[metric] for one, other in pairs])
    rows: list[Floats | None] = []
    for one, other in pairs:
        first, second = (_replicated(one), _replicated(other)) if metric == IMAGE_METRIC else (None, None)
        rows.append(None if first is None or second is None else first - second)
    seeds = [one for one, _ in pairs]
    return _estimate(values, _stack(rows), seeds, bounds=(-1.0, 1.0), unpaired=unpaired, level=level)


def pool(estimates: Sequence[tuple[str, Estimate]], *, bounds: tuple[float, float], level: float = LEVEL) -> Estimate:
    """The mean over cells of estimates of one quantity, every cell weighing the same.

    Args:
        estimates: (label of the cell, its estimate); cells without a mean are left out and named in the note.
        bounds: Smallest and largest value that the quantity can take.
        level: Coverage that the interval aims at, in (0, 1), whatever the levels of the cells' own intervals.

    Returns:
        The pooled estimate; no interval when a cell has a single seed. The cells are taken as given: the interval
        speaks of these categories only.
    """
    known = [(label, item, item.mean) for label, item in estimates if item.mean is not None]
    absent = [label for label, item in estimates if item.mean is None]
    unpaired = sum(item.unpaired for _, item in estimates)
    if not known:
        return _missing("no cell has this value", unpaired=unpaired)
    parts = tuple(part for _, item, _ in known for part in item.parts)
    interval = pooled_interval(parts, bounds=bounds, level=level)
    single = [label for label, item, _ in known if len(item.values) < 2]
    notes = []
    if single:
        notes.append(f"no interval: one seed only in {', '.join(single)}")
    if absent:
        notes.append(f"without {', '.join(absent)}, where it is missing")
    kinds = {item.resampled for _, item, _ in known}
    return Estimate(
        mean=math.fsum(mean for _, _, mean in known) / len(known),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        values=tuple(mean for _, _, mean in known),
        over=tuple(label for label, _, _ in known),
        resampled="nothing" if interval is None else kinds.pop() if len(kinds) == 1 else "seeds",
        note="; ".join(notes) or None,
        unpaired=unpaired,
        parts=parts,
        level=level,
    )


def win_tie_loss(differences: Sequence[Estimate]) -> WinTieLoss:
    """Count wins, ties (up to `TIE`) and losses over cells; certain ones have an interval on one side of zero."""
    means = [item.mean for item in differences if item.mean is not None]
    verdicts = [item.verdict for item in differences]
    return WinTieLoss(
        wins=sum(mean > TIE for mean in means),
        ties=sum(abs(mean) <= TIE for mean in means),
        losses=sum(mean < -TIE for mean in means),
        certain_wins=verdicts.count("higher"),
        certain_losses=verdicts.count("lower"),
    )


def choose(candidates: Sequence[Configuration], select_on: str) -> tuple[Configuration, str | None]:
    """Pick the configuration that stands for its arm, never by a test score unless the study was selected on it.

    Args:
        candidates: One arm's configurations in one cell, at least one.
        select_on: "proxy": the highest mean proxy score; "test": the highest mean test AUROC; "fixed", or where a
            proxy score is missing: the one with most seeds, then the one that was run last.

    Returns:
        The configuration, and a sentence on how it was picked where there was a choice.
    """
    finished = [item for item in candidates if item.runs] or list(candidates)
    if len(finished) == 1:
        return finished[0], None
    arm, total = finished[0].arm, len(finished)
    if select_on == "proxy" and all(item.proxy is not None for item in finished):
        best = max(finished, key=lambda item: (item.proxy or 0.0, item.config_hash))
        return best, f"{arm}: {total} configurations, shown is {best.config_hash[:8]} with the highest proxy score"
    if select_on == "test":
        best = max(finished, key=lambda item: (item.mean(IMAGE_METRIC) or 0.0, item.config_hash))
        return best, (
            f"{arm}: {total} configurations, shown is {best.config_hash[:8]}, the best on the test images: its value "
            "and its gain are too good by that choice"
        )
    best = max(
        finished,
        key=lambda item: (len(item.runs), max((run.started_utc for run in item.runs), default=""), item.config_hash),
    )
    return (
        best,
        f"{arm}: {total} configurations, shown is {best.config_hash[:8]}, the one with most seeds and then the latest",
    )


def partner(
    configuration: Configuration, candidates: Sequence[Configuration], select_on: str
) -> tuple[Configuration, str | None] | None:
    """The configuration of another arm that `configuration` is compared with: the same augmentation size first.

    Args:
        configuration: Whose partner is sought.
        candidates: The other arm's configurations in the same cell.
        select_on: How configurations were selected; decides among several partners that are equally close.

    Returns:
        The partner and a remark on it, or None when there is no candidate.
    """
    if not candidates:
        return None
    closeness = [_closeness(configuration, item) for item in candidates]
    nearest = [item for item, value in zip(candidates, closeness, strict=True) if value == max(closeness)]
    chosen, remark = choose(nearest, select_on)
    if None not in (chosen.count, configuration.count) and chosen.count != configuration.count:
        remark = (
            f"{configuration.arm} with {configuration.count} images is compared with {chosen.arm} with {chosen.count}: "
            "no run has the same number"
        )
    return chosen, remark


def _closeness(one: Configuration, other: Configuration) -> tuple[bool, bool, int]:
    """How close `other` is as a partner: finished, same augmentation size, settings shared.

    The settings are the spec's sections; where a row was read without its spec, they are what its columns say of them.
    """
    first, second = (_settings(item) for item in (one, other))
    if not all(any(run.spec for run in item.runs) for item in (one, other)):
        first, second = (_columns(item) for item in (one, other))
    shared = sum(first[name] == second[name] for name in first if first[name] is not None or second[name] is not None)
    return (bool(other.runs), one.count is None or one.count == other.count, shared)


def _settings(item: Configuration) -> dict[str, Any]:
    """The spec's sections, without what one arm alone depends on: another arm's row holds whichever value was run first."""
    sections = ("generator", "sampling", "selection", "prompts", "embedding", "precision")
    spec = item.runs[0].spec if item.runs else {}
    found = {name: spec.get(name) for name in sections}
    return {section: _shared(section, part) if isinstance(part, Mapping) else part for section, part in found.items()}


def _shared(section: str, part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if (section, name) not in GENERATE_ALONE}


def _columns(item: Configuration) -> dict[str, Any]:
    run = item.runs[0] if item.runs else None
    return {
        "prompt": run.prompt if run else None,
        "precision": (run.precision or None) if run else None,
        "study": run.study if run else None,
    }


def _estimate(
    values: Floats,
    replicates: Floats | None,
    runs: Sequence[Run],
    *,
    bounds: tuple[float, float],
    level: float,
    unpaired: int = 0,
) -> Estimate:
    seeds = [run.seed for run in runs]
    counts = seed_counts(content_seed(*_cell_content(runs[0]), "seeds", seeds), len(seeds))
    part = Resample(values, replicates, counts)
    interval = pooled_interval([part], bounds=bounds, level=level)
    return Estimate(
        mean=math.fsum(values.tolist()) / len(values),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        values=tuple(values.tolist()),
        over=tuple(str(seed) for seed in seeds),
        resampled="nothing" if interval is None else "seeds" if replicates is None else "seeds and test images",
        note=None if interval else "no interval: one seed only",
        unpaired=unpaired,
        parts=(part,),
        level=level,
    )


def _missing(note: str, *, unpaired: int = 0) -> Estimate:
    return Estimate(
        mean=None, low=None, high=None, values=(), over=(), resampled="nothing", note=note, unpaired=unpaired
    )


def _paired(one: Run, other: Run) -> bool:
    same_support = one.support_digest == other.support_digest or "full" in (one.arm, other.arm)
    return same_support and one.test_names == other.test_names and one.defects == other.defects


def _stack(rows: Sequence[Floats | None]) -> Floats | None:
    known = [row for row in rows if row is not None]
    return np.stack(known) if len(known) == len(rows) else None


def _cell_content(run: Run) -> tuple[str, ...]:
    return (run.dataset, run.category, run.data_fingerprint)


@lru_cache(maxsize=2048)
def _replicated(run: Run) -> Floats | None:
    """The run's AUROC under resamples of its images; None where its scores do not give the AUROC it recorded."""
    defect = np.array(run.defects, dtype=bool)
    if not run.scores or defect.all() or not defect.any():
        return None
    scores = np.array(run.scores)
    if abs(auroc(defect, scores) - run.metrics[IMAGE_METRIC]) > _SCORE_TOLERANCE:
        return None
    replicates = auroc_replicates(defect, scores, content_seed(*_cell_content(run), "images", run.test_names))
    replicates.flags.writeable = False
    return replicates
