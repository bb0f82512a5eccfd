"""The sweep's interactive charts, in Plotly: history, parallel coordinates, importances."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from fewgood.leaderboard.formats import plain_text
from fewgood_dashboard.studies import Trial

__all__ = ["history", "importance_bars", "parallel"]

BLUE, ORANGE, GREY = {"light": "#00639c", "dark": "#62b8ee"}, {"light": "#b34a00", "dark": "#f0964a"}, "#808b99"
"""Blue, orange and grey of Okabe and Ito's family, as in the report's charts; the mark's shape says the same again."""


def history(trials: Sequence[Trial], *, scheme: str, objective: str) -> go.Figure:
    """The objective of each trial in the order of start, and the best finished one so far as a line.

    Stopped trials are open diamonds at what their first seeds gave, failed ones crosses.
    """
    done, stopped = (
        [(n, t) for n, t in enumerate(trials, 1) if t.state == state and t.objective is not None]
        for state in ("finished", "stopped")
    )
    failed = [n for n, t in enumerate(trials, 1) if t.state == "failed"]
    best: list[float] = []
    for _, trial in done:
        best.append(max([*best[-1:], trial.objective or 0.0]))
    figure = go.Figure()
    figure.add_scatter(
        x=[n for n, _ in done],
        y=best,
        mode="lines",
        name="best so far",
        line={"shape": "hv", "color": GREY, "width": 2},
    )
    for name, found, marker in (
        ("finished", done, {"color": BLUE[scheme], "size": 9}),
        ("stopped early", stopped, {"color": GREY, "symbol": "diamond-open", "size": 10}),
    ):
        if found or name == "finished":
            figure.add_scatter(
                x=[n for n, _ in found],
                y=[t.objective for _, t in found],
                mode="markers",
                name=name,
                marker=marker,
                text=[_words(t.settings) for _, t in found],
                hovertemplate=f"trial %{{x}} ({name}): %{{y:.4f}}<br>%{{text}}<extra></extra>",
            )
    if failed:
        level = min((t.objective or 0.0 for _, t in done + stopped), default=0.0)
        figure.add_scatter(
            x=failed,
            y=[level] * len(failed),
            mode="markers",
            name="failed",
            marker={"color": ORANGE[scheme], "symbol": "x", "size": 10},
            hovertemplate="trial %{x} failed<extra></extra>",
        )
    figure.update_xaxes(title="trial, in the order of start", dtick=1 if len(trials) <= 20 else None)
    figure.update_yaxes(title=html.escape(objective))
    return _framed(figure, 320)


def parallel(trials: Sequence[Trial], *, objective: str) -> go.Figure | None:
    """Settings and objective of the finished trials as parallel coordinates; None without two of them."""
    done = [t for t in trials if t.state == "finished" and t.objective is not None]
    names = sorted({name for t in done for name in t.settings})
    if len(done) < 2 or not names:
        return None
    dimensions: list[dict[str, Any]] = []
    for name in names:
        values = [t.settings.get(name) for t in done]
        label = html.escape(plain_text(name))
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            ticks = sorted({float(value) for value in values if value is not None})
            marks = {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]} if len(ticks) <= 8 else {}
            dimensions.append({"label": label, "values": values, **marks})
        else:
            texts = [json.dumps(value, sort_keys=True, default=str) for value in values]
            known = sorted(set(texts))
            dimensions.append(
                {
                    "label": label,
                    "values": [known.index(text) for text in texts],
                    "tickvals": list(range(len(known))),
                    "ticktext": [html.escape(plain_text(text)) for text in known],
                }
            )
    if all(t.cost is not None for t in done):
        dimensions.append({"label": "cost, seconds", "values": [t.cost for t in done]})
    objectives = [t.objective for t in done]
    dimensions.append({"label": html.escape(objective), "values": objectives})
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={"color": objectives, "colorscale": "Cividis", "showscale": True, "colorbar": {"title": "objective"}},
            labelside="bottom",
        )
    )
    return _framed(figure, 380, top=40, bottom=60, side=90)


def importance_bars(values: Mapping[str, float], *, scheme: str) -> go.Figure:
    """How much each setting moved the objective, the most important at the top."""
    ordered = sorted(values.items(), key=lambda item: item[1])
    figure = go.Figure(
        go.Bar(
            x=[value for _, value in ordered],
            y=[html.escape(plain_text(name)) for name, _ in ordered],
            orientation="h",
            marker={"color": BLUE[scheme]},
            text=[f"{value:.2f}" for _, value in ordered],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    )
    figure.update_xaxes(title="share of the objective's variance (fANOVA)", range=[0, 1.05])
    return _framed(figure, 120 + 40 * len(ordered))


def _framed(figure: go.Figure, height: int, *, top: int = 10, bottom: int = 40, side: int = 10) -> go.Figure:
    figure.update_layout(
        height=height, margin={"l": side, "r": side, "t": top, "b": bottom}, legend={"orientation": "h", "y": 1.12}
    )
    return figure


def _words(settings: Mapping[str, Any]) -> str:
    return html.escape(plain_text(" ".join(f"{key}={value}" for key, value in sorted(settings.items()))))
