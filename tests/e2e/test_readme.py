"""Every command of the README is run as it stands, in order; `make demo` and `make test` are what runs this."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e


def commands(readme: Path) -> list[str]:
    """The lines of the README's `sh` blocks, continuation lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", readme.read_text(), flags=re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith(("#", "git clone", "cd ", "make "))]


def test_the_readme_has_commands(repository):
    found = commands(repository / "README.md")
    used = {line.split()[1] for line in found if line.startswith(".venv/bin/fewgood")}
    assert {"doctor", "prompts", "evaluate", "compare", "generate", "sweep", "leaderboard"} <= used


def test_they_run(repository, lend_models, tmp_path):
    """In a home that has the offline models already: the session has built them once."""
    lend_models(tmp_path / "home")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (tmp_path / "docs").symlink_to(repository / "docs")
    environment = {**os.environ, "FEWGOOD_HOME": str(tmp_path / "home")}
    for command in commands(repository / "README.md"):
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, command


def test_links_and_pictures_exist(repository):
    text = (repository / "README.md").read_text()
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert targets
    assert all((repository / target).exists() for target in targets), targets
