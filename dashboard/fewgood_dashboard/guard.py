"""What is shown instead of a page, or a part of one, that cannot be drawn: a sentence, never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import streamlit as st

from fewgood.errors import FewgoodError
from fewgood.leaderboard.formats import plain_text

__all__ = ["guarded"]

Arguments = ParamSpec("Arguments")

logger = logging.getLogger(__name__)


def guarded(draw: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """`draw`, whose errors are said on the page; for a page, and for a fragment, which Streamlit runs by itself."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            draw(*args, **kwargs)
        except FewgoodError as error:
            st.error("This cannot be shown now.")
            st.text(plain_text(str(error)))
        except Exception as error:
            if type(error).__module__.startswith("streamlit"):
                raise  # how Streamlit stops or repeats a script
            logger.exception("%s failed", draw.__qualname__)
            st.error("This failed by a fault of ours; the server's log has the details. The other pages still work.")
            st.text(plain_text(f"{type(error).__name__}: {error}")[:500])

    return drawn
