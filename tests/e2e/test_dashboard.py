"""The dashboard in a real browser, on a ledger of real runs over real photographs, and beside a running sweep."""

import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from urllib.parse import parse_qs, urlparse

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.e2e

FEWGOOD = [sys.executable, "-c", "from fewgood.cli import main; main()"]
SMALL = [
    *("--set", "generator.steps=12", "--set", "baseline.image_size=96"),
    *("--set", "selection.count=4", "--set", "sampling.latent_samples=2"),
]
PAGES = ("Overview", "Leaderboard", "Compare", "Findings", "Sweep", "Gallery", "Cost", "Runs", "About")


@pytest.fixture(scope="module")
def chromium():
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def home(lend_models, real_data, tmp_path_factory, chromium):
    """A home with runs on photographs of hazelnuts."""
    folder = lend_models(tmp_path_factory.mktemp("dashboard") / "home")
    arms = ["--arms", "none,augment,generate", "--seeds", "0,1"]
    hazelnut = ["--dataset", "folder", "--root", str(real_data / "hazelnut_toy"), "--category", "hazelnut"]
    words = [*FEWGOOD, "compare", *hazelnut, *arms, *SMALL]
    done = subprocess.run(words, env=environment(folder), capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def environment(home):
    return os.environ | {"FEWGOOD_HOME": str(home), "OMP_NUM_THREADS": "2"}


@pytest.fixture(scope="module")
def address(home, tmp_path_factory):
    """The dashboard's address; the server is ended by its process."""
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("w") as output:
        server = subprocess.Popen(
            [*FEWGOOD, "dashboard", "--port", str(port)], env=environment(home), stdout=output, stderr=output
        )
    where = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                with urllib.request.urlopen(f"{where}/_stcore/health", timeout=5) as answer:
                    assert answer.read() == b"ok"
                break
            except OSError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, "the dashboard did not start"
                time.sleep(0.2)
        yield where
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield found
        found.close()


@pytest.fixture
def page(browser, address):
    """A page that fails its test when the browser logs an error, a script fails, or another host is asked."""
    context = browser.new_context(viewport={"width": 1360, "height": 1000})
    made = context.new_page()
    problems = []
    made.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    made.on("pageerror", lambda error: problems.append(str(error)))
    made.on(
        "request",
        lambda asked: (
            None
            if asked.url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))
            else problems.append(f"asked {asked.url}")
        ),
    )
    yield made
    context.close()
    assert problems == []


def settled(page):
    """Wait until Streamlit has run the page's script to its end."""
    page.wait_for_selector('.stApp[data-test-connection-state="CONNECTED"]')
    page.wait_for_timeout(150)
    page.wait_for_selector('.stApp[data-test-script-state="notRunning"]', timeout=60_000)
    assert page.locator('[data-testid="stException"]').count() == 0
    return page


def visit(page, address, name, query=""):
    page.goto(f"{address}/{'' if name == 'Overview' else name.lower()}{query}")
    page.get_by_role("heading", name=name, exact=True).wait_for(timeout=60_000)
    return settled(page)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens(page, address, name):
    visit(page, address, name)
    errors = page.locator('[data-testid="stAlertContentError"]')
    assert [errors.nth(number).inner_text() for number in range(errors.count())] == []
    if name in ("Overview", "Leaderboard", "Compare"):
        page.wait_for_function(
            "() => { const found = [...document.querySelectorAll('.fewgood img')];"
            " return found.length > 0 && found.every(image => image.naturalWidth > 0) }"
        )
        assert page.locator("details summary").count() > 0, "a chart has its numbers as a table"
    if name == "Gallery":
        page.wait_for_function(
            "() => { const found = [...document.querySelectorAll('[data-testid=stImage] img')];"
            " return found.length >= 8 && found.every(image => image.naturalWidth > 0) }"
        )
        assert page.get_by_text("score").count() > 0


def test_the_pages_are_reached_by_keyboard(page, address):
    visit(page, address, "Overview")
    links = page.locator('[data-testid="stSidebarNavLink"]')
    assert [text.strip().split("\n")[-1] for text in links.all_inner_texts()] == list(PAGES)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('a[href$=\"/runs\"]')"):
            break
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Runs", exact=True).wait_for()
    assert urlparse(page.url).path == "/runs"
    settled(page)


def test_a_filter_by_keyboard_a_sent_address_and_exports(page, address, browser, fewgood, home):
    visit(page, address, "Leaderboard")
    box = page.get_by_role("combobox", name=re.compile("Category"))
    box.focus()
    page.keyboard.type("haz")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile("category=hazelnut"))
    settled(page)
    page.get_by_text(re.compile(r"^3 configurations; page 1 of 1")).wait_for()

    sent = page.url
    assert parse_qs(urlparse(sent).query)["category"] == ["hazelnut"]
    other = browser.new_context().new_page()
    other.goto(sent)
    settled(other)
    other.get_by_text(re.compile(r"^3 configurations; page 1 of 1")).wait_for()
    assert other.url == sent
    other.context.close()

    found = {}
    for name in ("CSV", "Parquet", "Markdown", "LaTeX", "JSON"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=name, exact=True).click()
        found[name] = waiting.value.path().read_bytes()
    lines = list(csv.DictReader(io.StringIO(found["CSV"].decode())))
    printed = list(csv.DictReader(io.StringIO(fewgood("leaderboard", "--format", "csv", home=home).out)))

    def known(items):
        return sorted(tuple(sorted(item.items())) for item in items if item["category"] == "hazelnut")

    assert known(lines) == known(printed), "the page's file has the command line's numbers"
    table = pq.read_table(io.BytesIO(found["Parquet"])).to_pylist()
    assert [row["configuration"] for row in table] == [row["configuration"] for row in lines]
    assert len(json.loads(found["JSON"])["rows"]) == 3
    assert "| arm |" in found["Markdown"].decode()
    assert r"\toprule" in found["LaTeX"].decode()


def test_back_and_forward_follow_the_address(page, address):
    visit(page, address, "Leaderboard")
    page.get_by_role("combobox", name=re.compile("Sort by")).focus()
    page.keyboard.type("seconds")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("sort=seconds"))
    settled(page)
    page.go_back()
    page.wait_for_url(re.compile("sort=image"))
    settled(page)
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-testid=stSelectbox]')]"
        ".some(box => box.innerText.includes('Sort by') && box.innerHTML.includes('image AUROC'))"
    )


def test_zoom_shows_a_part_of_the_picture(page, address):
    visit(page, address, "Gallery", "?cell=folder/hazelnut&zoom=4&x=20&y=80")
    shown = page.locator('[data-testid="stImage"] img').last
    shown.scroll_into_view_if_needed()
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-testid=stImage] img')].at(-1).naturalWidth > 400"
    )
    assert "zoom=4" in page.url


def test_a_failed_run_shows_message_and_command(page, address, fewgood, home):
    words = ["evaluate", "--dataset", "sample", "--category", "brick", "--arm", "none"]
    outcome = fewgood(*words, "--set", "baseline.backbone=resnet18", home=home)
    assert outcome.status == 2, outcome.err
    visit(page, address, "Runs", "?failed=1")
    page.get_by_text("The run failed with this message").wait_for()
    # The table's own text for screen readers is there too, and hidden.
    page.locator('[data-testid="stCode"]', has_text="the weights of baseline.backbone resnet18").wait_for()
    command = page.locator("code", has_text="fewgood evaluate")
    command.wait_for()
    assert "baseline.backbone=resnet18" in command.inner_text()


def finished(log):
    """How many trials an event log says are finished."""
    return log.read_text().count('"event": "trial_finished"') if log.exists() else 0


def test_a_sweep_arrives_while_it_runs(page, address, home, tmp_path):
    visit(page, address, "Sweep")
    page.get_by_text("There is no study yet").wait_for()
    words = ["sweep", "--name", "live", "--dataset", "sample", "--categories", "brick", "--space", "demo"]
    words += ["--trials", "2", "--concurrent", "1", "--controls", "none", *SMALL[:4], *SMALL[6:]]
    log, events = tmp_path / "sweep.txt", home / "studies" / "live" / "events.jsonl"
    with log.open("w") as output:
        sweep = subprocess.Popen([*FEWGOOD, *words], env=environment(home), stdout=output, stderr=output)
    try:
        # Nobody reloads the page: the study appears, its trials come in, and it ends.
        page.get_by_text(re.compile("of 2 trials finished")).wait_for(timeout=600_000)
        deadline = time.monotonic() + 600
        while not finished(events):
            assert sweep.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.05)
        # The driver alone writes the log: while it is halted, what the page must show stays the same, however quick
        # the trials are.
        sweep.send_signal(signal.SIGSTOP)
        page.get_by_text(re.compile(f"^{finished(events)} of 2 trials finished")).wait_for(timeout=60_000)
        heading = page.get_by_role("heading", name="History")
        before = heading.bounding_box()["y"]
        page.wait_for_timeout(4500)
        assert abs(heading.bounding_box()["y"] - before) < 80, "a refresh does not throw the page about"
        sweep.send_signal(signal.SIGCONT)
        page.get_by_text(re.compile("^2 of 2 trials finished.*: finished")).wait_for(timeout=600_000)
        page.locator(".js-plotly-plot").nth(1).wait_for()
        assert sweep.wait(timeout=300) == 0, log.read_text()[-2000:]
    finally:
        if sweep.poll() is None:
            sweep.send_signal(signal.SIGCONT)
            sweep.send_signal(signal.SIGINT)
            sweep.wait(timeout=60)
    assert page.locator(".js-plotly-plot").count() == 2
    settled(page)


def test_it_listens_on_loopback_only(address):
    port = urlparse(address).port
    outside = next(
        (
            item[4][0]
            for item in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)
            if not item[4][0].startswith("127.")
        ),
        None,
    )
    if outside is None:
        pytest.skip("this machine has no address but loopback")
    with socket.socket() as probe:
        probe.settimeout(2)
        assert probe.connect_ex((outside, port)) != 0
