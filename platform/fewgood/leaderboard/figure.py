"""A chart as HTML, with its title, legend, caption and numbers, and the style sheet that it needs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fewgood.leaderboard.charts import Chart
from fewgood.leaderboard.formats import plain_text

__all__ = ["chart_html", "charts_css", "environment"]

TEMPLATES = Path(__file__).parent / "templates"


@cache
def environment() -> Environment:
    """The templates' environment: everything is escaped, a name that is missing is an error.

    The filter `plain` is `plain_text`: what a ledger says is shown on one line and without characters that act.
    """
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["plain"] = _plain
    return made


@cache
def charts_css() -> Markup:
    """The rules that style charts and tables inside an element of class `fewgood`.

    Colours are variables with a light and a dark set. The system's colour scheme chooses, unless the element also has
    the class `light` or `dark`.
    """
    # A file of this package, not text from a ledger.
    return Markup((TEMPLATES / "charts.css").read_text(encoding="utf-8"))  # noqa: S704


def chart_html(chart: Chart) -> Markup:
    """A chart as one `<figure>`: title, legend, SVG, caption, and its numbers as a table to unfold.

    It is styled by `charts_css` inside an element of class `fewgood`.
    """
    macro = getattr(environment().get_template("figure.html.j2").module, "figure")  # noqa: B009
    return Markup(macro(chart).strip())  # noqa: S704 - the macro escapes


def _plain(value: object) -> str:
    return plain_text(str(value))
