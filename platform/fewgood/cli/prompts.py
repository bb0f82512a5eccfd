"""`fewgood prompts`: the ranked candidate prompts for a word, on images of the part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fewgood.cli.common import HomeOption, JsonOption, begin, print_json
from fewgood.errors import DataError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def prompts(
        word: Annotated[str, typer.Argument(help="The part, e.g. metal_nut.")],
        images: Annotated[Path, typer.Option("--images", help="A folder of good images, or one image.")],
        count: Annotated[int, typer.Option("--count", help="How many candidate words are taken from WordNet.")] = 32,
        clip: Annotated[str, typer.Option("--clip", help="An open_clip model name.")] = "lite0-minilm",
        clip_pretrained: Annotated[
            str | None, typer.Option("--clip-pretrained", help="An open_clip tag, or a checkpoint file.")
        ] = None,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Print the ranked candidates, both stages' scores, and why each dropped one was dropped."""
        where = begin(home, json_output=json_output)
        from fewgood.specs import EmbeddingSpec, PromptSpec
        from fewgood.text import clean_keyword

        spec = PromptSpec(count=count, keyword=clean_keyword(word))
        from fewgood.data import image_files, read_image

        files = image_files(images)
        if not files:
            raise DataError(f"--images {images}: no image there; give a folder with png, jpg, bmp, tif or webp files")
        pictures = [read_image(path) for path in files]
        from fewgood.embedding import load_embedder
        from fewgood.hardware import pick_device
        from fewgood.text import rank_prompts

        embedder = load_embedder(
            EmbeddingSpec(model=clip, pretrained=clip_pretrained), home=where.root, device=pick_device()
        )
        ranking = rank_prompts(word, pictures, spec, embedder, home=where.root)
        if json_output:
            print_json(ranking.to_json())
            return
        table = Table(title=None, box=None, pad_edge=False)
        for heading in ("prompt", "synset", "relation", "text distance", "image similarity", "dropped because"):
            table.add_column(heading, overflow="fold")
        for candidate in ranking.candidates:
            table.add_row(
                Text(candidate.prompt),
                Text(candidate.synset or "-"),
                Text(candidate.relation),
                "-" if candidate.text_distance is None else f"{candidate.text_distance:.2f}",
                "-" if candidate.image_similarity is None else f"{candidate.image_similarity:.3f}",
                Text(candidate.dropped or ""),
            )
        out = Console(highlight=False, width=None)
        out.print(Text(f"best: {ranking.best.prompt}  ({ranking.best.synset or 'no synset'})"))
        if ranking.note:
            out.print(Text(f"note: {ranking.note}"))
        out.print(table)
