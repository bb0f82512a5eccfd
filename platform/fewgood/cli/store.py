"""`fewgood store list|size|prune`: what the artifacts take, and removing those that nothing needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewgood.cli.common import HomeOption, JsonOption, StoreOption, begin, print_json
from fewgood.errors import SpecError

if TYPE_CHECKING:
    from fewgood.store import Home
    from fewgood.store.inventory import Held

__all__ = ["register"]

StageOption = Annotated[str | None, typer.Option("--stage", help="Only artifacts of this stage, e.g. generator.")]

_NUMBERS = ("size", "age", "artifacts", "youngest", "oldest")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    store_app = typer.Typer(
        no_args_is_help=True, help="Look after the artifacts: generators, pools, features, detectors."
    )
    store_app.command("list")(_list)
    store_app.command("size")(_size)
    store_app.command("prune")(_prune)
    app.add_typer(store_app, name="store")


def _list(
    stage: StageOption = None, home: HomeOption = None, store: StoreOption = None, json_output: JsonOption = False
) -> None:
    """Artifacts by stage with their number, size and age; with --stage, each of them."""
    where = begin(home, store=store, json_output=json_output, prepare=False)
    from fewgood.store.inventory import totals

    items = _everything(where, stage)
    if stage is not None:
        if json_output:
            print_json({"status": "ok", "artifacts": [_described(item) for item in items]})
            return
        _print_table(
            ("place", "stage", "artifact", "size", "age"),
            [(item.place, item.stage, item.digest, _size_text(item.bytes), _age_text(item.seconds)) for item in items],
        )
        return
    sums = totals(items)
    if json_output:
        print_json({"status": "ok", "stages": [vars(total) for total in sums]})
        return
    _print_table(
        ("place", "stage", "artifacts", "size", "youngest", "oldest"),
        [
            (
                total.place,
                total.stage,
                str(total.count),
                _size_text(total.bytes),
                _age_text(total.youngest_seconds),
                _age_text(total.oldest_seconds),
            )
            for total in sums
        ],
    )


def _size(home: HomeOption = None, store: StoreOption = None, json_output: JsonOption = False) -> None:
    """Bytes by folder, in the home and in the store that it shares."""
    where = begin(home, store=store, json_output=json_output, prepare=False)
    from fewgood.store import Location
    from fewgood.store.inventory import folder_sizes

    sizes = {"home": folder_sizes(Location.of(where.root))}
    if where.store is not None:
        sizes["shared"] = folder_sizes(where.shared())
    sums = {place: sum(folders.values()) for place, folders in sizes.items()}
    if json_output:
        print_json({"status": "ok", "bytes": sums, "folders": sizes})
        return
    rows = [(place, name, _size_text(count)) for place, folders in sizes.items() for name, count in folders.items()]
    _print_table(("place", "folder", "size"), [*rows, *((place, "in all", _size_text(sums[place])) for place in sums)])


def _prune(
    older_than: Annotated[
        str, typer.Option("--older-than", help="Keep what was made or used more recently: 90s, 30m, 12h, 7d.")
    ] = "1d",
    local: Annotated[
        bool, typer.Option("--local", help="Instead remove this home's copies of what the shared store holds.")
    ] = False,
    stage: StageOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    home: HomeOption = None,
    store: StoreOption = None,
    json_output: JsonOption = False,
) -> None:
    """Remove artifacts that no row of the ledger and no promoted generator needs, and that nobody works on."""
    where = begin(home, store=store, json_output=json_output, prepare=False)  # on a full disk too
    from fewgood.store.inventory import totals
    from fewgood.store.pruning import prune, prune_copies

    seconds = _seconds(older_than)
    done = (prune_copies if local else prune)(where, older_than=seconds, stage=stage, dry_run=dry_run)
    if json_output:
        print_json(
            {
                "status": "ok",
                "dry_run": dry_run,
                "bytes": done.bytes,
                "removed": [_described(item) for item in done.removed],
                "kept": done.kept,
            }
        )
        return
    for total in totals(done.removed):
        typer.echo(f"{total.place} {total.stage}: {total.count} artifacts, {_size_text(total.bytes)}")
    kept = ", ".join(f"{count} {reason}" for reason, count in done.kept.items()) or "none"
    verb = "would be freed" if dry_run else "freed"
    typer.echo(f"{_size_text(done.bytes)} {verb}, {len(done.removed)} artifacts; kept: {kept}")


def _everything(home: Home, stage: str | None) -> list[Held]:
    from fewgood.store.inventory import held

    return held(home, "home", stage=stage) + ([] if home.store is None else held(home, "shared", stage=stage))


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if match is None:
        raise SpecError(f"--older-than is {text!r}, allowed is a number and s, m, h or d, e.g. 12h")
    return float(match[1]) * _UNITS[match[2]]


def _described(item: Held) -> dict[str, Any]:
    return {
        "place": item.place,
        "stage": item.stage,
        "digest": item.digest,
        "bytes": item.bytes,
        "seconds": round(item.seconds, 1),
        "complete": item.complete,
    }


def _print_table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in (names, *rows):
        cells = [
            cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
            for name, cell, width in zip(names, row, widths, strict=True)
        ]
        typer.echo("  ".join(cells).rstrip())


def _size_text(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("the last unit takes any number")


def _age_text(seconds: float) -> str:
    for unit in ("d", "h", "m"):
        if seconds >= _UNITS[unit]:
            return f"{seconds / _UNITS[unit]:.0f} {unit}"
    return f"{seconds:.0f} s"
