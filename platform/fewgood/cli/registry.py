"""`fewgood promote` and `fewgood generators`: the registry of generators that are served."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fewgood.cli.common import HomeOption, JsonOption, StoreOption, begin, print_json
from fewgood.errors import SpecError

__all__ = ["RegistryOption", "register"]

RegistryOption = Annotated[
    str | None,
    typer.Option(
        "--registry",
        help="Folder or URI of the registry [FEWGOOD_REGISTRY; default the home's, or its store's].",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    generators = typer.Typer(
        no_args_is_help=True, help="The registry: generators that are served.", rich_markup_mode=None
    )
    app.add_typer(generators, name="generators")

    @app.command()
    def promote(
        study: Annotated[
            str | None, typer.Option("--study", help="Promote the best generator of this study's cell.")
        ] = None,
        spec_hash: Annotated[str | None, typer.Option("--spec-hash", help="Promote this run's generator.")] = None,
        cell: Annotated[
            str | None,
            typer.Option("--cell", help="Of several cells, DATASET/CATEGORY/BASELINE/SHOTS; all without it."),
        ] = None,
        name: Annotated[
            str | None, typer.Option("--name", help="The generator's name; made of the cell's without it.")
        ] = None,
        licence: Annotated[
            str, typer.Option("--licence", help="What the card says of the images' licence.")
        ] = "not stated",
        latest: Annotated[bool, typer.Option("--latest/--not-latest", help="Make it the latest version.")] = True,
        registry: RegistryOption = None,
        store: StoreOption = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Put a trained generator into the registry, with a model card, under NAME@VERSION."""
        where = begin(home, store=store, json_output=json_output)
        if (study is None) == (spec_hash is None):
            raise SpecError("give either --study or --spec-hash")
        if cell is not None and study is None:
            raise SpecError("--cell goes with --study")
        from fewgood_serve.promotion import best_of_study, of_spec
        from fewgood_serve.promotion import promote as put
        from fewgood_serve.registry import Registry

        place = Registry.locate(where, registry)
        found = best_of_study(where, study, cell) if study is not None else [of_spec(where, spec_hash or "")]
        if name is not None and len(found) > 1:
            cells = ", ".join(one.cell for one in found)
            raise SpecError(f"--name names one generator and study {study} has several: say which --cell ({cells})")
        done = []
        for one in found:
            reference = put(one, where, place, name=name, licence=licence, latest=latest)
            done.append(place.card(reference).model_dump(mode="json"))
            if not json_output:
                gains = ", ".join(_gain_text(gain) for gain in done[-1]["gains"])
                typer.echo(f"{reference}{' is the latest' if latest else ''}: {one.cell}, seed {one.run.seed}, {gains}")
                for remark in one.remarks:
                    typer.echo(f"  {remark}")
        if json_output:
            print_json({"registry": place.shown, "promoted": done})

    @generators.command("list")
    def listing(
        registry: RegistryOption = None,
        store: StoreOption = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Every generator with its versions."""
        where = begin(home, store=store, json_output=json_output, prepare=False)
        from fewgood_serve.registry import Registry

        place = Registry.locate(where, registry)
        shelves = place.shelves().values()
        if json_output:
            print_json({"registry": place.shown, "generators": [vars(shelf) for shelf in shelves]})
            return
        if not shelves:
            typer.echo(f"{place.shown} has no generator yet: `fewgood promote` puts one there")
        for shelf in shelves:
            versions = ", ".join(
                f"{number}{' (latest)' if number == shelf.latest else ''}" for number in shelf.versions
            )
            typer.echo(f"{shelf.name}  {versions}")

    @generators.command("show")
    def show(
        name: Annotated[str, typer.Argument(help="NAME, NAME@latest or NAME@VERSION.")],
        registry: RegistryOption = None,
        store: StoreOption = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """A version's model card, and how the latest moved."""
        where = begin(home, store=store, json_output=json_output, prepare=False)
        from fewgood_serve.registry import Registry

        place = Registry.locate(where, registry)
        reference = place.resolve(name)
        card, moves = place.card(reference).model_dump(mode="json"), place.moves(reference.name)
        if json_output:
            print_json({"card": card, "moves": moves})
            return
        _print_card(card)
        for move in moves:
            typer.echo(f"{move['utc']}  latest {move['from'] or '-'} -> {move['to']}  {move['why']}")

    @generators.command("rollback")
    def rollback(
        name: Annotated[str, typer.Argument(help="The generator's name.")],
        to: Annotated[int | None, typer.Option("--to", min=1, help="The version; the one before without it.")] = None,
        registry: RegistryOption = None,
        store: StoreOption = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Make an earlier version the latest again; running servers follow within seconds."""
        where = begin(home, store=store, json_output=json_output, prepare=False)
        from fewgood_serve.registry import Registry

        reference = Registry.locate(where, registry).rollback(name, to)
        if json_output:
            print_json({"name": reference.name, "latest": reference.version})
        else:
            typer.echo(f"{reference} is the latest")


def _gain_text(gain: dict[str, Any]) -> str:
    if gain["mean"] is None:
        return f"gain on {gain['against']} not measured"
    interval = "no interval" if gain["low"] is None else f"[{gain['low']:+.3f}, {gain['high']:+.3f}]"
    return f"gain on {gain['against']} {gain['mean']:+.3f} {interval}"


def _print_card(card: dict[str, Any]) -> None:
    typer.echo(f"{card['name']}@{card['version']}, promoted {card['promoted_utc']}")
    typer.echo(f"  part      {card['dataset']}/{card['category']} ({card['kind']}), keyword {card['keyword']!r}")
    typer.echo(f"  prompt    {card['prompt']}")
    typer.echo(f"  measured  {card['baseline']}, {card['shots']} shot(s), chosen on {card['selected_on']}")
    for gain in card["gains"]:
        typer.echo(f"            {_gain_text(gain)} over {gain['seeds']} seed(s)")
    for image in card["trained_on"]:
        typer.echo(f"  trained   {image['width']} x {image['height']} px, SHA-256 {image['sha256'][:16]}")
    typer.echo(f"  licence   {card['licence']}")
    for limit in card["limits"]:
        typer.echo(f"  limit     {limit}")
