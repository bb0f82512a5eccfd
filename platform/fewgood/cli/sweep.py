"""`fewgood sweep`: a Ray Tune and Optuna search over a study's cells, then the leaderboard and an HTML report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fewgood.cli.common import (
    AddressOption,
    HomeOption,
    JsonOption,
    KeywordOption,
    ReportOption,
    RootOption,
    SetOption,
    StoreOption,
    begin,
    split_list,
)
from fewgood.cli.live import Live, finish
from fewgood.cli.studies import spaces_of
from fewgood.errors import SpecError
from fewgood.execution import keep_to_loopback

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def sweep(
        study_file: Annotated[Path | None, typer.Argument(help="A study as YAML; or use the flags.")] = None,
        name: Annotated[str, typer.Option("--name", help="The study's name.")] = "sweep",
        dataset: Annotated[str, typer.Option("--dataset", help="As for evaluate.")] = "sample",
        root: RootOption = None,
        categories: Annotated[str, typer.Option("--categories", help="Separated by commas, or all.")] = "",
        baselines: Annotated[str, typer.Option("--baselines", help="Separated by commas.")] = "patchcore",
        shots: Annotated[str, typer.Option("--shots", help="Separated by commas.")] = "1",
        seeds: Annotated[str, typer.Option("--seeds", help="Separated by commas.")] = "0",
        controls: Annotated[str, typer.Option("--controls", help="Arms run beside generate.")] = "none,augment",
        trials: Annotated[int, typer.Option("--trials", help="Configurations per cell.")] = 8,
        space: Annotated[str, typer.Option("--space", help="A search space, a YAML file, or auto.")] = "auto",
        select_on: Annotated[str, typer.Option("--select-on", help="proxy, or test (marked in every row).")] = "proxy",
        concurrent: Annotated[int | None, typer.Option("--concurrent", help="Trials at once.")] = None,
        keyword: KeywordOption = None,
        settings: SetOption = None,
        address: AddressOption = None,
        report: ReportOption = None,
        store: StoreOption = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Search a study's cells; the same command carries on where an earlier start stopped."""
        where = begin(home, store=store, json_output=json_output)
        keep_to_loopback(address)
        from fewgood.execution.study import load_study, study_from

        if study_file is not None:
            study = load_study(study_file)
        else:
            from fewgood.trials import parse_settings, parse_shots

            if not categories:
                raise SpecError("--categories is empty: name at least one category, or give a study file")
            named = split_list("--categories", categories)
            chosen: dict[str, Any] = {
                "name": dataset,
                "root": None if root is None else str(root.expanduser().absolute()),
                "categories": "all" if named == ["all"] else named,
            }
            if keyword is not None:
                chosen["keywords"] = dict.fromkeys(named, keyword)
            study = study_from(
                {
                    "name": name,
                    "datasets": [chosen],
                    "baselines": split_list("--baselines", baselines),
                    "shots": [parse_shots(word) for word in split_list("--shots", shots)],
                    "seeds": split_list("--seeds", seeds),
                    "controls": split_list("--controls", controls),
                    "budget": {"trials": trials},
                    "space": space,
                    "settings": parse_settings(settings or []),
                    "select_on": select_on,
                    "resources": {"concurrent": concurrent},
                },
                where="the flags of fewgood sweep",
            )
        study = study.with_categories(where)
        spaces = spaces_of(study, beside=None if study_file is None else study_file.parent)
        from fewgood.execution.sweep import run_sweep

        outcome = run_sweep(study, spaces, where, address=address, listener=Live(json_output))
        finish(outcome, where, report or outcome.folder / "report.html", json_output=json_output)
