"""`fewgood compare`: several arms on the same support files, test files and seeds, with paired differences."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from fewgood.cli.common import (
    BaselineOption,
    CategoryOption,
    DatasetOption,
    HomeOption,
    JsonOption,
    KeywordOption,
    RootOption,
    SetOption,
    ShotsOption,
    begin,
    console,
    print_json,
    progress_printer,
    spec_from_flags,
    split_list,
)
from fewgood.errors import SpecError
from fewgood.specs import ARMS, TrialSpec

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def compare(
        category: CategoryOption,
        dataset: DatasetOption = "folder",
        root: RootOption = None,
        baseline: BaselineOption = "patchcore",
        shots: ShotsOption = "1",
        arms: Annotated[str, typer.Option("--arms", help=f"Separated by commas, of {', '.join(ARMS)}.")] = (
            "none,augment,generate"
        ),
        seeds: Annotated[str, typer.Option("--seeds", help="Separated by commas.")] = "0,1,2",
        keyword: KeywordOption = None,
        settings: SetOption = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Run every arm with every seed and print means, intervals and paired differences."""
        where = begin(home, json_output=json_output)
        names, numbers = split_list("--arms", arms), _seeds(seeds)
        first = spec_from_flags(
            dataset=dataset,
            root=root,
            category=category,
            baseline=baseline,
            shots=shots,
            arm=names[0],
            seed=numbers[0],
            keyword=keyword,
            settings=settings,
        )
        # Every spec is made, and so checked, before the first run starts.
        specs = [dataclasses.replace(first, arm=arm, seed=seed) for seed in numbers for arm in names]
        rows = _run_all(specs, where)
        from fewgood.leaderboard import compare_document, format_compare

        document = compare_document(rows)
        if json_output:
            print_json(document)
        else:
            typer.echo(format_compare(document))


def _run_all(specs: list[TrialSpec], where: Any) -> list[dict[str, Any]]:
    from fewgood.pipeline import open_context, run

    category = open_context(specs[0], where).category
    for spec in specs:  # too few images for a later seed is said now, not after an hour
        open_context(spec, where, category=category)
    rows = []
    for number, spec in enumerate(specs, start=1):
        prefix = f"[{number}/{len(specs)}] {spec.arm} seed {spec.seed}: "
        result = run(spec, where, category=category, progress=progress_printer(prefix))
        rows.append(dict(result.row))
        auroc = result.metrics.get("image_auroc")
        shown = "no image AUROC" if auroc is None else f"image AUROC {auroc:.3f}"
        console.print(f"{prefix}{shown} in {result.row['seconds']:.1f} s", markup=False)
    return rows


def _seeds(text: str) -> list[int]:
    numbers = []
    for word in split_list("--seeds", text):
        if not word.isdigit():
            raise SpecError(f"--seeds has {word!r}, allowed are whole numbers from 0, separated by commas")
        numbers.append(int(word))
    return numbers
