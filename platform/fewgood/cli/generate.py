"""`fewgood generate`: a folder of good images in MVTec layout, with a contact sheet and a JSON line per image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewgood.cli.common import (
    ArmOption,
    BaselineOption,
    CategoryOption,
    DatasetOption,
    HomeOption,
    JsonOption,
    KeywordOption,
    RootOption,
    SeedOption,
    SetOption,
    ShotsOption,
    begin,
    print_json,
    progress_printer,
    spec_from_flags,
)

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def generate(
        category: CategoryOption,
        out: Annotated[Path, typer.Option("--out", help="The folder to make; it must not exist yet.")],
        count: Annotated[int | None, typer.Option("--count", help="Images to add (selection.count).")] = None,
        dataset: DatasetOption = "folder",
        root: RootOption = None,
        baseline: BaselineOption = "patchcore",
        shots: ShotsOption = "1",
        arm: ArmOption = "generate",
        seed: SeedOption = 0,
        keyword: KeywordOption = None,
        settings: SetOption = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Write the support images and what the arm adds to them; a category with good images only will do."""
        where = begin(home, json_output=json_output)
        extra = [] if count is None else [f"selection.count={count}"]
        spec = spec_from_flags(
            dataset=dataset,
            root=root,
            category=category,
            baseline=baseline,
            shots=shots,
            arm=arm,
            seed=seed,
            keyword=keyword,
            settings=[*(settings or []), *extra],
        )
        from fewgood.export import check_target, export_training_set

        check_target(out)
        from fewgood.pipeline import make_training_set, open_context

        context = open_context(spec, where, progress=progress_printer())
        written = export_training_set(context, make_training_set(context), out)
        if json_output:
            print_json(
                {
                    "status": "ok",
                    "out": str(out),
                    **written,
                    "spec": spec.to_json(),
                    "spec_hash": spec.spec_hash,
                    "support": [item.name for item in context.support.items],
                    "support_note": context.support.note,
                    "stages": context.stages,
                }
            )
            return
        typer.echo(
            f"{written['support_images']} support and {written['added_images']} added images: {written['images']}"
        )
        typer.echo(f"contact sheet: {written['contact_sheet']}")
        typer.echo(f"one JSON line per image: {written['lines']}")
