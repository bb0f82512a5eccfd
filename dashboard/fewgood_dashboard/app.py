"""The Streamlit entry: pages, login where it is configured, and the same frame around every page."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from fewgood_dashboard import parts
from fewgood_dashboard.guard import guarded
from fewgood_dashboard.source import Source, connect

__all__ = ["PAGES", "draw", "main"]

PAGES = (
    ("overview", "Overview", ":material/home:"),
    ("leaderboard", "Leaderboard", ":material/leaderboard:"),
    ("compare", "Compare", ":material/compare_arrows:"),
    ("findings", "Findings", ":material/insights:"),
    ("sweep", "Sweep", ":material/tune:"),
    ("gallery", "Gallery", ":material/photo_library:"),
    ("cost", "Cost", ":material/timer:"),
    ("runs", "Runs", ":material/list_alt:"),
    ("about", "About", ":material/info:"),
)
"""(module and address, title, icon) of each page."""

_LOOK_SECONDS = 0.5
"""How often a page that waits for the first reading of the ledger looks whether it is over."""

ICON = Path(__file__).with_name("icon.png")
"""The browser tab's picture; a file of ours, since Streamlit fetches named icons from a server."""


def main() -> None:
    """Draw the page that the address names."""
    st.set_page_config(page_title="fewgood", page_icon=str(ICON), layout="wide")
    if not _admitted():
        return
    parts.sheet()
    source = connect()
    pages = [
        st.Page(partial(draw, module, source), title=title, icon=icon, url_path=module, default=number == 0)
        for number, (module, title, icon) in enumerate(PAGES)
    ]
    st.navigation(pages).run()


@guarded
def draw(module: str, source: Source) -> None:
    """Draw one page of `PAGES`; what is wrong with the ledger is said on the page, which stays up."""
    st.title(next(title for name, title, _ in PAGES if name == module))
    if source.arriving is not None:
        _wait(source)
        return
    parts.problems(source)
    if source.error and not source.version:
        return
    if module not in ("sweep", "about") and not source.index.query("SELECT 1 FROM runs LIMIT 1").num_rows:
        parts.empty(source)
        return
    render: Any = importlib.import_module(f"fewgood_dashboard.views.{module}").render
    render(source)


@st.fragment(run_every=_LOOK_SECONDS)
@guarded
def _wait(source: Source) -> None:
    """Say how far the first reading of the ledger is, until it is over."""
    rows = source.arriving
    if rows is None:
        st.rerun()
    st.info(f"Reading the ledger: {rows:,} runs so far. The page appears by itself.")


def _admitted() -> bool:
    """Whether this reader may see the pages: always, unless Streamlit's login is configured and he is not logged in."""
    try:
        configured = "auth" in st.secrets
    except FileNotFoundError:
        configured = False
    if not configured or st.user.is_logged_in:
        return True
    st.title("fewgood")
    st.button("Log in", on_click=st.login, type="primary")
    return False
