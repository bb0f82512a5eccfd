"""`make tour` as it stands: a study, a promotion, a server, a request twice, and the dashboard, in one command."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def test_the_tour(repository, tmp_path, lend_models):
    assert "$(PY) scripts/tour.py" in (repository / "Makefile").read_text()
    home = lend_models(tmp_path / "home")
    port, dashboard = free_ports(2)
    command = [
        sys.executable, "scripts/tour.py", "--end", "--port", str(port), "--dashboard-port", str(dashboard),
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    environment = {**os.environ, "FEWGOOD_HOME": str(home)}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "8 images" in done.stdout
    records = [json.loads(line) for line in (tmp_path / "out" / "first" / "images.jsonl").read_text().splitlines()]
    assert [record["index"] for record in records] == list(range(8))
    assert {record["version"] for record in records} == {1}
    assert (tmp_path / "out" / "first" / "contact_sheet.png").is_file()
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    pointer = next((home / "registry" / "generators").glob("*/latest.json"))
    assert json.loads(pointer.read_text())["version"] == 1
    logged = [json.loads(line) for line in (home / "serve" / "requests.log").read_text().splitlines()]
    assert sum(line["status"] == 200 and line["method"] == "POST" for line in logged) == 2
    # Another promotion of the same study is another version, and what was served stays as it was.
    again = subprocess.run(
        [str(Path(sys.executable).with_name("fewgood")), "promote", "--study", "tour", "--json"],
        cwd=repository, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["promoted"][0]["version"] == 2
