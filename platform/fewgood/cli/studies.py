"""`fewgood resume` and `fewgood plan`: carrying a study on, and saying beforehand what it would do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fewgood.cli.common import AddressOption, HomeOption, JsonOption, ReportOption, StoreOption, begin, print_json
from fewgood.errors import SpecError
from fewgood.execution import keep_to_loopback

if TYPE_CHECKING:
    from fewgood.execution.space import Space
    from fewgood.execution.study import Study
    from fewgood.store import Home

__all__ = ["register", "spaces_of"]


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    def resume(
        name: Annotated[str, typer.Argument(metavar="STUDY", help="The study's name, or its YAML file.")],
        address: AddressOption = None,
        retry_failed: Annotated[
            bool, typer.Option("--retry-failed", help="Also start the configurations again that failed.")
        ] = False,
        report: ReportOption = None,
        store: StoreOption = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Carry a study on after a kill, a lost host or Ctrl-C: finished trials are kept, interrupted ones start again."""
        where = begin(home, store=store, json_output=json_output)
        keep_to_loopback(address)
        study, spaces = _known_or_file(name, where)
        from fewgood.cli.live import Live, finish
        from fewgood.execution.sweep import run_sweep

        outcome = run_sweep(
            study, spaces, where, address=address, listener=Live(json_output), retry_failed=retry_failed
        )
        finish(outcome, where, report or outcome.folder / "report.html", json_output=json_output)

    @app.command()
    def plan(
        name: Annotated[
            str, typer.Argument(metavar="STUDY", help="A study as YAML, or the name of one that was started.")
        ],
        concurrent: Annotated[
            int | None, typer.Option("--concurrent", help="Trials at once for the estimate; else as many as CPUs here.")
        ] = None,
        store: StoreOption = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Say what a study would run, what is there already, and about how long the rest takes; nothing is computed."""
        where = begin(home, store=store, json_output=json_output)
        study, spaces = _known_or_file(name, where)
        from fewgood.execution.plan import plan_study, plan_text

        made = plan_study(study, spaces, where, concurrent=concurrent)
        if json_output:
            print_json(made.to_json())
        else:
            typer.echo(plan_text(made))


def spaces_of(study: Study, *, beside: Path | None) -> Mapping[str, Space]:
    """Each cell's search space by its label; a space file named in a YAML study may lie beside it."""
    from fewgood_spaces import resolve

    found: dict[tuple[str, str], Space] = {}
    for cell in study.cells:
        pair = (cell.dataset, cell.baseline)
        if pair not in found:
            found[pair] = resolve(study.space, dataset=cell.dataset, baseline=cell.baseline, folder=beside)
    return {cell.label: found[cell.dataset, cell.baseline] for cell in study.cells}


def _known_or_file(name: str, home: Home) -> tuple[Study, Mapping[str, Space]]:
    """A study by its file, or as it was started under that name."""
    from fewgood.execution.study import load_study
    from fewgood.execution.study_folder import StudyFolder

    path = Path(name).expanduser()
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise SpecError(f"study file {path} does not exist: give a YAML file, or the name of a study")
        study = load_study(path).with_categories(home)
        return study, spaces_of(study, beside=path.parent)
    return StudyFolder(home, name).load()
