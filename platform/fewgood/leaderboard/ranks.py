"""Detectors and arms ranked together where that is fair, with how far each rank can be trusted.

A board holds what was measured on one backbone, image size, number of shots and way of choosing configurations; over
the same cells. Ranks come with confidence intervals in the manner of Mogstad, Romano, Shaikh and Wilhelm (2024, Review of
Economic Studies 91), with Bonferroni's correction in place of their bootstrap, and with letters: entrants that share one
cannot be told apart (the insert-absorb algorithm of Piepho 2004, Journal of Computational and Graphical Statistics 13).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import combinations
from typing import Any

from fewgood.leaderboard.bootstrap import LEVEL
from fewgood.leaderboard.compare import pick_runs
from fewgood.leaderboard.runs import METRICS, CellKey, Run, arm_order, short_digest
from fewgood.leaderboard.significance import Friedman, friedman, holm, wilcoxon
from fewgood.leaderboard.statistics import Estimate, difference, estimate, pool, win_tie_loss

__all__ = ["HOW", "Board", "BoardKey", "Entrant", "Placed", "boards", "common_cells", "letters"]

CEILING = "full"
"""The arm that trains on all good images: shown beside the ranking, and no competitor in it."""

HOW = (
    "A 95 % rank interval counts who is better and who is worse beyond the interval of the paired difference, over the same "
    "seeds and cells; the comparisons of one entrant share the 5 %. Entrants that share a letter cannot be told apart; "
    "there all pairs share the 5 %."
)
"""How to read ranks and letters, for a page that shows them."""

_UNIT = (0.0, 1.0)
_SIGNED = (-1.0, 1.0)


@dataclass(frozen=True, kw_only=True, order=True)
class BoardKey:
    """What two runs must share before a detector may be ranked against another; absent values are empty strings."""

    backbone: str
    backbone_digest: str
    image_size: str
    shots: str
    select_on: str

    @property
    def digest(self) -> str:
        """Eight hexadecimal characters that tell two boards apart which print alike."""
        return short_digest([getattr(self, item.name) for item in fields(self)])


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A detector with its options, trained on one arm."""

    baseline: str
    options: str
    """The baseline's options as canonical JSON."""
    arm: str
    named: tuple[str, ...] | None = field(default=None, compare=False)
    """Options that the label names: on a board those in which entrants of one detector differ; None is all."""

    @property
    def label(self) -> str:
        """`patchcore generate`, or `patchcore[coreset=0.1] generate` where options are to be told apart."""
        options = _options(self.options)
        names = sorted(options if self.named is None else set(options) & set(self.named))
        # Text without quotes, but where it reads like something else: 1 and "1" are two settings.
        words = ",".join(f"{name}={_word(options[name])}" for name in names)
        return f"{self.baseline}[{words}] {self.arm}" if words else f"{self.baseline} {self.arm}"

    @property
    def order(self) -> tuple[str, str, tuple[int, str]]:
        """Sort key: by detector, options, then the arms' order."""
        return (self.baseline, self.options, arm_order(self.arm))


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An entrant's place.

    Attributes:
        entrant: Who.
        estimate: The metric's mean over the board's cells, in [0, 1].
        rank: 1 is best; equal means share a rank.
        rank_low: Best rank that the data leave open, at most `rank`; None where some difference has no interval.
        rank_high: Worst rank that the data leave open, at least `rank`; None as above.
        groups: Letters; entrants that share one cannot be told apart. Empty where no interval can be given.
        wins: Comparisons won, over the other entrants and the cells.
        ties: Comparisons level to `statistics.TIE`.
        losses: Comparisons lost.
        ceiling: Whether this is the `full` arm, which stands beside the ranking: its rank and counts are 0.
    """

    entrant: Entrant
    estimate: Estimate
    rank: int
    rank_low: int | None
    rank_high: int | None
    groups: str
    wins: int
    ties: int
    losses: int
    ceiling: bool = False


@dataclass(frozen=True, kw_only=True)
class Board:
    """One ranking of detectors and arms.

    Attributes:
        key: What all of its runs share.
        cells: The cells that every ranked entrant has.
        placed: Competitors, best first.
        ceilings: The `full` arms that have all of the cells, best first; not ranked.
        left_out: (entrant, how many of the cells it lacks); the notes name the cells.
        friedman: Mean ranks over the cells, from three entrants and six cells on.
        wilcoxon_holm: (better, worse) -> Holm's p over all pairs; None with too few cells that differ.
        notes: Sentences on what limits the ranking.
    """

    key: BoardKey
    cells: tuple[CellKey, ...]
    placed: tuple[Placed, ...]
    ceilings: tuple[Placed, ...]
    left_out: tuple[tuple[Entrant, int], ...]
    friedman: Friedman | None
    wilcoxon_holm: Mapping[tuple[Entrant, Entrant], float | None]
    notes: tuple[str, ...]


_Members = Mapping[Entrant, Mapping[CellKey, Sequence[Run]]]
_Gaps = Mapping[tuple[Entrant, Entrant], Sequence[tuple[str, Estimate]]]


def boards(runs: Iterable[Run], metric: str = METRICS[0]) -> list[Board]:
    """Rank detectors and arms on each backbone, image size, number of shots and way of choosing.

    One configuration stands for an arm (`pick_runs`). The cells of a board are those of `common_cells`: an entrant
    without all of them is left out and named, so that nobody else's cells shrink for it.

    Args:
        runs: The runs of `read_runs`.
        metric: A key of `Run.metrics`; only of "image_auroc" the intervals also cover the test images.

    Returns:
        The boards that have a competitor, in sorted order; the order of `runs` changes nothing.
    """
    picked, remarks = pick_runs(runs)
    groups: dict[BoardKey, dict[Entrant, dict[CellKey, list[Run]]]] = {}
    said: dict[BoardKey, list[str]] = {}
    for run in picked:
        key = _key(run)
        cells = groups.setdefault(key, {}).setdefault(_entrant(run), {})
        if run.ok and metric in run.metrics:
            cells.setdefault(run.cell, []).append(run)
        sentences = (f"{run.cell.label}, {run.baseline}: {note}" for note in remarks[run.ranking, run.cell])
        said.setdefault(key, []).extend(sentences)
    found = [_board(key, groups[key], list(dict.fromkeys(said[key])), metric) for key in sorted(groups)]
    return [board for board in found if board.placed]


def common_cells(cells: Iterable[Collection[CellKey]]) -> tuple[CellKey, ...]:
    """The cells over which entrants are ranked: the largest set of one entrant that at least half of them have.

    Where no entrant's set is that common, it is the one with the largest number of entrants times cells. Ties go to
    more cells, then more entrants, then the first in sorted order.

    Args:
        cells: The cells of each entrant; entrants without any do not count.

    Returns:
        Sorted cells; empty when no entrant has any.
    """
    sets: list[frozenset[CellKey]] = [frozenset(item) for item in cells if item]
    if not sets:
        return ()
    cover = {item: sum(item <= other for other in sets) for item in sets}
    common = [item for item in cover if 2 * cover[item] >= len(sets)]
    if common:
        best = min(common, key=lambda item: (-len(item), -cover[item], sorted(item)))
    else:
        best = min(cover, key=lambda item: (-cover[item] * len(item), -len(item), sorted(item)))
    return tuple(sorted(best))


def letters(names: Sequence[str], different: Collection[frozenset[str]]) -> dict[str, str]:
    """The compact letter display: two names share a letter if and only if they are not in `different`.

    Args:
        names: From best to worst; the letters follow this order.
        different: Pairs of names that can be told apart.

    Returns:
        Name -> its letters in alphabetical order, such as "ab".
    """
    columns = [frozenset(names)] if names else []
    for pair in sorted(different, key=lambda pair: sorted(map(names.index, pair))):
        split: list[frozenset[str]] = []
        for column in columns:
            split += [column - {name} for name in pair] if pair <= column else [column]
        unique = list(dict.fromkeys(split))
        columns = [column for column in unique if not any(column < other for other in unique)]
    columns.sort(key=lambda column: sorted(map(names.index, column)))
    return {name: "".join(_letter(index) for index, column in enumerate(columns) if name in column) for name in names}


def _board(
    key: BoardKey, members: Mapping[Entrant, Mapping[CellKey, Sequence[Run]]], remarks: list[str], metric: str
) -> Board:
    members = _named(members)
    everyone = sorted(members, key=lambda item: item.order)
    cells = common_cells([members[item].keys() for item in everyone if item.arm != CEILING])
    complete = [item for item in everyone if cells and all(cell in members[item] for cell in cells)]
    lacking = {
        item: [cell.label for cell in cells if cell not in members[item]] for item in everyone if item not in complete
    }
    values = {item: {cell: estimate(members[item][cell], metric) for cell in cells} for item in complete}
    means = {item: pool([(cell.label, each) for cell, each in values[item].items()], bounds=_UNIT) for item in complete}
    complete.sort(key=lambda item: (-round(means[item].mean or 0.0, 12), item.order))
    ranked = [item for item in complete if item.arm != CEILING]
    gaps = _gaps(ranked, cells, members, metric)
    raw = {pair: wilcoxon([gap.mean for _, gap in found if gap.mean is not None]) for pair, found in gaps.items()}
    tested = [(pair, p) for pair, p in raw.items() if p is not None]
    adjusted = dict(zip([pair for pair, _ in tested], holm([p for _, p in tested]), strict=True))
    columns = {item.label: [values[item][cell].mean or 0.0 for cell in cells] for item in ranked}
    return Board(
        key=key,
        cells=cells,
        placed=_placed(ranked, means, gaps),
        ceilings=tuple(_ceiling(item, means[item]) for item in complete if item.arm == CEILING),
        left_out=tuple((item, len(labels)) for item, labels in lacking.items()),
        friedman=friedman(dict(columns)),
        wilcoxon_holm={pair: adjusted.get(pair) for pair in raw},
        notes=(*_notes(key, ranked, means, gaps, lacking, len(cells)), *remarks),
    )


def _named(members: Mapping[Entrant, Mapping[CellKey, Sequence[Run]]]) -> _Members:
    """The same with entrants that are labelled by the options in which those of one detector differ."""
    differ: dict[str, set[str]] = {}
    for one, other in combinations(members, 2):
        if one.baseline == other.baseline:
            first, second = _options(one.options), _options(other.options)
            names = {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}
            differ.setdefault(one.baseline, set()).update(names)
    return {replace(item, named=tuple(sorted(differ.get(item.baseline, ())))): cells for item, cells in members.items()}


def _gaps(ranked: Sequence[Entrant], cells: Sequence[CellKey], members: _Members, metric: str) -> _Gaps:
    """(better, worse) -> the paired difference in each cell, whose own intervals are not used."""
    gaps: dict[tuple[Entrant, Entrant], list[tuple[str, Estimate]]] = {pair: [] for pair in combinations(ranked, 2)}
    for cell in cells:  # outermost: the runs of one cell share their resamples
        for (one, other), found in gaps.items():
            found.append((cell.label, difference(members[one][cell], members[other][cell], metric)))
    return gaps


def _placed(ranked: Sequence[Entrant], means: Mapping[Entrant, Estimate], gaps: _Gaps) -> tuple[Placed, ...]:
    total = len(ranked)
    own = {pair: _verdict(found, total - 1) for pair, found in gaps.items()}
    joint = {pair: _verdict(found, len(gaps)) for pair, found in gaps.items()}
    sure = {frozenset(item.label for item in pair) for pair, verdict in joint.items() if verdict in ("higher", "lower")}
    silent = bool(gaps) and all(verdict == "no interval" for verdict in joint.values())
    groups = {} if silent else letters([item.label for item in ranked], sure)
    placed = []
    for item in ranked:
        value = round(means[item].mean or 0.0, 12)
        rank = 1 + sum(round(means[other].mean or 0.0, 12) > value for other in ranked)
        better = sum(own[pair] == ("lower" if pair[0] == item else "higher") for pair in own if item in pair)
        worse = sum(own[pair] == ("higher" if pair[0] == item else "lower") for pair in own if item in pair)
        known = all(own[pair] != "no interval" for pair in own if item in pair)
        counts = [
            (pair[0] == item, win_tie_loss([gap for _, gap in found])) for pair, found in gaps.items() if item in pair
        ]
        placed.append(
            Placed(
                entrant=item,
                estimate=means[item],
                rank=rank,
                # Differences leave seeds without a partner out, means do not: the interval still holds the rank.
                rank_low=min(1 + better, rank) if known else None,
                rank_high=max(total - worse, rank) if known else None,
                groups=groups.get(item.label, ""),
                wins=sum(count.wins if first else count.losses for first, count in counts),
                ties=sum(count.ties for _, count in counts),
                losses=sum(count.losses if first else count.wins for first, count in counts),
            )
        )
    return tuple(placed)


def _verdict(found: Sequence[tuple[str, Estimate]], comparisons: int) -> str:
    """The pooled difference's verdict where `comparisons` of them share the error; a cell without a pair leaves none."""
    if any(gap.mean is None for _, gap in found):
        return "no interval"
    return pool(found, bounds=_SIGNED, level=1 - (1 - LEVEL) / max(1, comparisons)).verdict


def _ceiling(item: Entrant, mean: Estimate) -> Placed:
    return Placed(
        entrant=item,
        estimate=mean,
        rank=0,
        rank_low=None,
        rank_high=None,
        groups="",
        wins=0,
        ties=0,
        losses=0,
        ceiling=True,
    )


def _notes(
    key: BoardKey,
    ranked: Sequence[Entrant],
    means: Mapping[Entrant, Estimate],
    gaps: _Gaps,
    lacking: Mapping[Entrant, Sequence[str]],
    cells: int,
) -> list[str]:
    notes = []
    if key.select_on == "test":
        notes.append("configurations were chosen on the test images: their values are too good, and ranked apart")
    single = [item.label for item in ranked if means[item].low is None]
    if single:
        notes.append(f"no rank interval where an entrant has one seed only in a cell: {', '.join(single)}")
    if any(gap.mean is None for found in gaps.values() for _, gap in found):
        notes.append("no rank interval where two entrants share no seed on the same support and test images in a cell")
    unpaired = sum(gap.unpaired for found in gaps.values() for _, gap in found)
    if unpaired:
        notes.append(f"{unpaired} seeds have no partner in a comparison and are left out of it")
    for item, labels in lacking.items():
        notes.append(f"{item.label} is not ranked: it lacks {len(labels)} of {cells} cells ({', '.join(labels)})")
    return notes


def _key(run: Run) -> BoardKey:
    return BoardKey(**{item.name: getattr(run, item.name) for item in fields(BoardKey)})


def _entrant(run: Run) -> Entrant:
    return Entrant(baseline=run.baseline, options=run.options, arm=run.arm)


def _options(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    return found if isinstance(found, dict) else {"options": found}


def _word(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return value
    return json.dumps(value)


def _letter(index: int) -> str:
    """Small letters, then capitals, then a sign of its own for each further group."""
    if index < 26:
        return chr(ord("a") + index)
    return chr(ord("A") + index - 26) if index < 52 else chr(0x3B1 + index - 52)
