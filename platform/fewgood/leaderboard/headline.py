"""What the numbers support, as plain sentences: never more than their intervals allow."""

from __future__ import annotations

from fewgood.leaderboard.compare import RankingComparison
from fewgood.leaderboard.effects import spoken
from fewgood.leaderboard.statistics import Estimate

__all__ = ["CONTROLS", "cautions", "headline"]

CONTROLS = {
    "none": "the support images alone",
    "duplicate": "copies of the support images",
    "augment": "plain augmentation",
    "noise": "noise with the spectrum of the generated detail",
    "generate-random": "generated images picked at random",
}
"""Control arm -> what `generate` is compared with, in words."""


def headline(ranking: RankingComparison) -> tuple[str, str]:
    """The answer of one ranking: a sentence against `none`, and one against `augment`.

    "Helps" and "hurts" are said only of cells whose 95 % interval lies on one side of zero.
    """
    return _sentence(ranking, "none"), _sentence(ranking, "augment")


def cautions(ranking: RankingComparison) -> list[str]:
    """What a reader must know before using the numbers, most important first."""
    notes = []
    runs = [run for cell in ranking.cells for item in cell.arms.values() for run in item.runs]
    if ranking.key.select_on == "test":
        notes.append(
            "The configurations were chosen by their score on the test images. Values and gains are too good for it; "
            "repeat the chosen configuration with new seeds, or choose by the proxy score."
        )
    seeds = [len({run.seed for item in cell.arms.values() for run in item.runs}) for cell in ranking.cells]
    if runs and min(seeds) == 1:
        notes.append(
            "There is one seed in at least one cell. A single support image can move the result by several points, so "
            "no interval is given there. Run at least three seeds, better five."
        )
    elif runs and min(seeds) < 3:
        notes.append("There are two seeds in at least one cell: the intervals there are honest and very wide.")
    failed = sum(len(item.failed) for cell in ranking.cells for item in cell.arms.values())
    if failed:
        notes.append(
            f"{failed} of the compared runs failed; they are listed with their messages and take no part in any mean."
        )
    many = len(ranking.cells)
    if many >= 10:
        notes.append(
            f"With {many} cells, about one interval in twenty misses its true value by chance; "
            "read the pooled value first."
        )
    return notes


def _sentence(ranking: RankingComparison, control: str) -> str:
    pair = ("generate", control)
    words = CONTROLS[control]
    gaps = {cell.key.label: cell.differences[pair]["image_auroc"] for cell in ranking.cells if pair in cell.differences}
    known = {label: gap for label, gap in gaps.items() if gap.mean is not None}
    if not known:
        return f"Nothing can be said yet about generation against {words}: no seed has both arms finished."
    if len(known) == 1:
        return _single(*next(iter(known.items())), words)
    verdicts = [gap.verdict for gap in known.values()]
    counts = {name: verdicts.count(name) for name in ("higher", "lower", "unclear", "no interval")}
    total = len(known)
    if counts["no interval"] == total:
        higher = sum((gap.mean or 0.0) > 0 for gap in known.values())
        return (
            f"Against {words}, image AUROC is higher with generation on {higher} of {total} cells, but with one seed "
            "there is no interval: this is no evidence of a gain or of a loss."
        )
    parts = []
    if counts["higher"]:
        parts.append(f"helps on {counts['higher']} of {total} cells")
    if counts["lower"]:
        parts.append(f"hurts on {counts['lower']}{'' if parts else f' of {total} cells'}")
    if not parts:
        parts.append(f"is not shown to help on any of {total} cells")
    rest = []
    if counts["unclear"]:
        others = "the other" if counts["unclear"] == 1 else f"the other {counts['unclear']}"
        where = others if counts["unclear"] < total else "all of them"
        rest.append(f"the interval includes zero on {where if not counts['no interval'] else counts['unclear']}")
    if counts["no interval"]:
        rest.append(f"{counts['no interval']} with one seed {'has' if counts['no interval'] == 1 else 'have'} none")
    tail = f"; {', '.join(rest)}" if rest else ""
    pooled = ranking.differences[pair]["image_auroc"]
    return f"Against {words}, generation {' and '.join(parts)}{tail}. Mean gain in image AUROC: {spoken(pooled)}."


def _single(label: str, gap: Estimate, words: str) -> str:
    verb = {
        "higher": "helps",
        "lower": "hurts",
        "unclear": "is not shown to help or to hurt",
        "no interval": "is measured with one seed only, which is no evidence of a gain or of a loss,",
    }[gap.verdict]
    seeds = f"{len(gap.values)} seed{'s' if len(gap.values) != 1 else ''}"
    return f"Against {words}, generation {verb} on {label}: image AUROC changes by {spoken(gap)}, {seeds}."
