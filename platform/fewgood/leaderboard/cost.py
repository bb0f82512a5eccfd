"""What runs cost, what the cache saved, and what a gain was paid with. Unknown is None, never 0."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fewgood.leaderboard.compare import RankingComparison
from fewgood.leaderboard.runs import METRICS, RankingKey, Run, arm_order
from fewgood.leaderboard.statistics import Estimate

__all__ = ["CostGain", "CostLine", "Latency", "Spent", "cost", "cost_against_gain"]


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Seconds over runs: their sum and mean where any is known, and how many runs know theirs."""

    total: float | None
    mean: float | None
    known: int


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds per test image: median and quartiles over the runs that know it; all None where none does."""

    median: float | None
    low: float | None
    high: float | None
    known: int


@dataclass(frozen=True, kw_only=True)
class CostLine:
    """One arm of one ranking.

    Attributes:
        ranking: The ranking.
        arm: The arm.
        runs: Runs, failed ones included; a failed one that was repeated with success counts once.
        failed: How many of them failed.
        seconds: Wall clock, stages taken from the cache not counted.
        cpu_seconds: Processor time.
        gpu_seconds: Wall clock on a GPU.
        reused_seconds: What the stages taken from the cache had cost when they were made: what the cache saved.
        latency_ms: Scoring of one test image.
        stages: Stage -> wall clock spent in it, in the order of their names.
    """

    ranking: RankingKey
    arm: str
    runs: int
    failed: int
    seconds: Spent
    cpu_seconds: Spent
    gpu_seconds: Spent
    reused_seconds: Spent
    latency_ms: Latency
    stages: Mapping[str, Spent]


@dataclass(frozen=True, kw_only=True)
class CostGain:
    """What one arm costs beyond another, next to what it gains.

    Attributes:
        ranking: The ranking.
        arm: The arm.
        against: Its control.
        pairs: Runs of the same cell and seed that both have, with known seconds.
        extra_seconds: Mean difference of the wall clock as it was spent; who came first paid for what both share.
        extra_seconds_uncached: The same as if nothing had come from the cache; None unless every pair knows it.
        gain: The paired difference in image AUROC over the ranking's cells; None where no cell has both arms.
    """

    ranking: RankingKey
    arm: str
    against: str
    pairs: int
    extra_seconds: float | None
    extra_seconds_uncached: float | None
    gain: Estimate | None


def cost(runs: Iterable[Run]) -> list[CostLine]:
    """What each arm of each ranking cost, over all of its runs.

    Args:
        runs: The runs of `read_runs`; those of `pick_runs` leave the search's other configurations out.

    Returns:
        One line per ranking and arm, by ranking, then in the arms' order.
    """
    groups: dict[tuple[RankingKey, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.ranking, run.arm), []).append(run)
    ordered = sorted(groups, key=lambda item: (item[0], arm_order(item[1])))
    return [_line(ranking, arm, groups[ranking, arm]) for ranking, arm in ordered]


def cost_against_gain(
    rankings: Sequence[RankingComparison], arm: str = "generate", against: str = "augment"
) -> list[CostGain]:
    """What `arm` costs and gains beyond `against`, in every ranking that has both.

    Args:
        rankings: The result of `compare`.
        arm: The arm.
        against: Its control.

    Returns:
        One entry per ranking in which some cell has both arms.
    """
    found = []
    for ranking in rankings:
        pairs: list[tuple[Run, Run]] = []
        for cell in ranking.cells:
            if arm in cell.arms and against in cell.arms:
                controls = {run.seed: run for run in cell.arms[against].runs}
                pairs += [(run, controls[run.seed]) for run in cell.arms[arm].runs if run.seed in controls]
        if not pairs:
            continue
        spent = [_extra(one.seconds, other.seconds) for one, other in pairs]
        known = [value for value in spent if value is not None]
        uncached = [_extra(_uncached(one), _uncached(other)) for one, other in pairs]
        whole = [value for value in uncached if value is not None]
        gain = ranking.differences.get((arm, against), {}).get(METRICS[0])
        found.append(
            CostGain(
                ranking=ranking.key,
                arm=arm,
                against=against,
                pairs=len(known),
                extra_seconds=_mean(known),
                extra_seconds_uncached=_mean(whole) if len(whole) == len(pairs) else None,
                gain=gain if gain is not None and gain.mean is not None else None,
            )
        )
    return found


def _line(ranking: RankingKey, arm: str, runs: Sequence[Run]) -> CostLine:
    names = sorted({name for run in runs for name in run.stages})
    return CostLine(
        ranking=ranking,
        arm=arm,
        runs=len(runs),
        failed=sum(not run.ok for run in runs),
        seconds=_spent([run.seconds for run in runs]),
        cpu_seconds=_spent([run.cpu_seconds for run in runs]),
        gpu_seconds=_spent([run.gpu_seconds for run in runs]),
        reused_seconds=_spent([run.reused_seconds for run in runs]),
        latency_ms=_latency([run.latency_ms for run in runs]),
        stages={name: _spent([_stage_seconds(run, name) for run in runs]) for name in names},
    )


def _spent(values: Sequence[float | None]) -> Spent:
    known = [value for value in values if value is not None]
    return Spent(total=math.fsum(known) if known else None, mean=_mean(known), known=len(known))


def _latency(values: Sequence[float | None]) -> Latency:
    known = sorted(value for value in values if value is not None)
    if not known:
        return Latency(median=None, low=None, high=None, known=0)
    quartiles = statistics.quantiles(known, n=4, method="inclusive") if len(known) > 1 else known * 3
    return Latency(median=quartiles[1], low=quartiles[0], high=quartiles[2], known=len(known))


def _stage_seconds(run: Run, stage: str) -> float | None:
    value = run.stages.get(stage, {}).get("seconds")
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _uncached(run: Run) -> float | None:
    return None if run.seconds is None or run.reused_seconds is None else run.seconds + run.reused_seconds


def _extra(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
