"""`fewgood serve` and `fewgood keys`: generators behind HTTP, and who may use them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fewgood.cli.common import (
    AddressOption,
    HomeOption,
    JsonOption,
    StoreOption,
    begin,
    console,
    print_json,
    split_list,
)
from fewgood.cli.registry import RegistryOption
from fewgood.errors import SpecError
from fewgood.execution import keep_to_loopback

__all__ = ["register"]

KeysOption = Annotated[
    str | None,
    typer.Option(
        "--keys",
        help="The file of API keys: a path or URI; the home's, or its store's, without it.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    keys = typer.Typer(no_args_is_help=True, help="API keys of the server.", rich_markup_mode=None)
    app.add_typer(keys, name="keys")

    @app.command()
    def serve(
        host: Annotated[
            str, typer.Option(help="Address to listen on; another than loopback is open to your network.")
        ] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8008,
        replicas: Annotated[int | None, typer.Option(min=1, help="Processes that draw, at most.")] = None,
        min_replicas: Annotated[
            int | None, typer.Option(min=1, help="Kept when there is nothing to do; all without it.")
        ] = None,
        threads: Annotated[
            int | None, typer.Option(min=1, help="Threads of each; part of what fixes an image's bytes.")
        ] = None,
        rows: Annotated[
            int | None, typer.Option(min=1, max=64, help="Images per pass; part of what fixes an image's bytes.")
        ] = None,
        limit: Annotated[
            list[str] | None,
            typer.Option("--limit", help="A limit, e.g. count=64; may be repeated. See docs/serving.md."),
        ] = None,
        embedding: Annotated[
            list[str] | None,
            typer.Option(
                "--embedding", help="Another image-text model that bundles may name: MODEL or MODEL:PRETRAINED."
            ),
        ] = None,
        tls_cert: Annotated[
            Path | None, typer.Option(exists=True, dir_okay=False, help="Certificate chain, PEM.")
        ] = None,
        tls_key: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Its private key, PEM.")] = None,
        no_auth: Annotated[bool, typer.Option("--no-auth", help="Answer without a key; on loopback only.")] = False,
        keys_file: KeysOption = None,
        tune: Annotated[
            bool, typer.Option("--tune", help="Measure replicas, threads and rows here, keep the best, and end.")
        ] = False,
        address: AddressOption = None,
        registry: RegistryOption = None,
        store: StoreOption = None,
        home: HomeOption = None,
    ) -> None:
        """Serve the registry's generators until Ctrl-C; what is in progress then is finished."""
        where = begin(home, store=store)
        if tune:
            from fewgood_serve.tuning import tune as measure

            typer.echo(measure(where, registry))
            return
        keep_to_loopback(address)
        from fewgood.embedding.base import OFFLINE_MODEL
        from fewgood_serve.keys import KeyFile
        from fewgood_serve.launch import run
        from fewgood_serve.registry import Registry
        from fewgood_serve.settings import is_loopback, settings_from
        from fewgood_serve.tuning import tuned

        chosen = tuned(where)
        settings = settings_from(
            home=str(where.root),
            store=where.store,
            registry=_placed(registry or os.environ.get("FEWGOOD_REGISTRY")),
            keys=_placed(keys_file),
            embeddings=[OFFLINE_MODEL, *embedding] if embedding else None,
            no_auth=no_auth,
            host=host,
            port=port,
            tls_cert=None if tls_cert is None else str(tls_cert),
            tls_key=None if tls_key is None else str(tls_key),
            replicas=replicas or chosen["replicas"],
            min_replicas=min_replicas,
            threads=threads or chosen["threads"],
            rows=rows or chosen["rows"],
            gpus=chosen.get("gpus"),
            limits=_limits(limit or []),
        )
        if not no_auth and not (found := KeyFile.locate(where, keys_file)).read():
            raise SpecError(
                f"there is no key in {found.shown}: make one with `fewgood keys add NAME --generators '*'`, "
                "or answer everybody on this machine with --no-auth"
            )
        if not Registry.locate(where, registry).shelves():
            console.print(
                "fewgood: the registry has no generator yet; one that is promoted is served at once",
                markup=False,
                soft_wrap=True,
            )
        if not is_loopback(host) and tls_cert is None:
            console.print(
                f"fewgood: keys go to {host} unencrypted: give --tls-cert and --tls-key, or put a proxy with TLS before it",
                markup=False,
                soft_wrap=True,
            )

        def ready(url: str) -> None:
            console.print(
                f"fewgood serve on {url} with {settings.replicas} replica(s) of {settings.threads} thread(s) "
                f"(OpenAPI at {url}/openapi.json, log in {where.root / 'serve' / 'requests.log'}; Ctrl-C ends it)",
                markup=False,
                soft_wrap=True,
            )

        run(settings, address=address, ready=ready)

    @keys.command("add")
    def add(
        owner: Annotated[str, typer.Argument(metavar="NAME", help="Who gets the key.")],
        generators: Annotated[str, typer.Option("--generators", help="Names separated by commas, or '*' for all.")],
        days: Annotated[
            float | None, typer.Option("--days", min=0.001, help="Days until it ends; never without it.")
        ] = None,
        keys_file: KeysOption = None,
        store: StoreOption = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Make a key. It is shown once; only its hash is kept. Running servers take it within seconds."""
        where = begin(home, store=store, json_output=json_output)
        from fewgood_serve.keys import KeyFile

        key = KeyFile.locate(where, keys_file).add(owner, split_list("--generators", generators), days=days)
        if json_output:
            print_json({"key": key})
        else:
            typer.echo(key)

    @keys.command("list")
    def listing(
        keys_file: KeysOption = None,
        store: StoreOption = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """The keys that are valid, without the keys themselves."""
        where = begin(home, store=store, json_output=json_output, prepare=False)
        from fewgood_serve.keys import KeyFile

        records = [record.model_dump(exclude={"sha256"}) for record in KeyFile.locate(where, keys_file).read()]
        if json_output:
            print_json({"keys": records})
            return
        for record in records:
            until = f", until {record['expires_utc']}" if record["expires_utc"] else ""
            typer.echo(
                f"{record['id']}  {record['owner']}  {','.join(record['generators'])}  since {record['created_utc']}{until}"
            )

    @keys.command("revoke")
    def revoke(
        identity: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `fewgood keys list` shows it.")],
        keys_file: KeysOption = None,
        store: StoreOption = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Take a key out. Running servers refuse it within seconds."""
        where = begin(home, store=store, json_output=json_output)
        from fewgood_serve.keys import KeyFile

        record = KeyFile.locate(where, keys_file).revoke(identity)
        if json_output:
            print_json({"revoked": record.id})
        else:
            typer.echo(f"{record.id} of {record.owner} is revoked")


def _placed(where: str | None) -> str | None:
    """A path as replicas on other working folders see it; a URI as it is."""
    from fewgood.store.filesystems import is_uri

    return where if where is None or is_uri(where) else str(Path(where).expanduser().absolute())


def _limits(pairs: list[str]) -> dict[str, float]:
    from fewgood_serve.settings import Limits

    found: dict[str, float] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name not in Limits.model_fields:
            raise SpecError(f"--limit {pair!r} names no limit, allowed are {', '.join(Limits.model_fields)}")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise SpecError(f"--limit {pair!r} has no number") from error
    return found
