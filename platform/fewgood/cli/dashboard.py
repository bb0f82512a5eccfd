"""`fewgood dashboard`: the leaderboard as pages in a browser."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from fewgood.cli.common import HomeOption, begin, console
from fewgood.errors import SpecError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("dashboard")
    def command(
        ledger: Annotated[
            str | None,
            typer.Option(help="Another ledger than the home's: a folder, or a URI such as s3://bucket/ledger."),
        ] = None,
        host: Annotated[
            str, typer.Option(help="Address to listen on; another than loopback is open to your network.")
        ] = ("127.0.0.1"),
        port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
        secrets: Annotated[
            Path | None,
            typer.Option(
                exists=True, dir_okay=False, help="Streamlit secrets with an [auth] table: readers log in (OIDC)."
            ),
        ] = None,
        home: HomeOption = None,
    ) -> None:
        """Serve the dashboard until Ctrl-C. It reads the ledger, artifacts and studies, and writes nothing."""
        where = begin(home, prepare=False)
        from fewgood.store import Location

        if ledger is not None and not Location.of(ledger).files():  # a mistyped place is said now, not on a page only
            console.print(f"fewgood: there is no run in {ledger} yet", markup=False, soft_wrap=True)
        from fewgood_dashboard.login import read_secrets
        from fewgood_dashboard.source import Settings

        _check_port(host, port)
        known = read_secrets(secrets)
        from fewgood_dashboard.launch import LOOPBACK, serve

        if host not in LOOPBACK and "auth" not in known:
            console.print(
                f"fewgood: anybody who reaches {host} can read this dashboard: give --secrets with an [auth] table, "
                "or put a proxy with a login before it",
                markup=False,
                soft_wrap=True,
            )
        shown = f"[{host}]" if ":" in host else host

        def ready() -> None:
            console.print(f"fewgood dashboard on http://{shown}:{port} (Ctrl-C ends it)", markup=False, soft_wrap=True)

        serve(Settings(home=where, ledger=ledger), host=host, port=port, secrets=known, ready=ready)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SpecError(
                f"--host {host} --port {port} cannot be used ({error.strerror or error}): give another --port"
            ) from error
