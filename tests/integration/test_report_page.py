"""The HTML report in a real browser, offline: it shows the numbers and the pictures, asks for nothing, and logs no error."""

import shutil

import pytest

pytestmark = pytest.mark.integration


def test_the_report_opens_offline(fewgood, tmp_path):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    words = ["compare", "--dataset", "sample", "--category", "brick", "--arms", "none,augment", "--seeds", "0"]
    assert fewgood(*words, "--set", "baseline.image_size=96", "--set", "selection.count=4").status == 0
    page_file = tmp_path / "report.html"
    outcome = fewgood("leaderboard", "--format", "html", "--out", page_file)
    assert outcome.status == 0, outcome.err
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        for scheme in ("light", "dark"):
            look(browser.new_context(offline=True, color_scheme=scheme).new_page(), page_file)
        browser.close()


def look(page, page_file):
    problems, asked = [], []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    assert page.get_by_role("heading", name="The answer").is_visible()
    assert page.get_by_text("sample/brick").first.is_visible()
    assert page.locator("svg").count() > 0
    loaded = page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert loaded
    assert min(loaded) > 0
    assert problems == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
