"""Contrasts of groups: object against texture cells, and logical against structural defects."""

from __future__ import annotations

from collections.abc import Sequence

from fewgood.leaderboard.compare import RankingComparison
from fewgood.leaderboard.effects import between, judged, paired
from fewgood.leaderboard.finding import (
    BASELINES,
    METRIC,
    Finding,
    contrast_chart,
    gain_of,
    missing,
    pooled_gain,
    with_limits,
)
from fewgood.leaderboard.formats import shots_word
from fewgood.leaderboard.runs import CellKey
from fewgood.leaderboard.statistics import Estimate, pool

__all__ = ["groups", "kinds", "paired_over_cells"]

_AXIS = "change in image AUROC (generate - control)"
_TITLES = {"kinds": "Objects against textures", "groups": "Logical against structural defects"}
_COMMANDS = {
    "kinds": "fewgood compare --dataset mvtec_ad --root ROOT --category CATEGORY --arms none,augment,generate, for one "
    "object and one texture category.",
    "groups": "fewgood compare --dataset mvtec_loco --root ROOT --category CATEGORY --arms none,augment,generate.",
}


def kinds(ranking: RankingComparison) -> Finding:
    """Whether the gain of generation on object cells differs from that on texture cells."""
    estimates: dict[str, Estimate] = {}
    sentences: list[str] = []
    members: dict[str, set[CellKey]] = {"object": set(), "texture": set()}
    for control, words in BASELINES.items():
        having = [cell for cell in ranking.cells if gain_of(cell, control).mean is not None]
        groups = {kind: [cell for cell in having if cell.kind == kind] for kind in members}
        if not all(groups.values()):
            continue
        for kind, cells in groups.items():
            members[kind] |= {cell.key for cell in cells}
            estimates[f"{control}/{kind}"] = pooled_gain(cells, control)
        gap = between(estimates[f"{control}/object"], estimates[f"{control}/texture"])
        estimates[f"{control}/difference"] = gap
        claim = judged(
            gap,
            "the gain is higher on objects than on textures",
            "the gain is lower on objects than on textures",
            "the gain on objects is not shown to differ from that on textures",
        )
        sentences.append(f"Against {words}, {claim}.")
    if not sentences:
        seen = {kind: sum(cell.kind == kind for cell in ranking.cells) for kind in members}
        what = (
            f"the number of cells is {seen['object']} of objects and {seen['texture']} of textures, and each kind needs "
            "one with generate and a control at the same seed"
        )
        return missing("kinds", _TITLES["kinds"], what, _COMMANDS["kinds"])
    objects, textures = (len(members[kind]) for kind in ("object", "texture"))
    return Finding(
        key="kinds",
        title=_TITLES["kinds"],
        sentence=" ".join(sentences),
        limits=with_limits(
            estimates,
            f"Measured on {_number(objects, 'object')} and {_number(textures, 'texture')}. The choice of these categories is "
            "not in the intervals, so nothing is shown for objects and textures in general.",
        ),
        chart=contrast_chart(
            [(_label(name), gap, name.endswith("difference")) for name, gap in estimates.items()],
            title=f"Gain on objects and on textures, {shots_word(ranking.key.shots)}",
            caption=f"Mean gain over {_number(objects, 'object')} and over {_number(textures, 'texture')}, and the difference "
            "of the two means.",
            axis=_AXIS,
            quantity="cells",
        ),
        estimates=estimates,
    )


def groups(ranking: RankingComparison) -> Finding:
    """Whether the gain of generation on logical defects differs from that on structural ones (MVTec LOCO AD)."""
    estimates: dict[str, Estimate] = {}
    sentences: list[str] = []
    seen: set[CellKey] = set()
    metrics = {name: f"{name}.{METRIC}" for name in ("logical", "structural")}
    for control, words in BASELINES.items():
        cells = [
            cell
            for cell in ranking.cells
            if all(gain_of(cell, control, metric).mean is not None for metric in metrics.values())
        ]
        if not cells:
            continue
        seen |= {cell.key for cell in cells}
        for name, metric in metrics.items():
            estimates[f"{control}/{name}"] = pooled_gain(cells, control, metric)
        logical, structural = metrics.values()
        gap = paired_over_cells(
            [(cell.key, gain_of(cell, control, logical), gain_of(cell, control, structural)) for cell in cells]
        )
        estimates[f"{control}/difference"] = gap
        claim = judged(
            gap,
            "the gain is higher on logical than on structural defects",
            "the gain is lower on logical than on structural defects",
            "the gain on logical defects is not shown to differ from that on structural ones",
        )
        sentences.append(f"Against {words}, {claim}.")
    if not sentences:
        what = "no run tells logical from structural defects for generate and a control at the same seed"
        return missing("groups", _TITLES["groups"], what, _COMMANDS["groups"])
    return Finding(
        key="groups",
        title=_TITLES["groups"],
        sentence=" ".join(sentences),
        limits=with_limits(
            estimates,
            f"Measured on {_number(len(seen), 'cell')}: {', '.join(key.label for key in sorted(seen))}.",
            "Intervals are over seeds alone and not over test images: for a group of defects, a row has no scores per "
            "image.",
        ),
        chart=contrast_chart(
            [(_label(name), gap, name.endswith("difference")) for name, gap in estimates.items()],
            title=f"Gain on logical and on structural defects, {shots_word(ranking.key.shots)}",
            caption="Gain in the image AUROC of each group of defects against all good images, and the difference of the two "
            "gains, paired by seed.",
            axis=_AXIS,
            quantity="defects",
        ),
        estimates=estimates,
    )


def paired_over_cells(cells: Sequence[tuple[CellKey, Estimate, Estimate]]) -> Estimate:
    """The mean over cells of the difference between two gains of each cell, paired by seed; in [-2, 2]."""
    gaps = [
        (key.label, paired(first, second, key.dataset, key.category, key.fingerprint)) for key, first, second in cells
    ]
    return gaps[0][1] if len(gaps) == 1 else pool(gaps, bounds=(-2.0, 2.0))


def _label(name: str) -> str:
    control, _, group = name.partition("/")
    short = {"object": "objects", "texture": "textures", "difference": "diff."}
    return f"{short.get(group, group)} vs {control}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
