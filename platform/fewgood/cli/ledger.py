"""`fewgood ledger compact`: merge the ledger's many small files into a few large ones."""

from __future__ import annotations

import dataclasses

import typer

from fewgood.cli.common import HomeOption, JsonOption, begin, console, print_json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    ledger_app = typer.Typer(no_args_is_help=True, help="Care for the ledger's files.")

    @ledger_app.command()
    def compact(home: HomeOption = None, json_output: JsonOption = False) -> None:
        """Merge the ledger's small files; sweeps and readers may go on meanwhile."""
        where = begin(home, json_output=json_output)
        from fewgood.store import Ledger

        ledger = Ledger(where)
        done = ledger.compact()
        left_out = [{"file": name, "reason": reason} for name, reason in done.left_out]
        if json_output:
            print_json({"status": "ok", **dataclasses.asdict(done), "left_out": left_out})
            return
        console.print(
            f"{ledger.location.shown}: {done.files_before} files before, {done.files_after} after, {done.rows} rows merged",
            markup=False,
            soft_wrap=True,
        )
        for name, reason in done.left_out:
            console.print(f"left as it is: {name}: {reason}", markup=False, soft_wrap=True)

    app.add_typer(ledger_app, name="ledger")
