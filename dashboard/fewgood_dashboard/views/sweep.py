"""Sweep: a study while it runs and after: progress, history, parallel coordinates, importances."""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path

import streamlit as st

from fewgood.leaderboard.formats import plain_text
from fewgood_dashboard import address, figures, parts
from fewgood_dashboard.guard import guarded
from fewgood_dashboard.searched import front, importances
from fewgood_dashboard.source import Source
from fewgood_dashboard.studies import ENDED, StudyLog, StudyState, Trial, study_names

__all__ = ["render"]

_EVERY_SECONDS = 2.0
_SILENT_SECONDS = 180.0
"""A running study that has said nothing for so long may have been killed; the page says so."""

_SHOWN_RUNNING = 8

_CALLED = {"stopped": "stopped early"}
"""What people call a state, where it is not its name."""

_logs: dict[Path, StudyLog] = {}
"""One reader per study for all open pages, so that a long log is parsed once."""
_opening = threading.Lock()


def render(source: Source) -> None:
    """The studies of the home folder; the chosen one is looked at every two seconds."""
    folder = source.home.studies
    names = study_names(folder)
    if not names:
        st.info("There is no study yet. `fewgood sweep` makes one, and it appears here while it runs.")
        st.text(f"Looked in {plain_text(str(folder))}")
        st.code("fewgood sweep --name first --dataset sample --categories brick --trials 4 --space demo", language="sh")
        _again(folder)
        return
    name = address.choose("Study", names, "study", show=plain_text)
    state = _read(folder / name)
    cells = list(state.cells) or ["-"]
    cell = address.choose("Cell", cells, "cell", show=plain_text)
    _live(folder / name, cell)


@st.fragment(run_every=_EVERY_SECONDS)
@guarded
def _again(folder: Path) -> None:
    if study_names(folder):
        st.rerun()


@st.fragment(run_every=_EVERY_SECONDS)
@guarded
def _live(folder: Path, cell: str) -> None:
    # Every part has a container of its own, so that what comes into one does not move or redraw the others.
    progress, history, lines, shares = (st.container() for _ in range(4))
    state = _read(folder)
    if cell == "-" and state.cells:
        st.rerun()
    trials = state.of(cell)
    with progress:
        _progress(state)
    with history:
        _history(trials, state)
    with lines:
        _lines(trials)
    with shares:
        _shares(folder, cell, trials)


def _progress(state: StudyState) -> None:
    counts = {name: state.count(name) for name in (*ENDED, "running", "interrupted")}
    ended = sum(counts[name] for name in ENDED)
    total = max(state.planned or 0, ended + counts["running"] + counts["interrupted"], 1)
    silent = state.silent_seconds()
    if state.running and silent is not None and silent > _SILENT_SECONDS:
        status = f"no event for {silent / 60:.0f} minutes: it may have been stopped; the same command carries on"
    elif state.running:
        status = "running"
    else:
        status = "not running" if state.planned is None else "finished"
    said = [f"{counts['finished']} of {total} trials finished", f"{counts['running']} running"]
    said += [f"{counts[name]} {_CALLED.get(name, name)}" for name in ("stopped", "interrupted") if counts[name]]
    st.progress(ended / total, text=f"{', '.join(said)}, {counts['failed']} failed: {status}")
    now = [trial for trial in state.trials.values() if trial.state not in ENDED][:_SHOWN_RUNNING]
    words = [f"{trial.cell} {trial.name}: {_doing(trial)}" for trial in now] or ["nothing is running"]
    st.text("\n".join(plain_text(text) for text in words))
    if state.select_on == "test":
        st.warning("This study selects on the test images: its best value is too good for that reason.")


def _doing(trial: Trial) -> str:
    if trial.state == "interrupted":
        return "its worker or host died; it is started again"
    return trial.progress or "started"


def _history(trials: list[Trial], state: StudyState) -> None:
    st.subheader("History")
    if any(trial.state in ENDED for trial in trials):
        of = "image AUROC on the test images" if state.select_on == "test" else "proxy score"
        figure = figures.history(trials, scheme=parts.scheme(), objective=f"objective ({of})")
        st.plotly_chart(figure, key="history", width="stretch")
    else:
        st.caption("No trial of this cell has ended yet.")
    best = front(trials) if "cost" in state.objectives else None
    parts.table([_row(number, trial, best) for number, trial in enumerate(trials, 1)], key="trials")
    if any(trial.state == "stopped" for trial in trials):
        st.caption(
            "A trial that was stopped early did worse than the median of its cell after the same seeds; its objective is "
            "that of the seeds it had, so it is not compared with finished ones."
        )
    if best is not None:
        st.caption("This study weighs gain against cost: no other finished trial beats those on the front in both.")


def _lines(trials: list[Trial]) -> None:
    st.subheader("Parallel coordinates")
    figure = figures.parallel(trials, objective="objective")
    if figure is None:
        st.caption("Two finished trials are needed.")
        return
    st.plotly_chart(figure, key="parallel", width="stretch")
    st.caption("Drag along an axis to keep a range. The table above holds the same numbers.")


def _shares(folder: Path, cell: str, trials: list[Trial]) -> None:
    st.subheader("Importances")
    found = _importances(folder, cell, trials)
    if found is None:
        st.caption(
            "Eight finished trials of a cell that differ in settings and objective are needed; with fewer it would be noise."
        )
        return
    st.plotly_chart(figures.importance_bars(found, scheme=parts.scheme()), key="importances", width="stretch")
    rows = [{"setting": name, "importance": round(value, 4)} for name, value in found.items()]
    parts.table(rows, key="importance-table")
    done = sum(trial.state == "finished" for trial in trials)
    st.caption(
        f"fANOVA over {done} trials, from a random forest of the objective: it ranks settings, it does not test them."
    )


def _row(number: int, trial: Trial, best: Collection[str] | None) -> dict[str, object]:
    """A line of the table; `best` names the trials on the front, None where the study has one objective."""
    own = {
        "trial": number,
        "name": trial.name,
        "state": _CALLED.get(trial.state, trial.state),
        "objective": None if trial.objective is None else round(trial.objective, 4),
        **({} if trial.cost is None else {"cost, seconds": round(trial.cost, 1)}),
        **({} if best is None else {"on the front": trial.name in best}),
        "seconds": trial.seconds,
        "runs": len(trial.runs),
    }
    settings = {f"setting {key}" if key in (*own, "message") else key: value for key, value in trial.settings.items()}
    return {**own, **dict(sorted(settings.items())), "message": (trial.error or trial.progress)[:300]}


def _importances(folder: Path, cell: str, trials: list[Trial]) -> dict[str, float] | None:
    key = (str(folder), cell, sum(trial.state == "finished" for trial in trials))
    kept = st.session_state.setdefault("importances", {})
    if key not in kept:
        kept.clear()
        kept[key] = importances(trials)
    found: dict[str, float] | None = kept[key]
    return found


def _read(folder: Path) -> StudyState:
    with _opening:
        log = _logs.setdefault(folder, StudyLog(folder))
    return log.update()
