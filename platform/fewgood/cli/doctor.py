"""`fewgood doctor`: what is there, what is missing, and the command that gets it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fewgood.cli.common import HomeOption, JsonOption, begin, print_json
from fewgood.errors import FewgoodError
from fewgood.store.home import Home

__all__ = ["register"]


@dataclass(frozen=True)
class Check:
    """One thing that fewgood needs or can use."""

    name: str
    ok: bool
    required: bool
    found: str
    remedy: str | None = None


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def doctor(
        build: Annotated[bool, typer.Option("--build", help="Also build the offline models now (a minute).")] = False,
        home: HomeOption = None,
        json_output: JsonOption = False,
    ) -> None:
        """Say what is missing and the command that gets it; exit status 2 if something required is."""
        where = begin(home, json_output=json_output, prepare=False)
        checks = [_guarded(name, required, check, where) for name, required, check in _CHECKS]
        if build:
            checks.append(_guarded("embedding model", True, _build_embedding, where))
        healthy = all(check.ok for check in checks if check.required)
        if json_output:
            print_json({"status": "ok" if healthy else "failed", "checks": [asdict(check) for check in checks]})
        else:
            out = Console(highlight=False)
            for check in checks:
                mark = "ok     " if check.ok else ("MISSING" if check.required else "absent ")
                out.print(Text(f"{mark} {check.name}: {check.found}"), soft_wrap=True)
                if check.remedy and not check.ok:
                    out.print(Text(f"        get it with: {check.remedy}"), soft_wrap=True)
        if not healthy:
            raise typer.Exit(2)


def _guarded(name: str, required: bool, check: Callable[[Home], Check], home: Home) -> Check:
    try:
        return check(home)
    except (FewgoodError, ImportError, OSError, RuntimeError) as error:
        text = " ".join(str(error).split())
        return Check(name, ok=False, required=required, found=text, remedy="see the message")


def _python(_: Home) -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", sys.version_info >= (3, 11), True, version, "install Python 3.11 or 3.12")


def _packages(_: Home) -> Check:
    needed = importlib.metadata.requires("fewgood") or []
    names = [line.split(";")[0] for line in needed if "extra ==" not in line]
    missing = []
    for line in names:
        name = line.split("[")[0].split("=")[0].split(">")[0].split("<")[0].split("!")[0].strip()
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    found = f"missing: {', '.join(missing)}" if missing else f"all {len(names)} installed"
    return Check("packages", not missing, True, found, "pip install " + " ".join(missing))


def _home(home: Home) -> Check:
    home.prepare()
    free = shutil.disk_usage(home.root).free
    return Check("home", True, True, f"{home.root}, {free / 2**30:.1f} GB free")


def _backbone(_: Home) -> Check:
    from fewgood.embedding.lite0 import lite0_digest

    return Check("backbone EfficientNet-Lite0", True, True, f"weights {lite0_digest()[:12]}")


def _wordnet(home: Home) -> Check:
    from fewgood.text import ensure_wordnet

    found = ensure_wordnet(home.root)
    return Check("WordNet", True, True, str(found))


def _embedding(home: Home) -> Check:
    folder = home.root / "models" / "lite0-minilm"
    built = (folder / "manifest.json").is_file()
    found = f"built in {folder}" if built else "not built yet; the first use builds it in a few seconds"
    return Check("embedding model lite0-minilm", built, False, found, "fewgood doctor --build")


def _build_embedding(home: Home) -> Check:
    from fewgood.embedding import load_embedder
    from fewgood.hardware import pick_device
    from fewgood.specs import EmbeddingSpec

    embedder = load_embedder(EmbeddingSpec(), home=home.prepare().root, device=pick_device())
    return Check("embedding model", True, True, f"{embedder.name}, weights {embedder.weights_digest[:12]}")


def _accelerator(_: Home) -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("accelerator", True, False, torch.cuda.get_device_name(0))
    return Check("accelerator", False, False, "no CUDA device; the CPU is used", "a machine with an NVIDIA GPU")


def _memory(_: Home) -> Check:
    import psutil

    total = psutil.virtual_memory().total / 2**30
    return Check("memory", total >= 6, False, f"{total:.1f} GB, {os.cpu_count()} CPUs", "8 GB are enough for the demo")


def _hub(_: Home) -> Check:
    folder = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    has = folder.is_dir() and any(folder.rglob("*.safetensors"))
    return Check(
        "hub models",
        has,
        False,
        f"weights in {folder}" if has else "none on this machine; the offline models need none",
        "set HF_HUB_OFFLINE=0 where a hub is reachable, or give files: --clip-pretrained FILE, embedding.pretrained=FILE",
    )


_CHECKS: tuple[tuple[str, bool, Callable[[Home], Check]], ...] = (
    ("python", True, _python),
    ("packages", True, _packages),
    ("home", True, _home),
    ("memory", False, _memory),
    ("accelerator", False, _accelerator),
    ("backbone EfficientNet-Lite0", True, _backbone),
    ("WordNet", True, _wordnet),
    ("embedding model lite0-minilm", False, _embedding),
    ("hub models", False, _hub),
)
