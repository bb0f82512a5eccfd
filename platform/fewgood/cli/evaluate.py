"""`fewgood evaluate`: one run, one arm with one seed, through every stage."""

from __future__ import annotations

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
    console,
    print_json,
    progress_printer,
    spec_from_flags,
)

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def evaluate(
        category: CategoryOption,
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
        """Fit a detector on an arm's images and measure it on the test set."""
        where = begin(home, json_output=json_output)
        spec = spec_from_flags(
            dataset=dataset,
            root=root,
            category=category,
            baseline=baseline,
            shots=shots,
            arm=arm,
            seed=seed,
            keyword=keyword,
            settings=settings,
        )
        from fewgood.pipeline import run

        result = run(spec, where, progress=progress_printer())
        if json_output:
            print_json(result.to_json())
            return
        for name, value in result.metrics.items():
            typer.echo(f"{name:14} {value:.4f}")
        for group, metrics in result.to_json()["group_metrics"].items():
            typer.echo(f"{group:14} " + "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
        if "pixel_auroc" not in result.metrics:
            console.print("pixel metrics are absent: not every defect has a mask")
        if result.row["support_note"]:
            console.print(f"support set: {result.row['support_note']}", markup=False)
        typer.echo(f"{'support':14} {', '.join(result.row['support_files'])}")
        if result.row["prompt"]:
            typer.echo(f"{'prompt':14} {result.row['prompt']}")
        for stage, entry in result.to_json()["stages"].items():
            typer.echo(
                f"{'stage':14} {stage}: {'cached' if entry['cached'] else format(entry['seconds'], '.1f') + ' s'}"
            )
