"""The house holds: imports point one way, Ray stays in its folder, stages' versions follow their code."""

import ast
import importlib.util
import json
from pathlib import Path

import pytest

# A module may import from its own level's folder or from a lower level.
LEVELS = [
    {"errors", "progress", "seeds", "hardware", "specs"},
    {"store"},
    {"data", "embedding", "metrics", "leaderboard"},
    {"text", "generator", "selection", "baselines"},
    {"arms"},
    {"stages"},
    {"trials"},
    {"pipeline", "export", "pictures"},
    {"execution"},
    {"cli"},
]
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}


def modules(repository: Path) -> list[Path]:
    return sorted((repository / "platform" / "fewgood").rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "fewgood" and len(parts) > 1 and parts[1] in LEVEL else None


def test_every_module_has_a_level(repository):
    package = repository / "platform" / "fewgood"
    rooms = {path.relative_to(package).parts[0].removesuffix(".py") for path in modules(repository)} - {"__init__"}
    assert rooms == set(LEVEL)


def test_imports_point_one_way(repository):
    package = repository / "platform" / "fewgood"
    wrong = []
    for path in modules(repository):
        own = path.relative_to(package).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for name in imported(path):
            other = room(name)
            if (
                name.split(".")[0]
                in (
                    "fewgood_spaces",
                    "fewgood_serve",
                    "fewgood_dashboard",
                    "fewgood_cluster",
                )
                and own != "cli"
            ):
                wrong.append(f"{path.relative_to(package)} imports {name}")
            if other is None or other == own:
                continue
            # Rooms of one level do not import each other, but for the plain modules and the pipeline's helpers.
            free = LEVEL[own] == 0 or {own, other} <= LEVELS[7]
            if LEVEL[other] > LEVEL[own] or (LEVEL[other] == LEVEL[own] and not free):
                wrong.append(f"{path.relative_to(package)} imports {name}")
    assert wrong == []


def test_only_execution_imports_ray(repository):
    package = repository / "platform" / "fewgood"
    users = {
        path.relative_to(package).parts[0]
        for path in modules(repository)
        if any(name.split(".")[0] == "ray" for name in imported(path))
    }
    assert users == {"execution"}


@pytest.mark.parametrize("folder", ["search_spaces", "cluster", "serve"])
def test_packages_beside_the_library_do_not_import_the_commands(repository, folder):
    for path in (repository / folder).rglob("*.py"):
        above = {name for name in imported(path) if room(name) == "cli"}
        assert not above, path


def test_the_dashboard_reads_and_imports_nothing_that_computes(repository):
    allowed = {"errors", "leaderboard", "pictures", "store"}
    for path in (repository / "dashboard").rglob("*.py"):
        names = imported(path)
        assert {room(name) for name in names} <= allowed | {None}, path
        assert not {"fewgood.store.Ledger", "fewgood.store.ArtifactStore"} & names, f"{path} could write"
        assert not any(
            word in path.read_text() for word in (".write_text(", ".write_bytes(", ".mkdir(", ".unlink(", '"w"')
        ), path


def test_no_package_shadows_the_standard_library(repository):
    import platform

    assert platform.python_version()
    for folder in ("platform", "search_spaces", "serve", "dashboard", "cluster", "tests"):
        assert not (repository / folder / "__init__.py").exists()


def test_stage_versions_follow_the_code(repository):
    """A stage whose code changed must have a higher VERSION: then raise it and run `make stages`."""
    golden = repository / "tests" / "golden"
    spec = importlib.util.spec_from_file_location("stage_digests", golden / "stage_digests.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.current() == json.loads((golden / "stages.json").read_text())


def test_a_changed_stage_is_noticed(repository, tmp_path, monkeypatch):
    """The guard above can fail: a changed constant in a module that a stage uses changes the stage's digest."""
    import shutil

    golden = repository / "tests" / "golden"
    spec = importlib.util.spec_from_file_location("stage_digests", golden / "stage_digests.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    copy = tmp_path / "fewgood"
    shutil.copytree(repository / "platform" / "fewgood", copy)
    monkeypatch.setattr(module, "PACKAGE", copy)
    before = module.current()
    target = copy / "generator" / "losses.py"
    target.write_text(target.read_text() + "\nCHANGED = 1\n")
    after = module.current()
    changed = {stage for stage in before if before[stage] != after[stage]}
    assert "generator" in changed
    assert "prompts" not in changed
    (copy / "text" / "added.py").write_text('"""Unused."""\n')
    assert module.current() == after


@pytest.mark.parametrize("name", ["errors", "specs"])
def test_all_names_what_is_there(name):
    module = importlib.import_module(f"fewgood.{name}")
    assert all(hasattr(module, public) for public in module.__all__)
