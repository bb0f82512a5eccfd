"""A finding: one contrast with its chart, a sentence that says what the data supports, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fewgood.leaderboard.charts import Chart, dot_chart
from fewgood.leaderboard.compare import CellComparison
from fewgood.leaderboard.headline import CONTROLS
from fewgood.leaderboard.report_charts import gain_dot
from fewgood.leaderboard.statistics import Estimate, estimate, pool

__all__ = [
    "BASELINES",
    "METRIC",
    "Finding",
    "contrast_chart",
    "gain_of",
    "missing",
    "pooled_gain",
    "with_limits",
]

METRIC = "image_auroc"

BASELINES = {control: CONTROLS[control] for control in ("none", "augment")}
"""Control -> what a gain is measured against, in words, in the order in which findings show them."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the data says about one contrast.

    Attributes:
        key: kinds, groups, shots, variance or integrator; with several shots, followed by `-` and the shots.
        title: Heading.
        sentence: What the intervals support, never more.
        limits: What they do not, and why.
        chart: The gains with their intervals; None where the data has nothing for this contrast.
        estimates: The numbers behind the sentence by name, e.g. `none/object` or `none/difference`.
    """

    key: str
    title: str
    sentence: str
    limits: str = ""
    chart: Chart | None = None
    estimates: Mapping[str, Estimate] = field(default_factory=dict)


def missing(key: str, title: str, what: str, command: str) -> Finding:
    """The finding of a contrast for which there are no runs: which command would fill it."""
    return Finding(
        key=key,
        title=title,
        sentence=f"Nothing can be said yet: {what}.",
        limits=f"To measure it: {command}",
    )


def contrast_chart(
    rows: Sequence[tuple[str, Estimate, bool]], *, title: str, caption: str, axis: str, quantity: str
) -> Chart:
    """Gains from top to bottom, the rows that sum them up set apart.

    Args:
        rows: (label, gain, whether it is drawn as a sum).
        title: Heading of the chart.
        caption: How to read it.
        axis: Label of the axis.
        quantity: Heading of the labels in the table.
    """
    dots = [gain_dot(label, gap, total=total) for label, gap, total in rows]
    return dot_chart(dots, title=title, caption=caption, axis=axis, signed=True, quantity=quantity)


def with_limits(estimates: Mapping[str, Estimate], *limits: str) -> str:
    """The limits as one text, with what is true of every finding: one seed, seeds without a partner, many intervals."""
    parts = [text for text in limits if text]
    single = [gap for gap in estimates.values() if gap.mean is not None and gap.low is None]
    if single:
        parts.append("With one seed there is no interval, and what is seen may be the luck of one support set.")
    unpaired = max((gap.unpaired for gap in estimates.values()), default=0)
    if unpaired:
        parts.append(f"Seeds without a partner are left out, up to {unpaired} of them in one number.")
    intervals = sum(gap.low is not None for gap in estimates.values())
    if intervals >= 5:
        parts.append(f"{intervals} intervals are looked at here; about one in twenty misses its true value by chance.")
    return " ".join(parts)


def gain_of(cell: CellComparison, control: str, metric: str = METRIC) -> Estimate:
    """The gain of `generate` against a control in one cell; without a mean where no seed has both."""
    return cell.differences.get(("generate", control), {}).get(metric) or estimate([], metric)


def pooled_gain(cells: Sequence[CellComparison], control: str, metric: str = METRIC) -> Estimate:
    """The mean of `gain_of` over cells."""
    return pool([(cell.key.label, gain_of(cell, control, metric)) for cell in cells], bounds=(-1.0, 1.0))
