"""The command line `fewgood`: one file per command, thin."""

from fewgood.cli.main import main

__all__ = ["main"]
