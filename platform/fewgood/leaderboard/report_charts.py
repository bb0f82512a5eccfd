"""Which charts a report shows of a ranking: gains, arms, the search, and how well the proxy ranked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fewgood.leaderboard.charts import Chart, Dot, Series, critical_difference_chart, dot_chart, point_chart
from fewgood.leaderboard.compare import CellComparison, RankingComparison
from fewgood.leaderboard.headline import CONTROLS
from fewgood.leaderboard.ranks import Board
from fewgood.leaderboard.runs import Run, configurations
from fewgood.leaderboard.statistics import Estimate, pool

__all__ = ["arms_chart", "board_chart", "gain_chart", "gain_dot", "history_chart", "proxy_chart", "rank_correlation"]

_METRIC = "image_auroc"
_STYLES = {"higher": "up", "lower": "down"}


def gain_chart(ranking: RankingComparison, against: str, arm: str = "generate") -> Chart | None:
    """The gain of `arm` against a control in every cell, and pooled from two cells on; None where no cell has both."""
    found = [
        (cell, cell.differences[arm, against][_METRIC]) for cell in ranking.cells if (arm, against) in cell.differences
    ]
    found = [(cell, gap) for cell, gap in found if gap.mean is not None]
    if not found:
        return None
    dots = [gain_dot(cell.key.label, gap) for cell, gap in found]
    kinds = sorted({cell.kind for cell, _ in found})
    for kind in kinds if len(kinds) > 1 else ():
        members = [(cell.key.label, gap) for cell, gap in found if cell.kind == kind]
        if len(members) > 1:
            dots.append(gain_dot(f"all {kind}s ({len(members)})", pool(members, bounds=(-1.0, 1.0)), total=True))
    if len(found) > 1:
        dots.append(gain_dot(f"all {len(found)} cells", ranking.differences[arm, against][_METRIC], total=True))
    return dot_chart(
        dots,
        title=f"Gain against {CONTROLS.get(against, against)}",
        caption=f"Image AUROC of {arm} minus {against}, same seeds, support files and test images.",
        axis=f"change in image AUROC ({arm} - {against})",
        signed=True,
        quantity="cell",
    )


def arms_chart(cell: CellComparison) -> Chart | None:
    """The mean image AUROC of every arm of a cell; None where no run finished."""
    dots = []
    for arm, values in cell.estimates.items():
        value, item = values[_METRIC], cell.arms[arm]
        count = f" +{item.count}" if item.count is not None else ""
        style = "one" if arm == "generate" else "neutral"
        dots.append(
            Dot(
                label=f"{arm}{count}",
                mean=value.mean,
                low=value.low,
                high=value.high,
                style=style,
                remark=_remark(value, len(item.failed)),
            )
        )
    if all(dot.mean is None for dot in dots):
        return None
    return dot_chart(
        dots,
        title=f"Arms on {cell.key.label}",
        caption="Mean image AUROC over seeds. These intervals share their test images: judge differences by the gains.",
        axis="image AUROC",
        quantity="arm",
    )


def board_chart(board: Board) -> Chart | None:
    """Mean ranks with the critical difference; the means where there are too few cells for it; None without entrants."""
    if board.friedman is not None:
        return critical_difference_chart(
            board.friedman.ranks,
            board.friedman.critical_difference,
            title=f"Mean ranks over {board.friedman.categories} cells",
            caption="1 is best. A bar joins entrants whose mean ranks lie less than Nemenyi's critical difference apart: "
            "they cannot be told apart by rank.",
        )
    dots = [
        Dot(
            label=item.entrant.label,
            mean=item.estimate.mean,
            low=item.estimate.low,
            high=item.estimate.high,
            style="total" if item.ceiling else "one" if item.entrant.arm == "generate" else "neutral",
            remark="ceiling, not ranked" if item.ceiling else f"rank {item.rank}",
        )
        for item in (*board.placed, *board.ceilings)
    ]
    if not dots:
        return None
    return dot_chart(
        dots,
        title="Means of detectors and arms",
        caption="Mean image AUROC over the cells. These intervals share their test images: judge by the rank intervals.",
        axis="image AUROC",
        quantity="entrant",
    )


def history_chart(runs: Sequence[Run], label: str) -> Chart | None:
    """The search's objective over its trials in order of start, and the best so far; None below three trials."""
    on_test = bool(runs) and runs[0].select_on == "test"
    trials = []
    for item in configurations([run for run in runs if run.arm == "generate"]):
        value = item.mean(_METRIC) if on_test else item.proxy
        if value is not None:
            trials.append((min(run.started_utc for run in item.runs), item.config_hash, value))
    if len(trials) < 3:
        return None
    values = [value for _, _, value in sorted(trials)]
    best = np.maximum.accumulate(values).tolist()
    name = "mean image AUROC on the test images" if on_test else "mean proxy score"
    return point_chart(
        [
            Series(
                name="best so far",
                points=[(n, v, None, None) for n, v in enumerate(best, 1)],
                style="neutral",
                step=True,
            ),
            Series(name="trial", points=[(n, v, None, None) for n, v in enumerate(values, 1)], line=False),
        ],
        title=f"Search on {label}",
        caption=f"Objective of each trial: {name} of one configuration over its seeds.",
        x_axis="trial, in the order of their start",
        y_axis=name,
        whole_x=True,
    )


def proxy_chart(runs: Sequence[Run], label: str) -> Chart | None:
    """Proxy score against test score per configuration, with their rank correlation; None below three points."""
    points = []
    for item in configurations([run for run in runs if run.arm not in ("none", "full")]):
        proxy, test = item.proxy, item.mean(_METRIC)
        if proxy is not None and test is not None:
            points.append((item.arm, proxy, test))
    if len(points) < 3:
        return None
    correlation = rank_correlation([point[1] for point in points], [point[2] for point in points])
    words = "cannot be computed, as one of the two never changes" if correlation is None else f"is {correlation:+.2f}"
    few = " So few configurations say little." if len(points) < 10 else ""
    series = []
    for name, style, mark, chosen in (
        ("other arms", "two", "square", False),
        ("generate", "one", "circle", True),
    ):
        members = [(proxy, test, None, None) for arm, proxy, test in points if (arm == "generate") is chosen]
        if members:
            series.append(Series(name=name, points=members, style=style, mark=mark, line=False))
    return point_chart(
        series,
        title=f"How well the proxy ranked on {label}",
        caption=f"One point per configuration. Spearman's rank correlation {words} over {len(points)} "
        f"configurations; 1 is perfect, 0 is chance.{few}",
        x_axis="mean proxy score, without test images",
        y_axis="mean image AUROC on the test images",
    )


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties sharing their mean rank; None where one sequence is constant."""
    ranks = [_ranks(values) for values in (first, second)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = math.sqrt(float((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum() / scale) if scale > 0 else None


def gain_dot(label: str, gap: Estimate, *, total: bool = False) -> Dot:
    """A row of a chart of gains: filled and coloured where the interval lies on one side of zero."""
    return Dot(
        label=label,
        mean=gap.mean,
        low=gap.low,
        high=gap.high,
        style="total" if total else _STYLES.get(gap.verdict, "neutral"),
        filled=gap.verdict in _STYLES,
        remark=_remark(gap, 0),
    )


def _ranks(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    ordered = np.sort(array)
    return (np.searchsorted(ordered, array, "left") + np.searchsorted(ordered, array, "right") + 1) / 2


def _remark(value: Estimate, failed: int) -> str:
    parts = [f"{len(value.values)} values, interval over {value.resampled}"] if value.mean is not None else []
    parts += [value.note] if value.note else []
    parts += [f"{value.unpaired} unpaired"] if value.unpaired else []
    parts += [f"{failed} failed"] if failed else []
    return "; ".join(parts)
