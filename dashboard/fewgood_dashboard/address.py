"""The address of a view: every choice on a page is in the page's query string, so that a sent address opens as it was."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, unquote

import streamlit as st

__all__ = ["choose", "choose_many", "number", "page_number", "paginate", "remember", "remembered", "switch"]


_BETWEEN = "~"
"""Between several values of one key; in a value it is quoted."""


def choose(
    label: str,
    options: Sequence[str],
    key: str,
    *,
    default: str | None = None,
    show: Callable[[str], str] = str,
    hint: str | None = None,
    where: Any = st,
) -> str:
    """A select box that is bound to the address.

    Args:
        label: What people read above it.
        options: Values as they stand in the address, at least one.
        key: Name in the address.
        default: Chosen when the address names none; the first option if this is none of them.
        show: Value -> what people read.
        hint: Tooltip.
        where: The container to draw in.

    Returns:
        The chosen value. A value of the address that is not among the options is said so, and the default is taken.
    """
    known = list(options)
    fallback = default if default in known else known[0]
    _follow(key, lambda text: text if text in known else _unknown(label, text, fallback), fallback)
    if st.session_state[_widget(key)] not in known:
        st.session_state[_widget(key)] = fallback
    value = where.selectbox(label, known, key=_widget(key), format_func=show, help=hint)
    return _settle(key, str(value))


def choose_many(label: str, options: Sequence[str], key: str, *, where: Any = st, hint: str | None = None) -> list[str]:
    """Several of `options`, bound to the address; none chosen means all, and is not in the address."""
    known = list(options)
    _follow(key, lambda text: _several(label, text, known), [])
    st.session_state[_widget(key)] = [item for item in st.session_state[_widget(key)] if item in known]
    value = where.multiselect(label, known, key=_widget(key), placeholder="all", help=hint)
    _settle(key, _BETWEEN.join(quote(item, safe="") for item in value))
    return list(value)


def number(label: str, low: int, high: int, key: str, *, default: int, where: Any = st, hint: str | None = None) -> int:
    """A slider of whole numbers, bound to the address."""
    if high <= low:
        return low
    _follow(key, lambda text: min(max(_whole(text, default), low), high), default)
    st.session_state[_widget(key)] = min(max(int(st.session_state[_widget(key)]), low), high)
    value = int(where.slider(label, low, high, key=_widget(key), help=hint))
    _settle(key, str(value))
    return value


def switch(label: str, key: str, *, default: bool = False, where: Any = st, hint: str | None = None) -> bool:
    """A toggle, bound to the address as 1 or 0."""
    _follow(key, lambda text: text == "1", default)
    value = bool(where.toggle(label, key=_widget(key), help=hint))
    _settle(key, "1" if value else "0")
    return value


def page_number(key: str, signature: str) -> int:
    """The page of a long table that the address or the reader asks for, from 1; another `signature` starts at 1 again.

    Args:
        key: Name in the address.
        signature: What the table is filtered and sorted by.
    """
    _follow(key, lambda text: max(1, _whole(text, 1)), 1)
    before = st.session_state.get(f"signature.{key}", signature)
    st.session_state[f"signature.{key}"] = signature
    if before != signature:
        st.session_state[_widget(key)] = 1
    return int(st.session_state[_widget(key)])


def paginate(pages: int, key: str, *, where: Any = st) -> None:
    """The control that turns pages, bound to the address; nothing is drawn for a single page."""
    current = min(max(1, int(st.session_state[_widget(key)])), pages)
    if pages <= 1:
        _settle(key, "")
        return
    st.session_state[_widget(key)] = current
    _settle(key, str(where.pagination(pages, key=_widget(key))))


def remember(key: str, value: str) -> None:
    """Keep a choice for other pages of this session, as their default."""
    st.session_state[f"memory.{key}"] = value


def remembered(key: str) -> str | None:
    """What `remember` kept."""
    found = st.session_state.get(f"memory.{key}")
    return None if found is None else str(found)


def _follow(key: str, parse: Callable[[str], Any], default: Any) -> None:
    """Set the widget's value from the address when it is first drawn, and when the address changed under it."""
    text = st.query_params.get(key)
    fresh = _widget(key) not in st.session_state
    if fresh or (text is not None and text != st.session_state.get(_seen(key), text)):
        st.session_state[_widget(key)] = default if text is None else parse(text)


def _settle(key: str, text: str) -> str:
    """Write the choice into the address."""
    st.session_state[_seen(key)] = text
    if text == "":
        if key in st.query_params:
            del st.query_params[key]
    elif st.query_params.get(key) != text:
        st.query_params[key] = text
    return text


def _several(label: str, text: str, known: Sequence[str]) -> list[str]:
    asked = [unquote(part) for part in text.split(_BETWEEN)]
    for missing in [item for item in asked if item not in known][:3]:
        _unknown(label, missing, "")
    return [item for item in asked if item in known]


def _whole(text: str, otherwise: int) -> int:
    return int(text) if re.fullmatch(r"-?[0-9]{1,8}", text) else otherwise


def _unknown(label: str, text: str, fallback: str) -> str:
    st.warning("The address asks for something that this ledger does not have; another choice is shown instead.")
    st.text(f"{label}: {text[:200]}")
    return fallback


def _widget(key: str) -> str:
    return f"choice.{key}"


def _seen(key: str) -> str:
    return f"seen.{key}"
