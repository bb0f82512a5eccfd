"""The whole tour on the embedded sample: a study, a promotion, a server, a request to it, and the dashboard. tour.py [--end]

Without `--end` server and dashboard stay up until Ctrl-C. Everything is kept under FEWGOOD_HOME (default .fewgood).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

FEWGOOD = Path(sys.executable).with_name("fewgood")
STUDY = Path("docs/studies/tour.yaml")
SECONDS = 180
"""How long a server may take to start."""


def main() -> int:
    """Run the tour; the exit status of the first command that fails."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--end", action="store_true", help="End server and dashboard when both have answered.")
    parser.add_argument("--port", type=int, default=8008, help="Of the server.")
    parser.add_argument("--dashboard-port", type=int, default=8501)
    parser.add_argument("--out", type=Path, default=Path("tour-out"), help="Where the images go.")
    flags = parser.parse_args()
    os.environ.setdefault("FEWGOOD_HOME", str(Path(".fewgood").absolute()))
    flags.out.mkdir(parents=True, exist_ok=True)
    started: list[subprocess.Popen[str]] = []
    try:
        step("1. a study: two configurations, generators trained and measured")
        run("sweep", STUDY, "--report", flags.out / "report.html")
        step("2. the best generator of the cell goes into the registry, with a model card")
        promoted = document("promote", "--study", "tour", "--licence", "drawn by code, Apache-2.0", "--json")[
            "promoted"
        ][0]
        name = f"{promoted['name']}@{promoted['version']}"
        run("generators", "show", name)
        step("3. a key, and a server that asks for it")
        key = document("keys", "add", "tour", "--generators", promoted["name"], "--days", "1", "--json")["key"]
        url = f"http://127.0.0.1:{flags.port}"
        start(started, "fewgood serve on", "serve", "--port", flags.port)
        step("4. eight images over HTTP, and the same again: the same seed gives the same bytes")
        for folder in ("first", "again"):
            run("request", name, "--count", 8, "--seed", 7, "--out", fresh(flags.out / folder), "--url", url, key=key)
        first, again = (sorted((flags.out / folder).glob("0*.png")) for folder in ("first", "again"))
        if [path.read_bytes() for path in first] != [path.read_bytes() for path in again]:
            sys.stderr.write("tour: the same seed gave other bytes\n")
            return 1
        print(f"{len(first)} images in {flags.out / 'first'}, byte for byte the same in {flags.out / 'again'}")
        step("5. the dashboard")
        start(started, "fewgood dashboard on", "dashboard", "--port", flags.dashboard_port)
        wait_for(f"http://127.0.0.1:{flags.dashboard_port}/")
        print(f"generators: {url}/openapi.json   dashboard: http://127.0.0.1:{flags.dashboard_port}", flush=True)
        if not flags.end:
            print("Ctrl-C ends both.", flush=True)
            started[0].wait()
    except subprocess.CalledProcessError as error:
        return error.returncode
    except KeyboardInterrupt:
        pass
    finally:
        for process in started:
            process.send_signal(signal.SIGINT)
        for process in started:
            process.wait(timeout=120)
    return 0


def step(text: str) -> None:
    """Say what comes next."""
    print(f"\n== {text}", flush=True)


def run(*words: object, key: str | None = None) -> None:
    """Run a command of fewgood; its output is this one's."""
    environment = os.environ if key is None else {**os.environ, "FEWGOOD_KEY": key}
    subprocess.run([FEWGOOD, *map(str, words)], check=True, env=environment)


def document(*words: object) -> dict:
    """Run a command of fewgood and read the JSON that it prints."""
    done = subprocess.run([FEWGOOD, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def start(started: list[subprocess.Popen[str]], sign: str, *words: object) -> None:
    """Start a server and wait until it says that it is up."""
    process = subprocess.Popen([FEWGOOD, *map(str, words)], stderr=subprocess.PIPE, text=True, start_new_session=True)
    started.append(process)
    timer = threading.Timer(SECONDS, process.kill)
    timer.start()
    assert process.stderr is not None
    for line in process.stderr:
        sys.stderr.write(line)
        if sign in line:
            timer.cancel()
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return
    timer.cancel()
    raise subprocess.CalledProcessError(process.wait() or 1, words)


def wait_for(url: str) -> None:
    """Wait until a page is answered."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def fresh(folder: Path) -> Path:
    """The folder's path, without what an earlier tour left there."""
    for path in folder.glob("*"):
        path.unlink()
    return folder


if __name__ == "__main__":
    sys.exit(main())
