"""Contrasts of configurations: the generator with and without its variance, and the integrator against chance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from fewgood.leaderboard.compare import RankingComparison
from fewgood.leaderboard.effects import judged, settings
from fewgood.leaderboard.finding import METRIC, Finding, contrast_chart, missing, with_limits
from fewgood.leaderboard.formats import shots_word
from fewgood.leaderboard.report_charts import gain_chart
from fewgood.leaderboard.runs import CellKey, Configuration, Run, configurations
from fewgood.leaderboard.statistics import Estimate, choose, difference, pool

__all__ = ["GENERATING", "integrator", "variance", "variance_candidates", "variance_pairs"]

GENERATING = ("generate", "generate-random")
"""Arms whose images a trained generator makes."""

_TITLES = {"variance": "Variance on against off", "integrator": "Integrator against random choice"}
_COMMANDS = {
    "variance": "fewgood compare --category CATEGORY --arms none,generate --set sampling.mode=decode, and again with "
    "--set generator.variance=false besides.",
    "integrator": "fewgood compare --category CATEGORY --arms none,generate-random,generate.",
}
_MODES = {
    "decode": "",
    "residual": ", where generation without variance is augmentation alone,",
}
"""Sampling mode -> what a reader must know of it (method.md, section 2): only `decode` ablates the variance alone."""

_SWITCH = (("generator", "variance"), ("generator", "variance_weight"))
"""What may differ between the two sides: without variance its weight in the loss has no effect."""


def variance(runs: Sequence[Run]) -> Finding:
    """Whether the generator's variance helps, over configurations that are equal in all other settings.

    Args:
        runs: The runs of one ranking.
    """
    by_cell: dict[CellKey, list[Run]] = defaultdict(list)
    for run in runs:
        by_cell[run.cell].append(run)
    gaps: dict[str, list[tuple[str, Estimate]]] = defaultdict(list)
    arms: set[str] = set()
    for key in sorted(by_cell):
        for mode, (on, off) in variance_pairs(by_cell[key]).items():
            gap = difference(on.runs, off.runs, METRIC)
            if gap.mean is not None:
                gaps[mode].append((key.label, gap))
                arms.add(on.arm)
    if not gaps:
        what = "no cell has two configurations that differ in generator.variance alone, at the same seed"
        return missing("variance", _TITLES["variance"], what, _COMMANDS["variance"])
    estimates: dict[str, Estimate] = {}
    rows: list[tuple[str, Estimate, bool]] = []
    sentences = []
    categories = [key.category for key in by_cell]
    # A row has little room: the data set is named where its category does not say which cell is meant.
    names = {key.label: key.category if categories.count(key.category) == 1 else key.label for key in by_cell}
    for mode in sorted(gaps):
        for label, gap in gaps[mode]:
            estimates[f"{mode}/{label}"] = gap
            rows.append((f"{mode}: {names[label]}", gap, False))
        total = gaps[mode][0][1] if len(gaps[mode]) == 1 else pool(gaps[mode], bounds=(-1.0, 1.0))
        where = f"on {gaps[mode][0][0]}"
        if len(gaps[mode]) > 1:
            where = f"over {len(gaps[mode])} cells"
            estimates[mode] = total
            rows.append((f"{mode}: {len(gaps[mode])} cells", total, True))
        claim = judged(
            total,
            "image AUROC is higher with the variance than without it",
            "image AUROC is lower with the variance than without it",
            "image AUROC is not shown to differ with and without the variance",
        )
        sentences.append(f"In mode {mode}{_MODES.get(mode, '')} {where}, {claim}.")
    return Finding(
        key="variance",
        title=_TITLES["variance"],
        sentence=" ".join(sentences),
        limits=with_limits(
            estimates,
            "" if "decode" in gaps else "The variance alone is ablated in mode decode, of which there is no pair.",
            "" if arms == {"generate"} else "In a cell without such a pair of generate, generate-random stands for it.",
        ),
        chart=contrast_chart(
            rows,
            title=f"What the variance adds, {shots_word(runs[0].shots)}",
            caption="Image AUROC with the variance minus without it, same seeds, same settings otherwise; each row names the "
            "sampling mode.",
            axis="change in image AUROC (on - off)",
            quantity="mode and cell",
        ),
        estimates=estimates,
    )


def integrator(ranking: RankingComparison) -> Finding:
    """Whether images that the text-guided integrator chose are better than images picked at random."""
    pair = ("generate", "generate-random")
    chart = gain_chart(ranking, pair[1])
    if chart is None:
        what = "no cell has generate and generate-random at the same seed"
        return missing("integrator", _TITLES["integrator"], what, _COMMANDS["integrator"])
    cells = [cell for cell in ranking.cells if pair in cell.differences]
    gaps = {cell.key.label: cell.differences[pair][METRIC] for cell in cells}
    estimates = {label: gap for label, gap in gaps.items() if gap.mean is not None}
    total = ranking.differences[pair][METRIC]
    where = f"On {next(iter(estimates))}"
    if len(estimates) > 1:
        where = f"Over {len(estimates)} cells"
        estimates["all"] = total
    claim = judged(
        total,
        "image AUROC is higher with the images that the integrator chose than with images picked at random",
        "image AUROC is lower with the images that the integrator chose than with images picked at random",
        "the integrator's choice is not shown to differ from images picked at random",
    )
    sentence = f"{where}, {claim}."
    verdicts = [gap.verdict for label, gap in estimates.items() if label != "all" and gap.low is not None]
    if len(estimates) > 1 and verdicts:
        sentence += (
            f" Of {len(verdicts)} cells, the interval lies above zero on {verdicts.count('higher')} and below it on "
            f"{verdicts.count('lower')}."
        )
    other = [cell.key.label for cell in cells if len({settings(cell.arms[arm], arm=pair[1]) for arm in pair}) > 1]
    return Finding(
        key="integrator",
        title=_TITLES["integrator"],
        sentence=sentence,
        limits=with_limits(
            estimates,
            f"The two arms differ in other settings too on {', '.join(other)}." if other else "",
            "It speaks of these cells and of the pools of candidates that were drawn: a larger pool leaves more to choose from.",
        ),
        chart=chart,
        estimates=estimates,
    )


def variance_pairs(runs: Sequence[Run]) -> dict[str, tuple[Configuration, Configuration]]:
    """Sampling mode -> one pair of configurations of a cell with and without variance, those of `generate` first."""
    measured = [item for item in _generating(runs) if any(METRIC in run.metrics for run in item.runs)]
    found: dict[str, list[tuple[Configuration, Configuration]]] = defaultdict(list)
    for mode, both in _sides(measured):
        select_on = runs[0].select_on
        found[mode].append((choose(both[True], select_on)[0], choose(both[False], select_on)[0]))
    chosen = {}
    for mode, pairs in found.items():
        preferred = [pair for pair in pairs if pair[0].arm == "generate"] or pairs
        best, _ = choose([on for on, _ in preferred], runs[0].select_on)
        chosen[mode] = next(pair for pair in preferred if pair[0] is best)
    return chosen


def variance_candidates(runs: Sequence[Run]) -> set[str]:
    """Hashes of the configurations of a cell among which `variance_pairs` finds its pairs; one run of each, with its spec, tells.

    Args:
        runs: Runs of one cell.
    """
    return {
        item.config_hash
        for _, both in _sides(item for item in _generating(runs) if item.runs)
        for side in both.values()
        for item in side
    }


def _generating(runs: Sequence[Run]) -> list[Configuration]:
    return configurations([run for run in runs if run.arm in GENERATING])


def _sides(items: Iterable[Configuration]) -> list[tuple[str, dict[bool, list[Configuration]]]]:
    """(sampling mode, configurations with and without variance that share all else), in order, where there are both."""
    sides: dict[tuple[str, str, int | None, str], dict[bool, list[Configuration]]] = {}
    for item in items:
        switch, mode = _setting(item, "generator", "variance"), _setting(item, "sampling", "mode")
        if isinstance(switch, bool) and isinstance(mode, str):
            key = (mode, item.arm, item.count, settings(item, *_SWITCH))
            sides.setdefault(key, {True: [], False: []})[switch].append(item)
    ordered = sorted(sides.items(), key=lambda entry: str(entry[0]))
    return [(key[0], both) for key, both in ordered if both[True] and both[False]]


def _setting(item: Configuration, section: str, name: str) -> Any:
    part = item.runs[0].spec.get(section)
    return part.get(name) if isinstance(part, dict) else None
