"""Compare: two configurations, paired by seed on the same support files and test images."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from fewgood.leaderboard.charts import Chart, Dot, dot_chart
from fewgood.leaderboard.compare import delong_by_seed
from fewgood.leaderboard.finding import METRIC, contrast_chart
from fewgood.leaderboard.formats import format_interval, plain_text
from fewgood.leaderboard.runs import METRICS, Configuration, configurations, read_runs
from fewgood.leaderboard.statistics import Estimate, difference, estimate
from fewgood_dashboard import address, measures, parts, queries
from fewgood_dashboard.queries import RankingLine
from fewgood_dashboard.source import Source

__all__ = ["render"]

SCOPES = {"cell": "Two configurations in one category", "ranking": "Two arms over all categories"}


def render(source: Source) -> None:
    """A paired difference, its interval, and the seeds it is made of."""
    line = parts.pick_ranking(source)
    scope = address.choose("Compare", list(SCOPES), "scope", show=lambda name: SCOPES[name])
    if scope == "ranking":
        _arms(source, line)
    else:
        _configurations(source, line)


def _arms(source: Source, line: RankingLine) -> None:
    found = measures.comparison(source, line.digest)
    if found is None or len(found.estimates) < 2:
        st.info("This ranking has fewer than two arms with finished runs.")
        return
    arms = list(found.estimates)
    left, right = st.columns(2)
    one = address.choose("First arm", arms, "a", default="generate", where=left)
    other = address.choose("Second arm", arms, "b", default="none" if one != "none" else arms[-1], where=right)
    if one == other:
        st.info("Choose two different arms.")
        return
    gaps = [
        (cell.key.label, _gap(cell.differences, one, other))
        for cell in found.cells
        if one in cell.arms and other in cell.arms
    ]
    pooled = _gap(found.differences, one, other)
    _say(f"{one} - {other}", pooled, f"mean over {len(pooled.values)} cells")
    rows = [(label, gap, False) for label, gap in gaps if gap.mean is not None]
    if len(rows) > 1:
        rows.append((f"all {len(rows)} cells", pooled, True))
    if rows:
        chart = contrast_chart(
            rows,
            title=f"{one} against {other}",
            caption=f"Image AUROC of {one} minus {other}; the same seeds, support files and test images.",
            axis=f"change in image AUROC ({one} - {other})",
            quantity="cell",
        )
        parts.charts([chart], columns=1)
    st.caption(parts.stands(line))


def _gap(differences: Mapping[tuple[str, str], Mapping[str, Estimate]], one: str, other: str) -> Estimate:
    """The paired difference in image AUROC, which is held for one order of the two arms."""
    if (one, other) in differences:
        return differences[one, other][METRIC]
    return differences[other, one][METRIC].negated()


def _configurations(source: Source, line: RankingLine) -> None:
    cells = queries.cells(source.index, line.digest)
    cell = address.choose("Category", list(cells), "cell", show=plain_text)
    known = [item for item in configurations(read_runs(measures.narrow_rows(source, cells[cell]))) if item.runs]
    if len(known) < 2:
        st.info("This category has fewer than two configurations with finished runs.")
        return
    by_name = {f"{item.arm}-{item.config_hash[:8]}": item for item in known}
    left, right = st.columns(2)
    first = next((name for name, item in by_name.items() if item.arm == "generate"), next(iter(by_name)))
    one = address.choose(
        "First configuration", list(by_name), "a", default=first, show=lambda n: _name(by_name[n]), where=left
    )
    second = next(name for name in by_name if name != one)
    other = address.choose(
        "Second configuration", list(by_name), "b", default=second, show=lambda n: _name(by_name[n]), where=right
    )
    if one == other:
        st.info("Choose two different configurations.")
        return
    whole = [configurations(measures.whole_runs(source, by_name[name].runs))[0] for name in (one, other)]
    _pair(whole[0], whole[1])


def _pair(one: Configuration, other: Configuration) -> None:
    names = (_name(one), _name(other))
    metrics = [name for name in METRICS if any(name in run.metrics for run in (*one.runs, *other.runs))]
    gaps = {metric: difference(one.runs, other.runs, metric) for metric in metrics}
    main = gaps.get("image_auroc", difference((), (), "image_auroc"))
    _say(f"{names[0]} - {names[1]}", main, f"{len(main.values)} seeds")
    rows = []
    for metric in metrics:
        first, second, gap = estimate(one.runs, metric), estimate(other.runs, metric), gaps[metric]
        rows.append(
            {
                "metric": metric,
                names[0]: format_interval(first.mean, first.low, first.high),
                names[1]: format_interval(second.mean, second.low, second.high),
                "difference": format_interval(gap.mean, gap.low, gap.high, signed=True),
                "interval over": gap.resampled,
                "pairs": len(gap.values),
                "without a partner": gap.unpaired,
            }
        )
    parts.table(rows, key="metrics")
    shown = [(metric, gap, False) for metric, gap in gaps.items() if gap.mean is not None]
    if shown:
        chart = contrast_chart(
            shown,
            title="Paired differences",
            caption="First minus second configuration; the same seeds, support files and test images.",
            axis="difference",
            quantity="metric",
        )
        parts.charts([chart, _seeds(one, other)])
    _single(one, other)
    _settings(one, other)


def _seeds(one: Configuration, other: Configuration) -> Chart | None:
    right = {run.seed: run for run in other.runs}
    dots = []
    for run in one.runs:
        partner = right.get(run.seed)
        if partner is not None and "image_auroc" in run.metrics and "image_auroc" in partner.metrics:
            gap = run.metrics["image_auroc"] - partner.metrics["image_auroc"]
            dots.append(Dot(label=f"seed {run.seed}", mean=gap, style="neutral", filled=True))
    if not dots:
        return None
    return dot_chart(
        dots,
        title="Seed by seed",
        caption="One support set each; a single seed has no interval.",
        axis="difference in image AUROC",
        signed=True,
        quantity="seed",
    )


def _single(one: Configuration, other: Configuration) -> None:
    rows = [
        {
            "seed": seed,
            "difference": round(found.difference, 4),
            "95 %": f"{found.low:+.3f} to {found.high:+.3f}",
            "p": round(found.p, 4),
        }
        for seed, found in delong_by_seed(one.runs, other.runs)
    ]
    if rows:
        with st.expander("DeLong's test, one pair of ROC curves at a time"):
            st.caption(
                "It speaks of the test images only, for the one support set of that seed; several p-values are looked at here."
            )
            parts.table(rows, key="delong")


def _settings(one: Configuration, other: Configuration) -> None:
    with st.expander("Settings that differ"):
        first, second = (_flat(item.runs[0].spec) for item in (one, other))
        rows = [
            {"setting": name, "first": str(first.get(name, "-")), "second": str(second.get(name, "-"))}
            for name in sorted(first.keys() | second.keys())
            if first.get(name) != second.get(name) and name != "seed"
        ]
        parts.table(rows, key="settings")


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, object] = {}
    for name, item in value.items():
        found.update(_flat(item, f"{prefix}.{name}" if prefix else str(name)))
    return found


def _name(item: Configuration) -> str:
    count = f" +{item.count}" if item.count is not None else ""
    return plain_text(f"{item.arm}{count} ({item.config_hash[:8]})")


def _say(label: str, gap: Estimate, over: str) -> None:
    words = {
        "higher": "the first is better",
        "lower": "the first is worse",
        "unclear": "not shown to differ",
        "no interval": "one seed only: no interval, and no evidence either way",
        "missing": "no seed has both on the same support and test images",
    }
    tone = {"higher": "good", "lower": "bad"}.get(gap.verdict, "open")
    value = format_interval(gap.mean, gap.low, gap.high, signed=True)
    parts.answer(
        f"{label}: {value} image AUROC, {words[gap.verdict]}.",
        [f"95 % interval over {gap.resampled}; {over}."] if gap.low is not None else [],
        tone=tone,
    )
