"""Runs: every run with its state; failures with their message and the command that repeats them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fewgood.leaderboard.formats import plain_text
from fewgood.leaderboard.runs import Run
from fewgood_dashboard import address, measures, parts, queries
from fewgood_dashboard.queries import Filter
from fewgood_dashboard.source import Source

__all__ = ["render"]

PAGE_SIZE = 25
_DETAILS = (
    "entry",
    "error",
    "command",
    "support_files",
    "support_note",
    "stages_json",
    "versions_json",
    "hardware",
    "spec_json",
)


def render(source: Source) -> None:
    """A page of runs, and one of them in full."""
    columns = st.columns(5)
    failed = address.switch("Failures only", "failed", where=columns[0])
    names = ("dataset", "category", "arm", "study")
    everything = Filter()
    equal = {
        name: address.choose_many(
            name.capitalize(), measures.known_values(source, name, everything), name, where=columns[place + 1]
        )
        for place, name in enumerate(names)
    }
    chosen = Filter(equal={name: values for name, values in equal.items() if values})
    number = address.page_number("page", str((failed, equal)))
    page = queries.run_page(source.index, chosen, failed_only=failed, number=number, size=PAGE_SIZE)
    st.caption(f"{page.total:,} runs; page {page.number} of {page.pages:,}.")
    whole = {
        row["entry"]: row for row in source.index.rows([row["entry"] for row in page.rows], columns=["entry", "error"])
    }
    parts.table(
        [
            {
                "run": row["run_id"][:12],
                "state": "ok" if row["ok"] else "FAILED",
                "category": f"{row['dataset']}/{row['category']}",
                "detector": row["baseline"],
                "shots": row["shots"],
                "arm": row["arm"],
                "seed": row["seed"],
                "message": (whole.get(row["entry"], {}).get("error") or "")[:200],
                "image AUROC": None if row["image_auroc"] is None else round(row["image_auroc"], 4),
                "seconds": row["seconds"],
                "started": row["started_utc"],
                "study": row["study"],
            }
            for row in page.rows
        ],
        key="runs-table",
    )
    address.paginate(page.pages, "page")
    if page.rows:
        _one(source, list(page.rows))


def _one(source: Source, rows: list[dict[str, Any]]) -> None:
    st.subheader("One run")
    by_entry = {row["entry"]: row for row in rows}
    asked = st.query_params.get("run", "")
    if asked and asked not in by_entry and (found := queries.run_of(source.index, asked)):
        by_entry[asked] = found
    entry = address.choose("Run", list(by_entry), "run", show=lambda name: _label(by_entry[name]))
    details = source.index.rows([entry], columns=list(_DETAILS))
    if not details:
        st.info("This run's file is no longer there.")
        return
    run = Run.from_row(details[0])
    if run.error:
        st.error("The run failed with this message:")
        st.code(plain_text(run.error), language=None, wrap_lines=True)
    st.caption("The command that repeats it; what was finished is taken from the store.")
    st.code(plain_text(run.command or "not recorded"), language="sh", wrap_lines=True)
    left, right = st.columns(2)
    with left:
        st.caption("Stages, in seconds")
        parts.table(_stages(run), key="stages")
    with right:
        st.caption("Support files and machine")
        st.text("\n".join(plain_text(name) for name in run.support_files or ["not recorded"]))
        if run.support_note:
            st.text(plain_text(run.support_note))
        st.text(plain_text(run.hardware or "hardware not recorded"))
    with st.expander("Spec and versions"):
        st.json(dict(run.spec), expanded=1)
        st.json(dict(run.versions), expanded=1)


def _label(row: dict[str, Any]) -> str:
    state = "" if row["ok"] else "FAILED "
    return plain_text(
        f"{state}{row['dataset']}/{row['category']} {row['baseline']} {row['arm']} seed {row['seed']} ({row['run_id'][:12]})"
    )


def _stages(run: Run) -> list[dict[str, Any]]:
    return [
        {
            "stage": name,
            "seconds": entry.get("seconds"),
            "from the store": bool(entry.get("cached")),
            "seconds it had cost": entry.get("reused_seconds"),
        }
        for name, entry in run.stages.items()
    ]
