"""What the commands share: the flags that name a run, the home, JSON on stdout, and progress on stderr."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fewgood.errors import SpecError
from fewgood.specs import ARMS, TrialSpec
from fewgood.store.home import Home

__all__ = [
    "AddressOption",
    "ReportOption",
    "ArmOption",
    "BaselineOption",
    "CategoryOption",
    "DatasetOption",
    "HomeOption",
    "JsonOption",
    "KeywordOption",
    "RootOption",
    "SeedOption",
    "SetOption",
    "ShotsOption",
    "StoreOption",
    "begin",
    "console",
    "print_json",
    "progress_printer",
    "spec_from_flags",
    "split_list",
    "state",
]

DatasetOption = Annotated[str, typer.Option("--dataset", help="sample, folder, mvtec_ad, mvtec_loco, btad or visa.")]
RootOption = Annotated[Path | None, typer.Option("--root", help="The folder above the category (not for sample).")]
CategoryOption = Annotated[str, typer.Option("--category", help="The category: a folder under the root.")]
BaselineOption = Annotated[
    str, typer.Option("--baseline", help="patchcore, cflow, reverse_distillation or efficient_ad.")
]
ShotsOption = Annotated[str, typer.Option("--shots", help='Good images in the support set: 1 or more, or "full".')]
ArmOption = Annotated[str, typer.Option("--arm", help=f"What the detector is fitted on: {', '.join(ARMS)}.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Chooses the support block and every random stream.")]
KeywordOption = Annotated[str | None, typer.Option("--keyword", help="The word for the part, e.g. 'metal nut'.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="A setting, e.g. generator.steps=150; may be repeated.")
]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Where everything is kept [FEWGOOD_HOME; default ~/.cache/fewgood].", show_default=False
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="A store that several hosts share, e.g. s3://BUCKET/fewgood [FEWGOOD_STORE].",
        show_default=False,
    ),
]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="A Ray cluster [RAY_ADDRESS]; none starts one here.")
]
ReportOption = Annotated[Path | None, typer.Option("--report", help="Where the HTML report goes.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")]

console = Console(stderr=True, highlight=False)


@dataclass
class _State:
    """What `main` must know of the running command when an error ends it."""

    json_output: bool = False
    home_flag: Path | None = None
    store_flag: str | None = None

    def home(self) -> Home:
        return Home.locate(self.home_flag, self.store_flag)


state = _State()


def begin(home: Path | None, *, store: str | None = None, json_output: bool = False, prepare: bool = True) -> Home:
    """Note the flags that every command has, send logs to stderr, and open the home."""
    state.json_output, state.home_flag, state.store_flag = json_output, home, store
    # No hub is asked for anything unless the user allows it: a file that is missing is then named, not waited for.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    level = os.environ.get("FEWGOOD_LOG", "WARNING").upper()
    if level not in logging.getLevelNamesMapping():
        raise SpecError(f"FEWGOOD_LOG is {level!r}, allowed is {', '.join(logging.getLevelNamesMapping())}")
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", force=True)
    logging.captureWarnings(True)
    if level not in ("DEBUG", "INFO"):
        warnings.simplefilter("ignore")
        # open_clip says through the root logger that a model starts without weights, before it loads the ones it was given.
        logging.getLogger().addFilter(lambda record: "No pretrained weights loaded" not in record.getMessage())
        for noisy in (
            "py.warnings",
            "anomalib",
            "lightning",
            "lightning.pytorch",
            "lightning_fabric",
            "open_clip",
            "timm",
        ):
            logging.getLogger(noisy).setLevel(logging.ERROR)
    located = state.home()
    return located.prepare() if prepare else located


def spec_from_flags(
    *,
    dataset: str,
    root: Path | None,
    category: str,
    baseline: str = "patchcore",
    shots: str = "1",
    arm: str = "generate",
    seed: int = 0,
    keyword: str | None = None,
    settings: Sequence[str] | None = None,
) -> TrialSpec:
    """The `TrialSpec` that a command's flags mean."""
    from fewgood.trials import make_spec, parse_settings

    return make_spec(
        dataset=dataset,
        root=root,
        category=category,
        baseline=baseline,
        shots=shots,
        arm=arm,
        seed=seed,
        keyword=keyword,
        settings=parse_settings(settings or []),
    )


def split_list(flag: str, text: str) -> list[str]:
    """A comma-separated flag as its words, in order.

    Raises:
        SpecError: if it is empty or names something twice.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise SpecError(f"{flag} is empty: give at least one, separated by commas")
    if len(set(words)) != len(words):
        raise SpecError(f"{flag} is {text!r}: it names something twice")
    return words


def print_json(document: Any) -> None:
    """One JSON document on stdout; numbers that are not finite become null, as JSON has none."""
    sys.stdout.write(json.dumps(_finite(document), indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def progress_printer(prefix: str = "") -> Any:
    """A `Progress` that writes to stderr: at most one line a second, and always the last of a stage."""
    last: dict[str, float] = {}

    def report(stage: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if done < total and now - last.get(stage, -math.inf) < (1.0 if console.is_terminal else 5.0):
            return
        last[stage] = now
        console.print(f"{prefix}{stage} {done}/{total} {note}".rstrip(), markup=False, soft_wrap=True)

    return report


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
