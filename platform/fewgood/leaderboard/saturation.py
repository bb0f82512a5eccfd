"""Saturation: the gain over the number of added images, and the number beyond which more of them is noise.

Method.md, section 3 (Lee and Choi, CVPR 2024, state that the gain saturates and then falls): measured here, never assumed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fewgood.leaderboard.charts import Chart, Series, point_chart
from fewgood.leaderboard.effects import settings, spoken
from fewgood.leaderboard.runs import Configuration, Run, configurations
from fewgood.leaderboard.statistics import Estimate, choose, difference, partner, pool

__all__ = ["Saturation", "saturation", "saturation_over_cells"]

_METRIC = "image_auroc"
_ARM = "generate"
_STYLES = {"augment": ("two", "square"), "generate-random": ("neutral", "square"), "generate": ("one", "circle")}
_MIXED = "The configurations differ in other settings than the number of images too, so the curve shows both together."
_UNKNOWN = "The rows do not say whether the configurations differ in other settings than the number of images."


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """A saturation curve and what it supports.

    Attributes:
        label: The cell, or the cells that are pooled.
        curves: Arm -> (number of added images, gain in image AUROC against `none`), by number.
        peak: The number with the highest mean gain of `generate`; None where no interval can be given.
        beyond: The smallest number that no larger one is shown to pass; None where no interval can be given.
        noise_from: The smallest number above the peak whose interval against the peak lies below zero, or None.
        sentence: What the data supports.
        limits: What it does not, and why.
        chart: The curves.
    """

    label: str
    curves: Mapping[str, tuple[tuple[int, Estimate], ...]]
    peak: int | None
    beyond: int | None
    noise_from: int | None
    sentence: str
    limits: str
    chart: Chart


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """One cell's configurations by arm and size, each arm's equal in all other settings where the data allows it."""

    label: str
    sizes: Mapping[str, Mapping[int, Configuration]]
    controls: Mapping[str, Mapping[int, Configuration]]
    seeds: int
    mixed: str
    """What else than the number of images sets two points of a curve apart, as a sentence; usually nothing."""

    def gain(self, arm: str, count: int) -> Estimate:
        control = self.controls[arm].get(count)
        return difference(self.sizes[arm][count].runs, control.runs if control else (), _METRIC)

    def step(self, count: int, against: int) -> Estimate:
        sizes = self.sizes[_ARM]
        return difference(sizes[count].runs, sizes[against].runs, _METRIC)


def saturation(runs: Sequence[Run], label: str) -> Saturation | None:
    """The saturation curve of one cell.

    Args:
        runs: The runs of one cell of one ranking.
        label: The cell's name.

    Returns:
        The curve, or None where no arm has a gain for two different numbers of images.
    """
    return _saturation([_cell(runs, label)], label)


def saturation_over_cells(cells: Sequence[tuple[str, Sequence[Run]]]) -> Saturation | None:
    """The mean saturation curve over the cells of a ranking that were measured at the same numbers of images.

    Args:
        cells: (label, runs) of each cell.

    Returns:
        The curve of the largest group of two and more cells that share their numbers of `generate`, or None.
    """
    groups: dict[tuple[int, ...], list[_Cell]] = defaultdict(list)
    for label, runs in cells:
        cell = _cell(runs, label)
        counts = tuple(count for count in sorted(cell.sizes[_ARM]) if cell.gain(_ARM, count).mean is not None)
        if len(counts) >= 2:
            groups[counts].append(cell)
    if not groups:
        return None
    members = groups[max(groups, key=lambda counts: (len(groups[counts]), len(counts), counts))]
    if len(members) < 2:
        return None
    label = f"{len(members)} of {len(cells)}" if len(cells) > len(members) else f"all {len(cells)}"
    return _saturation(members, f"{label} cells (mean)")


def _cell(runs: Sequence[Run], label: str) -> _Cell:
    select_on = runs[0].select_on if runs else "fixed"
    by_arm: dict[str, list[Configuration]] = defaultdict(list)
    for item in configurations(runs):
        if any(_METRIC in run.metrics for run in item.runs):
            by_arm[item.arm].append(item)
    found = {arm: _sizes(by_arm[arm], select_on) for arm in _STYLES}
    sizes = {arm: of_arm for arm, (of_arm, _) in found.items()}
    controls: dict[str, dict[int, Configuration]] = {}
    for arm, of_arm in sizes.items():
        pairs = {count: partner(item, by_arm["none"], select_on) for count, item in of_arm.items()}
        controls[arm] = {count: pair[0] for count, pair in pairs.items() if pair}
    seeds = {len({run.seed for run in item.runs}) for item in sizes[_ARM].values()}
    return _Cell(label=label, sizes=sizes, controls=controls, seeds=min(seeds, default=0), mixed=found[_ARM][1])


def _sizes(items: Sequence[Configuration], select_on: str) -> tuple[dict[int, Configuration], str]:
    """One configuration per number of images, and a sentence where they are not known to be equal in all else."""
    families: dict[str, dict[int, list[Configuration]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        if item.count:
            families[settings(item)][item.count].append(item)
    if not families:
        return {}, ""
    most = max(len(family) for family in families.values())
    longest = [family for family in families.values() if len(family) == most]
    if most < 2:
        everything: dict[int, list[Configuration]] = defaultdict(list)
        for family in longest:
            for count, members in family.items():
                everything[count] += members
        chosen_of = {count: choose(everything[count], select_on)[0] for count in sorted(everything)}
        return chosen_of, _MIXED if len(everything) > 1 else ""
    # Of several curves of the same length, the one is shown whose configuration would be chosen.
    chosen, _ = choose([item for family in longest for members in family.values() for item in members], select_on)
    family = families[settings(chosen)]
    unknown = chosen.arm == _ARM and not any(run.spec for run in chosen.runs)
    return {count: choose(family[count], select_on)[0] for count in sorted(family)}, _UNKNOWN if unknown else ""


def _saturation(cells: Sequence[_Cell], label: str) -> Saturation | None:
    curves: dict[str, tuple[tuple[int, Estimate], ...]] = {}
    for arm in _STYLES:
        shared = sorted(set.intersection(*(set(cell.sizes[arm]) for cell in cells)))
        points = [(count, [(cell.label, cell.gain(arm, count)) for cell in cells]) for count in shared]
        known = [(count, gaps) for count, gaps in points if all(gap.mean is not None for _, gap in gaps)]
        if known:
            curves[arm] = tuple((count, _mean(gaps)) for count, gaps in known)
    if max((len(points) for points in curves.values()), default=0) < 2:
        return None
    counts = [count for count, _ in curves.get(_ARM, ())]
    steps = {
        (more, fewer): _mean([(cell.label, cell.step(more, fewer)) for cell in cells])
        for fewer in counts
        for more in counts
        if more > fewer
    }
    certain = len(counts) > 1 and all(gap.low is not None for gap in steps.values())
    peak = beyond = noise_from = None
    if certain:
        gains = {count: gap.mean or 0.0 for count, gap in curves[_ARM]}
        peak = max(counts, key=lambda count: (gains[count], -count))
        beyond = next(m for m in counts if all(steps[n, m].verdict != "higher" for n in counts if n > m))
        noise_from = next((n for n in counts if n > peak and steps[n, peak].verdict == "lower"), None)
    return Saturation(
        label=label,
        curves=curves,
        peak=peak,
        beyond=beyond,
        noise_from=noise_from,
        sentence=_sentence(dict(curves.get(_ARM, ())), steps, peak, beyond, noise_from),
        limits=_limits(cells, len(counts), len(steps), certain),
        chart=_chart(curves, label, beyond),
    )


def _mean(gaps: Sequence[tuple[str, Estimate]]) -> Estimate:
    return gaps[0][1] if len(gaps) == 1 else pool(gaps, bounds=(-1.0, 1.0))


def _sentence(
    gains: Mapping[int, Estimate],
    steps: Mapping[tuple[int, int], Estimate],
    peak: int | None,
    beyond: int | None,
    noise_from: int | None,
) -> str:
    if len(gains) < 2:
        return "Generation was measured with fewer than two numbers of images, so nothing is said about its saturation."
    if peak is None or beyond is None:
        return (
            "No point can be named: a number of images has one seed only, so no interval can be given and no two "
            "numbers can be told apart."
        )
    last = max(gains)
    parts = [f"The mean gain of generation is highest with {peak} images: {spoken(gains[peak])}."]
    if all(gap.verdict != "higher" for gap in gains.values()):
        parts.append("No number of images is shown to gain against the support images alone.")
    if beyond == last:
        before = max(count for count in gains if count < last)
        parts.append(
            f"The largest number, {last}, is still better than {before}, by {spoken(steps[last, before])}: where the gain "
            "ends was not seen."
        )
    else:
        parts.append(f"Beyond {beyond} images, more are not shown to help.")
    if noise_from is not None:
        worse = f"{noise_from} images are worse than {peak}, by {spoken(steps[noise_from, peak])}"
        if all(steps[count, peak].verdict == "lower" for count in gains if count > noise_from):
            every = "" if noise_from == last else ", and so is every larger number"
            parts.append(f"From {noise_from} on, more act as noise: {worse}{every}.")
        else:
            parts.append(f"{worse}, but not every larger number is: no point is named from which more act as noise.")
    elif peak < last:
        parts.append(f"No larger number is shown to be worse than {peak} either.")
    return " ".join(parts)


def _limits(cells: Sequence[_Cell], counts: int, steps: int, certain: bool) -> str:
    parts: list[str] = []
    seeds = min(cell.seeds for cell in cells)
    if certain:
        parts.append(
            f"With {seeds} seeds, small changes cannot be seen: not shown to help is not shown not to help. The highest of "
            f"{counts} means is too high by being picked. {steps} intervals between numbers were looked at; about one in "
            "twenty misses its true value by chance."
        )
    parts += sorted({cell.mixed for cell in cells if cell.mixed})
    if len(cells) > 1:
        names = ", ".join(cell.label for cell in cells)
        parts.append(f"The mean speaks of these cells only: {names}.")
    return " ".join(parts)


def _chart(curves: Mapping[str, tuple[tuple[int, Estimate], ...]], label: str, beyond: int | None) -> Chart:
    series: list[Series] = []

    def add(name: str, points: Sequence[tuple[int, Estimate]], style: str, mark: str) -> None:
        drawn = [(float(count), gap.mean, gap.low, gap.high) for count, gap in points if gap.mean is not None]
        if drawn:
            series.append(Series(name=name, points=drawn, style=style, mark=mark))

    for arm, (style, mark) in _STYLES.items():
        points = curves.get(arm, ())
        ended = beyond if arm == _ARM else None
        add(arm, [point for point in points if ended is None or point[0] <= ended], style, mark)
        if ended is not None:
            add(f"{arm}, more not shown to help", [point for point in points if point[0] > ended], "total", mark)
    counts = [point[0] for item in series for point in item.points]
    return point_chart(
        series,
        title=f"Gain over the number of added images on {label}",
        caption="Change in image AUROC against no added images, with 95 % intervals where there are two seeds and more. "
        "These intervals share their test images: two numbers are compared seed by seed, not by the overlap of bars.",
        x_axis="images added",
        y_axis="change in image AUROC",
        signed=True,
        log_x=max(counts) / min(counts) >= 4,
        whole_x=True,
    )
