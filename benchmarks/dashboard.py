"""Times the dashboard on a large made-up ledger in Debian's chromium: start, Overview, filters, memory.

    python benchmarks/dashboard.py [--rows 200000] [--json]

`benchmarks/ledger_200k.py` makes the ledger; then the dashboard is started and looked at with a browser of its own. Seconds of a
filter run from the key that chooses it until the page says the new number of lines. Memory is what the server's process holds.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, Locator, Page, sync_playwright

FEWGOOD = str(Path(sys.executable).with_name("fewgood"))
CHANGED = (
    "before => { const now = [...document.querySelectorAll('p')].map(p => p.textContent).find(t => /page \\d+ of/.test(t)); \
return now !== undefined && now !== before }"
)
PAGES = ("", "leaderboard", "compare", "findings", "cost", "runs", "about")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    chromium = shutil.which("chromium") or sys.exit("no chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as name:
        ledger = Path(name) / "ledger"
        maker = Path(__file__).with_name("ledger_200k.py")
        subprocess.run(
            [sys.executable, maker, "--out", ledger, "--rows", str(flags.rows)], check=True, stdout=sys.stderr
        )
        result = measure(ledger, Path(name) / "home", chromium)
    if flags.json:
        print(json.dumps(result, indent=1))
        return
    for what, value in result.items():
        print(f"{what}: {value}")


def measure(ledger: Path, home: Path, chromium: str) -> dict[str, Any]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    started = time.perf_counter()
    server = subprocess.Popen(
        [FEWGOOD, "dashboard", "--ledger", str(ledger), "--home", str(home), "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    found: dict[str, Any] = {}
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.05)
        found["command to the server's first answer, s"] = round(time.perf_counter() - started, 2)
        with sync_playwright() as playwright:
            flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

            def launch() -> Browser:
                return playwright.chromium.launch(executable_path=chromium, args=flags)

            browser = launch()
            overview(browser.new_page(), address)
            found["command to the Overview's numbers, s"] = round(time.perf_counter() - started, 2)
            browser.close()
            firsts = []
            for _ in range(3):
                browser = launch()
                page = browser.new_page()
                begun = time.perf_counter()
                overview(page, address)
                firsts.append(round(time.perf_counter() - begun, 2))
                browser.close()
            found["address to the Overview's numbers in a new browser, server running, s"] = firsts
            browser = launch()
            page = browser.new_page()
            begun = time.perf_counter()
            page.goto(f"{address}/leaderboard")
            lines(page).wait_for(timeout=60_000)
            settled(page)
            found["Leaderboard that nobody opened before, s"] = round(time.perf_counter() - begun, 2)
            for label, words in (("Category", ("made-01", "made-02")), ("Arm", ("augment", "none"))):
                found[f"Leaderboard filtered by {label}, s"] = [choose(page, label, word) for word in words]
            page.goto(f"{address}/runs")
            lines(page).wait_for(timeout=60_000)
            settled(page)
            found["Runs filtered by Category, s"] = [choose(page, "Category", word) for word in ("made-03", "made-04")]
            process = psutil.Process(server.pid)
            found["memory after these, MB"] = round(process.memory_info().rss / 2**20)
            for name in PAGES:
                page.goto(f"{address}/{name}")
                settled(page, 120_000)
            found["memory after all pages, MB"] = round(process.memory_info().rss / 2**20)
            browser.close()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)
    return found


def overview(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("heading", name="Overview", exact=True).wait_for(timeout=120_000)
    page.wait_for_selector(".fewgood img, .fewgood svg", timeout=120_000)


def lines(page: Page) -> Locator:
    """The caption that says how many lines a table has."""
    return page.locator("p").filter(has_text=re.compile(r"page \d+ of")).first


def settled(page: Page, timeout: int = 60_000) -> None:
    page.wait_for_selector('.stApp[data-test-connection-state="CONNECTED"]', timeout=timeout)
    page.wait_for_timeout(300)
    page.wait_for_selector('.stApp[data-test-script-state="notRunning"]', timeout=timeout)


def choose(page: Page, label: str, word: str) -> float:
    """Seconds from the key that chooses the first entry that a word finds until the page has the new number of lines."""
    before = lines(page).text_content()
    box = page.get_by_role("combobox", name=re.compile(label)).first
    box.focus()
    page.keyboard.type(word)
    page.wait_for_timeout(400)
    begun = time.perf_counter()
    page.keyboard.press("Enter")
    page.wait_for_function(CHANGED, arg=before, polling="raf", timeout=30_000)
    seconds = time.perf_counter() - begun
    page.keyboard.press("Escape")
    settled(page)
    return round(seconds, 2)


if __name__ == "__main__":
    main()
