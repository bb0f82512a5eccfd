"""`fewgood request`: images from a server, as a folder."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Annotated

import typer

from fewgood.cli.common import HomeOption, JsonOption, begin, print_json, progress_printer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def request(
        name: Annotated[str, typer.Argument(help="NAME, NAME@latest or NAME@VERSION.")],
        out: Annotated[Path, typer.Option("--out", help="A folder that does not exist yet, or an empty one.")],
        count: Annotated[int, typer.Option("--count", min=1, help="How many images.")] = 16,
        seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same images.")] = 0,
        variance: Annotated[
            float | None, typer.Option("--variance", min=0, help="Factor on the latent standard deviation.")
        ] = None,
        select: Annotated[
            bool, typer.Option("--select", help="The best of more that are drawn, the best first.")
        ] = False,
        url: Annotated[str, typer.Option("--url", envvar="FEWGOOD_URL", help="The server.")] = "http://127.0.0.1:8008",
        key: Annotated[
            str | None, typer.Option("--key", envvar="FEWGOOD_KEY", help="An API key.", show_default=False)
        ] = None,
        ca: Annotated[
            Path | None,
            typer.Option(
                "--ca", exists=True, dir_okay=False, help="Authority that signed the server's certificate, PEM."
            ),
        ] = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Write images of a served generator to a folder, with images.jsonl and a contact sheet."""
        begin(home, json_output=json_output, prepare=False)
        from fewgood.export import check_target, contact_sheet
        from fewgood_serve.client import Client

        check_target(out)
        partial = out.absolute().parent / f".{out.name}.{uuid.uuid4().hex}"
        report = progress_printer()
        try:
            partial.mkdir(parents=True)
            records, pictures = [], []
            with Client(url, key, verify=True if ca is None else str(ca)) as client:
                for number, served in enumerate(
                    client.images(name, count, seed=seed, variance=variance, select=select)
                ):
                    file = f"{number:05d}.png"
                    (partial / file).write_bytes(served.png)
                    records.append({"file": file, **served.record()})
                    if number < 64:  # what a contact sheet shows
                        pictures.append((f"score {served.score:.3f}", served.image))
                    report("images", number + 1, count, f"{served.generator}@{served.version}")
            lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
            (partial / "images.jsonl").write_text(lines, encoding="utf-8")
            contact_sheet(pictures).save(partial / "contact_sheet.png")
            if out.is_dir():
                out.rmdir()  # empty, or check_target would have refused it
            partial.rename(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        last = records[-1]
        if json_output:
            print_json(
                {"out": str(out), "count": len(records), "generator": last["generator"], "version": last["version"]}
            )
        else:
            typer.echo(f"{len(records)} images of {last['generator']}@{last['version']} in {out}")
