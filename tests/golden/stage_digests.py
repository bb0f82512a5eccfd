"""The digest of each stage's code: its file in fewgood/stages and all of fewgood that this imports, docstrings apart."""

import ast
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "platform" / "fewgood"

# Not part of what a stage computes: a spec's fields enter the hash by value, the rest only carries and reports.
OUTSIDE = {"fewgood.errors", "fewgood.progress", "fewgood.specs", "fewgood.hardware", "fewgood.stages.context"}
OUTSIDE_FOLDERS = ("fewgood.store",)


def current() -> dict[str, dict[str, object]]:
    """Stage -> {"version", "code"}, read from the sources without importing them."""
    found = {}
    for path in sorted((PACKAGE / "stages").glob("*.py")):
        tree = ast.parse(path.read_text())
        constants = {
            node.targets[0].id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        module = f"fewgood.stages.{path.stem}"
        if "STAGE" in constants:
            found[constants["STAGE"]] = {"version": constants["VERSION"], "code": digest(module)}
        if "PROXY" in constants:
            found[constants["PROXY"]] = {"version": constants["PROXY_VERSION"], "code": digest(module)}
    return found


def digest(module: str) -> str:
    """The digest over the stage's own module and the stage folders below it (other stages are inputs, by their hash)."""
    parts = []
    for name in sorted(closure(module)):
        tree = ast.parse(source(name).read_text())
        strip_docstrings(tree)
        parts.append(f"{name}\n{ast.dump(tree)}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def closure(start: str) -> set[str]:
    """Modules of fewgood that `start` imports, anywhere in its code, directly or not; not the other stages."""
    seen, todo = set(), [start]
    while todo:
        name = todo.pop()
        if name in seen or source(name) is None:
            continue
        seen.add(name)
        for child in imports(name):
            other_stage = child.startswith("fewgood.stages.") and child != start
            outside = child in OUTSIDE or child.startswith(OUTSIDE_FOLDERS) or child in ("fewgood", "fewgood.stages")
            if not other_stage and not outside:
                todo.append(child)
    return seen


def imports(name: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source(name).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("fewgood")}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fewgood"):
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if source(f"{node.module}.{alias.name}")}
    return found


def source(name: str) -> Path | None:
    base = PACKAGE.parent / Path(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def strip_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body
            first = body[0].value if body and isinstance(body[0], ast.Expr) else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                node.body = body[1:]
