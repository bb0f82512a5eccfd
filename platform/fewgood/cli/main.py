"""The `fewgood` command: its subcommands, and how an error reaches a user."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

import typer
from typer.exceptions import TyperException

import fewgood
from fewgood.cli import (
    cluster,
    compare,
    dashboard,
    doctor,
    evaluate,
    generate,
    leaderboard,
    ledger,
    prompts,
    registry,
    request,
    serve,
    spaces,
    store,
    studies,
    sweep,
)
from fewgood.cli.common import state
from fewgood.errors import FewgoodError, StoreError
from fewgood.store.home import no_space

__all__ = ["app", "main"]

_INTERRUPTED = 130

app = typer.Typer(
    name="fewgood",
    help="From a few good images to a measured gain: few-shot industrial anomaly detection.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(fewgood.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Options that stand before the command."""


for _module in (
    doctor,
    prompts,
    evaluate,
    compare,
    generate,
    sweep,
    studies,
    spaces,
    leaderboard,
    ledger,
    store,
    registry,
    serve,
    request,
    dashboard,
    cluster,
):
    _module.register(app)


def main() -> None:
    """Run the command line; exit status 0, 1 for a fault of ours, 2 for one of the user's, 130 when interrupted."""
    sys.exit(_run())


def _run() -> int:
    try:
        # Without standalone mode Typer hands its own errors to us, and a `typer.Exit` comes back as its status.
        status = app(standalone_mode=False)
    except FewgoodError as error:
        return _refuse(error)
    except TyperException as error:
        context = getattr(getattr(error, "ctx", None), "command_path", "fewgood")
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        return _refuse(FewgoodError(f"{message} (see `{context} --help`)"))
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback reaches a user
        if no_space(error):
            return _refuse(StoreError("no space left on the disk: free some space, or give another folder with --home"))
        return _fault(error)
    if status == _INTERRUPTED:  # Typer turns Ctrl-C inside a command into this status
        sys.stderr.write("fewgood: interrupted; what was finished is kept, the same command carries on\n")
    return status if isinstance(status, int) else 0


def _refuse(error: FewgoodError) -> int:
    line = " ".join(str(error).split())
    if state.json_output:
        sys.stdout.write(json.dumps({"status": "failed", "error": line}) + "\n")
    sys.stderr.write(f"fewgood: {line}\n")
    return 2


def _fault(error: Exception) -> int:
    """A fault that is not the user's: the traceback goes into a file, one line says where."""
    text = "".join(traceback.format_exception(error))
    line = f"internal error: {type(error).__name__}: {' '.join(str(error).split())[:400]}"
    try:
        folder = state.home().root / "crashes"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}.txt"
        path.write_text(text)
        line += f" (the traceback is in {path}; please report it)"
    except OSError:
        logging.getLogger(__name__).error("%s", text)
    if state.json_output:
        sys.stdout.write(json.dumps({"status": "failed", "error": line}) + "\n")
    sys.stderr.write(f"fewgood: {line}\n")
    return 1
