"""`fewgood spaces list|show|check`: the search spaces that ship, what one of them searches, and whether a file is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewgood.cli.common import JsonOption, begin, print_json
from fewgood.errors import SpecError

if TYPE_CHECKING:
    from fewgood.execution.space import Space
    from fewgood_spaces import ResolvedSpace

__all__ = ["register"]

_FEW = 4
"""Pairs that the list names; more are counted."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    spaces = typer.Typer(
        no_args_is_help=True, help="Search spaces: which ship, what they search, whether a file is right."
    )

    @spaces.command("list")
    def list_(json_output: JsonOption = False) -> None:
        """The search spaces that ship, and which dataset/baseline pairs take each when a study says `space: auto`."""
        begin(None, json_output=json_output, prepare=False)
        from fewgood_spaces import list_spaces, read_space

        used = _pairs()
        entries = [_summary(read_space(name)) | {"used_by": used.get(name, [])} for name in list_spaces()]
        if json_output:
            print_json({"status": "ok", "pairs": sum(map(len, used.values())), "spaces": entries})
            return
        for entry in entries:
            typer.echo(
                f"{entry['name']}: {entry['parameters']} parameters, {_configurations(entry['size'])}, format version "
                f"{entry['version']}, {_used(entry['used_by'])}"
            )
            typer.echo(f"  {entry['description']}")

    @spaces.command()
    def show(
        name: Annotated[str, typer.Argument(help="A name of `fewgood spaces list`, a YAML file, or auto.")] = "auto",
        dataset: Annotated[str | None, typer.Option("--dataset", help="With auto: whose space.")] = None,
        baseline: Annotated[
            str | None, typer.Option("--baseline", help="With auto: whose space; else whose options baseline.* are.")
        ] = None,
        json_output: JsonOption = False,
    ) -> None:
        """What a space searches, which file each parameter comes from, and which need another generator."""
        begin(None, json_output=json_output, prepare=False)
        resolved = _resolved(name, dataset, baseline)
        rows = _rows(resolved)
        if json_output:
            print_json({"status": "ok", **_summary(resolved), "values": rows})
            return
        space = resolved.space
        typer.echo(
            f"{space.name}: {_configurations(space.size())}, format version {space.version}, digest {space.digest}"
        )
        typer.echo(resolved.description)
        typer.echo("parameters that need another generator are marked *")
        texts = [_values(row) for row in rows]
        widths = max(len(row["key"]) for row in rows), max(map(len, texts))
        for row, text in zip(rows, texts, strict=True):
            mark = "*" if row["needs_generator"] else " "
            typer.echo(f"{mark} {row['key']:<{widths[0]}}  {text:<{widths[1]}}  {row['file']}:{row['line']}")

    @spaces.command()
    def check(
        files: Annotated[list[str], typer.Argument(metavar="FILE...", help="YAML files, or names that ship.")],
        json_output: JsonOption = False,
    ) -> None:
        """Check search space files; exit status 2 if one is wrong, with its file, line and key."""
        begin(None, json_output=json_output, prepare=False)
        from fewgood_spaces import read_space

        found: list[dict[str, Any]] = []
        for file in files:
            try:
                found.append({"file": file, "status": "ok", **_summary(read_space(file))})
            except SpecError as error:
                found.append({"file": file, "status": "failed", "error": str(error)})
        wrong = [entry for entry in found if entry["status"] == "failed"]
        if json_output:
            print_json({"status": "failed" if wrong else "ok", "files": found})
        else:
            for entry in found:
                if entry["status"] == "ok":
                    typer.echo(f"{entry['file']}: OK, {_configurations(entry['size'])}")
                else:
                    typer.echo(f"fewgood: {entry['error']}", err=True)
        if wrong:
            raise typer.Exit(2)

    app.add_typer(spaces, name="spaces")


def _resolved(name: str, dataset: str | None, baseline: str | None) -> ResolvedSpace:
    from fewgood_spaces import AUTO, read_space, shipped_name

    if dataset is not None and (name != AUTO or baseline is None):
        raise SpecError(f"--dataset is {dataset!r}: it goes with auto and --baseline, which choose a space by both")
    if name == AUTO:
        if dataset is None or baseline is None:
            raise SpecError(
                "auto is chosen by dataset and baseline: give --dataset and --baseline, or the name of a space"
            )
        name = shipped_name(dataset, baseline)
    return read_space(name, baseline=baseline)


def _pairs() -> dict[str, list[str]]:
    """For each space the dataset/baseline pairs that take it."""
    from fewgood.baselines import BASELINES
    from fewgood.data import DATASETS
    from fewgood_spaces import shipped_name

    used: dict[str, list[str]] = {}
    for dataset in DATASETS:
        for baseline in BASELINES:
            used.setdefault(shipped_name(dataset, baseline), []).append(f"{dataset}/{baseline}")
    return used


def _summary(resolved: ResolvedSpace) -> dict[str, Any]:
    space: Space = resolved.space
    return {
        "name": space.name,
        "path": str(resolved.path),
        "version": space.version,
        "digest": space.digest,
        "parameters": len(space.parameters),
        "size": space.size(),
        "description": resolved.description,
    }


def _rows(resolved: ResolvedSpace) -> list[dict[str, Any]]:
    needing = resolved.space.generator_keys()
    return [
        {
            "key": key,
            **parameter.to_json(),
            "needs_generator": key in needing,
            "file": str(resolved.origins[key].path),
            "line": resolved.origins[key].line,
        }
        for key, parameter in resolved.space.parameters.items()
    ]


def _values(row: dict[str, Any]) -> str:
    if row["type"] == "choice":
        return ", ".join("null" if value is None else str(value) for value in row["values"])
    step = row["step"]
    between = f"{row['low']} to {row['high']}"
    if step is not None:
        return f"{between} in steps of {step}"
    return f"{between}, logarithmic" if row["log"] else between


def _configurations(size: int | None) -> str:
    return "configurations without end" if size is None else f"{size} configuration{'' if size == 1 else 's'}"


def _used(pairs: list[str]) -> str:
    if not pairs:
        return "taken where it is named"
    return f"auto for {', '.join(pairs)}" if len(pairs) <= _FEW else f"auto for {len(pairs)} dataset/baseline pairs"
