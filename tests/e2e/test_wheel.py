"""The built wheel, installed outside the checkout: commands, embedded data and search spaces are found."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(repository)],
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("*.whl")
    return built


def test_contents(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "fewgood/data/__init__.py",
        "fewgood/cli/main.py",
        "fewgood_spaces/default.yaml",
        "fewgood_spaces/demo.yaml",
        "fewgood/leaderboard/published.json",
        "fewgood_dashboard/app.py",
        "fewgood_dashboard/icon.png",
        "fewgood_dashboard/page.py",
    ):
        assert needed in names
    assert any(name.startswith("fewgood/leaderboard/templates/") for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert not any(name.startswith(("platform/", "tests/")) for name in names)


def test_installed_outside_the_checkout(wheel, tmp_path):
    """The wheel goes into a venv of its own; its dependencies are lent by this one's, so nothing is downloaded."""
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel)],
        check=True,
        capture_output=True,
    )
    # A plain path line: unlike an `import site` it does not run the lender's own .pth files (its editable fewgood).
    (site / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["FEWGOOD_HOME"] = str(tmp_path / "home")
    python = folder / "bin" / "python"

    def run(*words: str) -> str:
        done = subprocess.run(
            [str(python), *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run("-c", "import fewgood, fewgood_spaces, platform; print(fewgood.__file__, platform.python_version())")
    assert str(site) in where
    assert "demo" in run("-c", "from fewgood_spaces import list_spaces; print(list_spaces())")
    command = "from fewgood.cli import main; main()"
    assert "evaluate" in run("-c", command, "--help")
    words = (
        "evaluate",
        "--dataset",
        "sample",
        "--category",
        "gravel",
        "--arm",
        "none",
        "--set",
        "baseline.image_size=64",
    )
    assert "image_auroc" in run("-c", command, *words)
