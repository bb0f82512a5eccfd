"""`fewgood cluster init`: the packaged templates as files of a user's own."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

import jinja2
from packaging.requirements import Requirement

import fewgood
from fewgood.errors import SpecError
from fewgood_cluster.settings import Settings

__all__ = ["FILES", "IMPORT_PATH", "constraints", "render", "write"]

FILES = {
    "ray-up-hosts.yaml": "ray-up-hosts.yaml.j2",
    "ray-up-aws.yaml": "ray-up-aws.yaml.j2",
    "raycluster.yaml": "raycluster.yaml.j2",
    "rayjob.yaml": "rayjob.yaml.j2",
    "rayservice.yaml": "rayservice.yaml.j2",
    "Dockerfile": "Dockerfile.j2",
    ".dockerignore": "dockerignore.j2",
}
"""What is written, and the template of each."""

IMPORT_PATH = "fewgood_serve.app:build"
"""What the RayService starts."""

_NOT_PINNED = re.compile(r"nvidia-|cuda-|triton$|torch$|torchvision$")


def render(settings: Settings) -> dict[str, str]:
    """The text of each file, by its name."""
    templates = jinja2.Environment(  # noqa: S701 - YAML and a Dockerfile, not HTML; the settings are checked
        loader=jinja2.PackageLoader("fewgood_cluster"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )
    values = settings.model_dump() | {
        "version": fewgood.__version__,
        "ray_version": importlib.metadata.version("ray"),
        "import_path": IMPORT_PATH,
    }
    values["study"] = (settings.study or templates.get_template("study.yaml.j2").render(values)).rstrip("\n")
    made = {name: templates.get_template(template).render(values) for name, template in FILES.items()}
    return made | {"constraints.txt": constraints()}


def constraints() -> str:
    """The versions of what fewgood needs, as this installation has them, for pip; an image then gives the same numbers.

    What depends on the machine's GPU (CUDA, Triton and torch's own build) is left to torch.
    """
    lines = [f"# What fewgood {fewgood.__version__} was installed with where this file was made."]
    lines += [f"{name}=={version}" for name, version in sorted(_needed().items()) if not _NOT_PINNED.match(name)]
    for name in ("torch", "torchvision"):
        lines.append(f"{name}=={importlib.metadata.version(name).partition('+')[0]}")
    return "\n".join(lines) + "\n"


def write(folder: Path, files: Mapping[str, str], *, wheel: Path | None = None, force: bool = False) -> list[Path]:
    """Write the files, and the wheel into `wheels/`; each is complete or not there.

    Raises:
        SpecError: if one is there already and `force` is not set, or the folder cannot be written.
    """
    targets = {folder / name: text for name, text in files.items()}
    there = [path.name for path in targets if path.exists()]
    if there and not force:
        raise SpecError(
            f"{folder} has {', '.join(sorted(there))} already: give another folder, or --force to replace them"
        )
    if wheel is not None and (wheel.suffix != ".whl" or not wheel.is_file()):
        raise SpecError(f"--wheel is {wheel}: give fewgood's wheel, a file that ends in .whl")
    try:
        (folder / "wheels").mkdir(parents=True, exist_ok=True)
        for path, text in targets.items():
            partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            try:
                partial.write_text(text, encoding="utf-8")
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        if wheel is not None:
            partial = folder / "wheels" / f".{wheel.name}.{uuid.uuid4().hex}"
            try:
                shutil.copyfile(wheel, partial)
                partial.replace(folder / "wheels" / wheel.name)
            finally:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise SpecError(f"{folder} cannot be written ({os.strerror(error.errno or 0)}): give another folder") from error
    return sorted(targets)


def _needed() -> dict[str, str]:
    """The distributions that fewgood needs, directly or not, that are installed, with their versions."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [("fewgood", "")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an optional part that is not installed here
        found[name] = distribution.version.partition("+")[0]
        for line in distribution.requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = re.sub(r"[-_.]+", "-", requirement.name).lower()
                waiting += [(needed, wanted) for wanted in ("", *requirement.extras)]
    found.pop("fewgood", None)
    return found
