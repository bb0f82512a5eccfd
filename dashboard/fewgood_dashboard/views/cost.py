"""Cost: what the runs took, what the cache saved, how fast a detector answers, and what a gain costs."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fewgood.leaderboard.cost import CostGain, CostLine, Spent, cost, cost_against_gain
from fewgood.leaderboard.formats import format_interval
from fewgood_dashboard import measures, parts, queries
from fewgood_dashboard.queries import Filter
from fewgood_dashboard.source import Source

__all__ = ["render"]


def render(source: Source) -> None:
    """Seconds per arm of one ranking, spent and saved, the latency of its detector, and gain against cost."""
    line = parts.pick_ranking(source)
    total = source.kept(("spent", line.digest), lambda: queries.spent(source.index, line.digest))
    parts.tiles(
        [
            ("all runs of this ranking", _hours(total["seconds"]), f"{total['runs']:,} runs, the search included"),
            ("processor time", _hours(total["cpu_seconds"]), f"known of {total['cpu_known']:,} runs"),
            ("GPU time", _hours(total["gpu_seconds"]), f"known of {total['gpu_known']:,} runs"),
            ("saved by the cache", _hours(total["reused_seconds"]), f"known of {total['reused_known']:,} runs"),
        ]
    )
    found = measures.comparison(source, line.digest)
    if found is None:
        st.info("No run of this ranking has finished yet.")
        return
    st.subheader("Per run, by arm")
    st.caption(
        "Of the configurations that are compared. Seconds are what a run spent itself; stages that another run had made "
        "are counted as saved. Who comes first pays for what arms share. Latency: one image already in memory, on the "
        "machine of the run. A dash is not known, not zero."
    )
    lines = cost(measures.picked_runs(source, Filter(ranking=line.digest)))
    parts.table([_row(item) for item in lines], key="cost")
    st.subheader("Per stage, mean seconds of a run that made it")
    stages = sorted({name for item in lines for name in item.stages})
    parts.table(
        [
            {"arm": item.arm, **{name: _mean(item.stages[name]) if name in item.stages else None for name in stages}}
            for item in lines
        ],
        key="stages",
    )
    st.subheader("What a gain costs")
    rows = [
        _gain(item)
        for arm, against in (("generate", "none"), ("generate", "augment"), ("augment", "none"))
        for item in cost_against_gain([found], arm, against)
    ]
    parts.table(rows, key="gains")
    st.caption(
        "Extra seconds of a run with the first arm over one with the second, beside what it gains in image AUROC."
    )


def _row(item: CostLine) -> dict[str, Any]:
    return {
        "arm": item.arm,
        "runs": item.runs,
        "failed": item.failed,
        "seconds": _mean(item.seconds),
        "CPU seconds": _mean(item.cpu_seconds),
        "GPU seconds": _mean(item.gpu_seconds),
        "saved seconds": _mean(item.reused_seconds),
        "latency, ms": None if item.latency_ms.median is None else round(item.latency_ms.median, 1),
        "latency, quartiles": None
        if item.latency_ms.low is None or item.latency_ms.high is None
        else f"{item.latency_ms.low:.1f} to {item.latency_ms.high:.1f}",
        "latency known of": item.latency_ms.known,
    }


def _gain(item: CostGain) -> dict[str, Any]:
    gap = item.gain
    return {
        "arm": item.arm,
        "against": item.against,
        "pairs": item.pairs,
        "extra seconds": None if item.extra_seconds is None else round(item.extra_seconds, 1),
        "without the cache": None if item.extra_seconds_uncached is None else round(item.extra_seconds_uncached, 1),
        "gain in image AUROC": None if gap is None else format_interval(gap.mean, gap.low, gap.high, signed=True),
    }


def _mean(value: Spent) -> float | None:
    return None if value.mean is None else round(value.mean, 2)


def _hours(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:,.1f} min"
