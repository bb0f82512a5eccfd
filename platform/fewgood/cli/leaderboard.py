"""`fewgood leaderboard`: the ledger as a table, JSON, CSV, Markdown, LaTeX or one HTML file that opens offline."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fewgood.cli.common import HomeOption, JsonOption, begin, console
from fewgood.errors import SpecError, StoreError
from fewgood.store.home import Home

if TYPE_CHECKING:
    from fewgood.leaderboard.tables import LeaderboardRow
    from fewgood.store import LedgerIndex

__all__ = ["register"]

logger = logging.getLogger(__name__)

_ENTRIES = "SELECT entry FROM entries WHERE $1 IS NULL OR study = $1 ORDER BY entry"
_RUNS = "SELECT * FROM entries WHERE $1 IS NULL OR study = $1 ORDER BY entry"
"""The runs of one study, or of all where its name is NULL."""

_OPENED = ("spec_json", "group_metrics_json", "test_names", "test_labels", "test_scores")
"""The large columns that a line of the leaderboard is made from."""

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
        from fewgood.store import LedgerIndex, Location

        index = LedgerIndex(where.shared("ledger") if ledger is None else Location.of(ledger))
        index.refresh()
        for name, reason in index.problems:
            logger.warning("ledger file %s cannot be read and is left out: %s", index.location.child(name), reason)
        if study is not None:
            studies = index.query("SELECT DISTINCT study FROM entries WHERE study <> '' ORDER BY study").to_pydict()[
                "study"
            ]
            if study not in studies:
                known = ", ".join(studies) or "none yet"
                raise SpecError(f"--study {study!r} has no runs in {index.location.shown}: known studies are {known}")
        text = _render(chosen, index, study, where)
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


def _render(chosen: str, index: LedgerIndex, study: str | None, where: Home) -> str:
    if chosen != "html":
        from fewgood.leaderboard import format_leaderboard

        return format_leaderboard(_lines(index, study), chosen)
    from fewgood.pictures import report_html

    entries = index.query(_ENTRIES, [study]).to_pydict()["entry"]
    return report_html(index.rows(entries), where, title=f"Study {study}" if study else "fewgood leaderboard")


def _lines(index: LedgerIndex, study: str | None) -> list[LeaderboardRow]:
    """The leaderboard; the large columns of one cell at a time are in memory."""
    from fewgood.leaderboard.runs import Run, read_runs
    from fewgood.leaderboard.tables import leaderboard_of
    from fewgood.store.index import NARROW

    found = index.query(_RUNS, [study])
    narrow = (row for batch in found.to_batches(max_chunksize=1000) for row in batch.to_pylist())

    def opened(runs: Sequence[Run]) -> list[Run]:
        rows = index.rows([run.entry for run in runs if run.ok], columns=[*NARROW, *_OPENED])
        whole = {row["entry"]: Run.from_row(row) for row in rows}
        return [whole.get(run.entry, run) for run in runs]

    return leaderboard_of(read_runs(narrow), opened=opened)
