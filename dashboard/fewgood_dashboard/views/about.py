"""About: the protocol, the versions and the hardware behind the numbers, and where this dashboard reads."""

from __future__ import annotations

from collections import defaultdict

import streamlit as st

import fewgood
from fewgood.leaderboard.formats import plain_text
from fewgood.leaderboard.report import ARM_WORDS
from fewgood.leaderboard.runs import Run
from fewgood_dashboard import parts, queries
from fewgood_dashboard.source import Source

__all__ = ["render"]

_SAMPLED = 500
"""Runs whose versions are read: one each of the latest configurations."""

PROTOCOL = (
    "Every arm trains the same detector on a different training set, on the same support files, test images and seeds.",
    "Image AUROC is the chance that a defective image scores above a good one; 0.5 is guessing, 1 is perfect. F1-max is "
    "the field's: its threshold has seen the test labels.",
    "Intervals cover 95 %: a bootstrap over seeds and test images, the same images for all arms, with corrections for few "
    "seeds. With one seed no interval is given.",
    "Gains are differences paired by seed. A pooled gain weighs every category the same and speaks of these categories only.",
    "Numbers of different backbones, image sizes, shots or ways of choosing a configuration are never ranked together.",
    "No test image chooses anything: a search maximises a proxy made from views of the support images. Where a study was "
    "told to select on the test images, its rows say so and stand apart.",
)


def render(source: Source) -> None:
    """How the numbers came about."""
    st.subheader("Protocol")
    st.markdown("\n".join(f"- {text}" for text in PROTOCOL))
    st.subheader("Arms")
    parts.table([{"arm": arm, "the detector is fitted on": words} for arm, words in ARM_WORDS.items()], key="arms")
    st.subheader("Machines and software")
    parts.table(queries.machines(source.index), key="machines")
    parts.table(_versions(source), key="versions")
    st.subheader("Data")
    parts.table(queries.data(source.index), key="data")
    st.subheader("This dashboard")
    st.text(
        f"fewgood {fewgood.__version__}\nledger: {plain_text(source.settings.shown)}\nhome: {plain_text(str(source.home.root))}"
    )
    st.caption("It reads the ledger, artifacts by their hash and the event logs of studies, and writes nothing.")


def _versions(source: Source) -> list[dict[str, str]]:
    def compute() -> list[dict[str, str]]:
        entries = queries.latest_entries(source.index, _SAMPLED)
        found: dict[str, set[str]] = defaultdict(set)
        for row in source.index.rows(entries, columns=["entry", "versions_json"]):
            for name, version in Run.from_row(row).versions.items():
                found[str(name)].add(str(version))
        return [{"package": name, "versions": ", ".join(sorted(values))} for name, values in sorted(found.items())]

    return source.kept(("versions",), compute)
