"""`fewgood leaderboard`: the ledger as a table, JSON, CSV, Markdown, LaTeX or one HTML file that opens offline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fewgood.cli.common import HomeOption, JsonOption, begin, console
from fewgood.errors import SpecError, StoreError
from fewgood.store.home import Home

__all__ = ["register"]

_FORMATS = ("table", "json", "csv", "md", "html", "latex")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="leaderboard")
    def leaderboard_command(
        output_format: Annotated[str, typer.Option("--format", help=f"One of {', '.join(_FORMATS)}.")] = "table",
        study: Annotated[str | None, typer.Option("--study", help="Only the runs of this study.")] = None,
        out: Annotated[Path | None, typer.Option("--out", help="Write to this file instead of stdout.")] = None,
        ledger: Annotated[
            str | None,
            typer.Option("--ledger", help="A folder or URI (s3://, gs://, ...) of ledger files [the home's]."),
        ] = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Print what the ledger's runs support: means, intervals, and gains against none and augment."""
        where = begin(home, json_output=json_output or output_format == "json", prepare=False)
        chosen = "json" if json_output else output_format
        if chosen not in _FORMATS:
            raise SpecError(f"--format is {chosen!r}, allowed is one of {', '.join(_FORMATS)}")
        from fewgood.store import Ledger, Location

        source = Ledger(where if ledger is None else Location.of(ledger))
        rows = source.rows()
        if study is not None:
            studies = sorted({row["study"] for row in rows if row["study"]})
            if study not in studies:
                known = ", ".join(studies) or "none yet"
                raise SpecError(f"--study {study!r} has no runs in {source.location.shown}: known studies are {known}")
            rows = [row for row in rows if row["study"] == study]
        text = _render(chosen, rows, study, where)
        if out is None:
            sys.stdout.write(text)
            return
        partial = out.with_name(f".{out.name}.partial")
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(out)
        except OSError as error:
            raise StoreError(f"--out {out} cannot be written ({error.strerror}): give another file") from error
        console.print(f"wrote {out}", markup=False, soft_wrap=True)


def _render(chosen: str, rows: list[dict[str, Any]], study: str | None, where: Home) -> str:
    from fewgood.leaderboard import format_leaderboard, leaderboard

    if chosen != "html":
        return format_leaderboard(leaderboard(rows), chosen)
    from fewgood.pictures import report_html

    return report_html(rows, where, title=f"Study {study}" if study else "fewgood leaderboard")
