"""Differences of gains: between groups of cells, and between two measurements of the same seeds; and their words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fewgood.leaderboard.bootstrap import Resample, content_seed, pooled_interval, seed_counts
from fewgood.leaderboard.formats import format_interval
from fewgood.leaderboard.runs import Configuration
from fewgood.leaderboard.statistics import Estimate, estimate
from fewgood.specs import GENERATE_ALONE

__all__ = ["between", "judged", "paired", "settings", "spoken"]

_BOUNDS = (-2.0, 2.0)
"""A difference of two gains, each of them in [-1, 1]."""

_READ_BY = {
    "noise": ("generator", "sampling", "selection", "precision"),
    "generate-random": ("generator", "sampling", "selection", "precision"),
    "generate": ("generator", "sampling", "selection", "precision", "prompts", "embedding"),
}
"""Arm -> the parts of a spec that its training set depends on, besides the augmentation size (`TrialSpec.relevant`)."""


def between(first: Estimate, second: Estimate) -> Estimate:
    """The difference `first - second` of two means over cells, where no cell is in both.

    The cells' resamples are independent, so one weighted sum of them gives the interval: cells of the first mean enter
    with weight 1/a, those of the second with -1/b, and the degrees of freedom are those of all cells together.

    Args:
        first: A mean over a cells, or one cell's.
        second: A mean over b other cells.

    Returns:
        The estimate in [-2, 2]; without an interval where one of the two has none.
    """
    if first.mean is None or second.mean is None:
        return estimate([], "one of the two groups")
    total = len(first.parts) + len(second.parts)
    parts = (
        *(_weighted(part, total / len(first.parts)) for part in first.parts),
        *(_weighted(part, -total / len(second.parts)) for part in second.parts),
    )
    given = first.low is not None and second.low is not None
    return _of_parts(
        first.mean - second.mean,
        parts if given else (),
        (first, second),
        over=("first", "second"),
        note="a difference of two means",
    )


def paired(first: Estimate, second: Estimate, *content: object) -> Estimate:
    """The difference `first - second` of two quantities of one cell, over the seeds that both have.

    Args:
        first: Over the seeds of one cell.
        second: Another quantity over seeds of the same cell.
        content: What names the cell, from which its resamples are drawn where the two do not share all seeds.

    Returns:
        The estimate in [-2, 2]; without an interval for fewer than two seeds.
    """
    seeds = [seed for seed in first.over if seed in second.over]
    if not seeds:
        return estimate([], "both at the same seed")
    places = [[item.over.index(seed) for seed in seeds] for item in (first, second)]
    one, other = first.parts[0], second.parts[0]
    values = one.values[places[0]] - other.values[places[1]]
    replicates = None
    if one.replicates is not None and other.replicates is not None:
        replicates = one.replicates[places[0]] - other.replicates[places[1]]
    same = first.over == second.over
    counts = one.counts if same else seed_counts(content_seed(*content, "seeds", seeds), len(seeds))
    part = Resample(values, replicates, counts)
    return _of_parts(float(values.mean()), (part,), (first, second), over=tuple(seeds))


def judged(gap: Estimate, higher: str, lower: str, unclear: str) -> str:
    """One of three claims about a difference with its numbers, as its interval allows; without one, no claim."""
    if gap.mean is None:
        return "the difference is not measured"
    if gap.verdict == "no interval":
        return f"{unclear}: {spoken(gap)}, as there is one seed"
    return f"{ {'higher': higher, 'lower': lower}.get(gap.verdict, unclear) }: {spoken(gap)}"


def spoken(gap: Estimate) -> str:
    """A difference with its interval, in words that say when the interval holds zero."""
    if gap.mean is None:
        return "not known"
    mean, low, high = (format_interval(value, None, None, signed=True) for value in (gap.mean, gap.low, gap.high))
    if gap.low is None or gap.high is None:
        return f"{mean}, without an interval"
    zero = ", which includes zero" if gap.verdict == "unclear" else ""
    return f"{mean} (95 % interval {low} to {high}{zero})"


def settings(item: Configuration, *without: tuple[str, str], arm: str | None = None) -> str:
    """What else than the augmentation size a configuration's training set depends on, as canonical JSON.

    Args:
        item: A configuration; its first run speaks for it.
        without: (section, name) of settings to leave out.
        arm: Look at what this arm depends on; None for the configuration's own.

    Returns:
        Equal text for two configurations that differ in the augmentation size and in `without` at most.
    """
    runs = (*item.runs, *item.failed)
    spec: Mapping[str, Any] = runs[0].spec if runs else {}
    left_out = {("selection", "count"), ("generator", "init_from"), *without}
    if (arm or item.arm) != "generate":
        left_out |= GENERATE_ALONE
    held = {}
    for section in _READ_BY.get(arm or item.arm, ()):
        part = spec.get(section)
        if isinstance(part, Mapping):
            part = {name: value for name, value in part.items() if (section, name) not in left_out}
        held[section] = part
    return json.dumps(held, sort_keys=True, default=str)


def _weighted(part: Resample, weight: float) -> Resample:
    replicates = None if part.replicates is None else part.replicates * weight
    return Resample(part.values * weight, replicates, part.counts)


def _of_parts(
    mean: float,
    parts: Sequence[Resample],
    sources: Sequence[Estimate],
    *,
    over: tuple[str, ...],
    note: str | None = None,
) -> Estimate:
    interval = pooled_interval(parts, bounds=_BOUNDS) if parts else None
    kinds = {item.resampled for item in sources}
    low, high = interval or (None, None)
    return Estimate(
        mean=mean,
        # The sum over the parts may miss the difference of the two means by a rounding error.
        low=None if low is None else min(low, mean),
        high=None if high is None else max(high, mean),
        values=tuple(parts[0].values.tolist()) if len(parts) == 1 else tuple(item.mean or 0.0 for item in sources),
        over=over,
        resampled="nothing" if interval is None else kinds.pop() if len(kinds) == 1 else "seeds",
        note=note if interval else "no interval: one seed only",
        unpaired=sum(item.unpaired for item in sources),
        parts=tuple(parts),
    )
