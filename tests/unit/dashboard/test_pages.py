"""Every page on small, odd and broken ledgers: it stays up, says what is wrong, and shows text as text."""

import json
import re
import shutil
import sys
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from fewgood.execution.events import EventLog
from fewgood.store import Home
from fewgood_dashboard import source as sources
from fewgood_dashboard.app import PAGES
from fewgood_dashboard.source import Settings, Source

MODULES = [module for module, _, _ in PAGES]


def script(module, home, ledger):
    from pathlib import Path

    from fewgood.store import Home
    from fewgood_dashboard.app import draw
    from fewgood_dashboard.source import Settings, connect

    draw(module, connect(Settings(home=Home(Path(home)), ledger=ledger)))


@pytest.fixture
def show(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # AppTest leaves its script there

    def run(module, ledger=None, of=home, **address):
        app = AppTest.from_function(
            script, kwargs={"module": module, "home": str(of.root), "ledger": ledger}, default_timeout=60
        )
        for key, value in address.items():
            app.query_params[key] = value
        app.run()
        assert not app.exception, app.exception
        return app

    return run


def words(app):
    """All that a page says, tables included."""
    kinds = (app.title, app.subheader, app.caption, app.text, app.info, app.error, app.warning, app.markdown, app.code)
    found = [str(item.value) for kind in kinds for item in kind]
    tables = [item.value.to_string() for item in app.dataframe]
    return "\n".join(found + tables + [str(item.proto.body) for item in app.get("html")])


@pytest.fixture
def one_cell(kept_home, make_cell):
    return kept_home("one cell", lambda: make_cell("bolt"))


@pytest.fixture
def two_cells(kept_home, make_cell):
    return kept_home("two cells", lambda: [row for name in ("bolt", "nut") for row in make_cell(name)])


@pytest.mark.parametrize("module", MODULES)
def test_an_empty_ledger_says_how_to_fill_it(show, kept_home, module):
    text = words(show(module, of=kept_home("empty", list)))
    assert "fewgood sweep" in text or module == "about"


@pytest.mark.parametrize("module", MODULES)
def test_every_page_shows_a_ledger(show, two_cells, module):
    app = show(module, of=two_cells)
    assert not app.error
    assert "cannot be read" not in words(app)


@pytest.mark.parametrize("module", MODULES)
def test_hostile_text_is_shown_as_text(show, kept_home, make_cell, module):
    def rows():
        hostile = "<img src=x onerror=alert(1)>**b** $x$ :red[y] [l](http://e.x)\u202e"
        found = [row | {"run_id": f"run-{number}"} for number, row in enumerate(make_cell(hostile, prompt=hostile))]
        found[0] |= {"status": "failed", "error": hostile}
        return found

    app = show(module, of=kept_home("hostile", rows))
    assert not app.error or module == "runs"
    for item in app.get("html"):
        assert "<img src=x" not in item.proto.body
    for item in app.markdown:
        assert "onerror" not in item.value
    for item in app.caption:
        assert "](http" not in item.value.replace("\\]\\(", "")


def test_a_page_waits_for_the_first_reading_of_the_ledger(show, fill, make_cell, home, monkeypatch):
    fill(make_cell("bolt"))
    slow = Source(Settings(home=Home(home.root)))
    monkeypatch.setitem(sources._connected, slow.settings, slow)
    with slow._refreshing:  # another thread reads
        text = words(show("overview"))
    assert "Reading the ledger: 0 runs so far" in text
    assert "generat" not in text
    assert "Reading" not in words(show("overview")), "whoever asks when nobody reads, reads"
    with slow._refreshing:
        assert "generat" in words(show("overview")), "what was read before is shown while another thread looks again"


def test_one_seed_has_no_interval_and_says_so(show, fill, make_cell):
    fill(make_cell("bolt", seeds=1))
    text = words(show("overview"))
    assert "one seed" in text
    assert "no interval" in text
    table = show("leaderboard").dataframe[1].value
    assert table["95 % interval"].isna().all()


def test_metrics_that_are_not_numbers_are_missing(show, fill, make_cell):
    rows = make_cell("bolt")
    for row in rows[:3]:
        row |= {"image_auroc": float("nan"), "pixel_auroc": float("inf"), "test_scores": [float("nan")] * 40}
    fill(rows)
    for module in MODULES:
        assert not show(module).error


@pytest.fixture(scope="module")
def damaged_home(kept_home, build_row):
    home = kept_home("damaged", lambda: [build_row(arm, seed) for arm in ("none", "generate") for seed in range(3)])
    first, second, *_ = sorted(home.ledger.glob("*.parquet"))
    first.write_bytes(first.read_bytes()[:200])
    second.write_bytes(b"")
    return home, first


@pytest.mark.parametrize("module", MODULES)
def test_damaged_files_are_named_and_the_rest_is_shown(show, damaged_home, module):
    home, first = damaged_home
    app = show(module, of=home)
    assert "2 ledger files cannot be read" in "\n".join(item.label for item in app.expander)
    assert first.name in words(app)
    assert not app.error


def test_a_ledger_that_cannot_be_reached_is_said(show, tmp_path):
    text = words(show("overview", ledger="nosuchscheme://bucket/ledger"))
    assert "cannot be read now" in text
    assert "nosuchscheme" in text


def test_another_ledger_than_the_homes(show, write, make_cell, tmp_path):
    other = write(Home(tmp_path / "other").prepare(), make_cell("elsewhere"))
    for place in (str(other.ledger), other.ledger.as_uri()):
        assert "elsewhere" in words(show("leaderboard", ledger=place))


def test_an_address_opens_as_it_was(show, two_cells):
    app = show("leaderboard", of=two_cells, category="nut", sort="seconds", down="0")
    assert app.multiselect(key="choice.category").value == ["nut"]
    assert app.selectbox(key="choice.sort").value == "seconds"
    assert app.toggle(key="choice.down").value is False
    assert set(app.dataframe[1].value["category"]) == {"mvtec_ad/nut"}
    app.selectbox(key="choice.sort").select("seeds").run()
    assert "seeds" in app.query_params["sort"]
    assert "nut" in app.query_params["category"]


def test_an_address_that_names_what_is_not_there_says_so(show, one_cell):
    app = show("leaderboard", of=one_cell, sort="nonsense", page="999999999999", category="nowhere", ranking="x" * 500)
    assert any("does not have" in item.value for item in app.warning)
    assert not app.error


@pytest.mark.parametrize("module", MODULES)
def test_nonsense_in_the_address_does_no_harm(show, one_cell, module):
    nonsense = ["--5", "\u00b2", "9" * 5000, "../..", "x~y", ""]
    keys = ("ranking", "category", "arm", "sort", "down", "page", "cell", "scope", "a", "b", "run", "failed", "study")
    keys += ("zoom", "x", "y", "image")
    app = show(module, of=one_cell, **{key: nonsense[number % len(nonsense)] for number, key in enumerate(keys)})
    assert not app.error
    app = show(module, of=one_cell, **{key: nonsense[(number + 2) % len(nonsense)] for number, key in enumerate(keys)})
    assert not app.error


def test_a_filter_that_the_ledger_lacks_is_said(show, one_cell):
    app = show("leaderboard", of=one_cell, category="nowhere")
    assert any("does not have" in item.value for item in app.warning)


@pytest.mark.parametrize("module", MODULES)
def test_runs_without_image_auroc(show, kept_home, make_cell, module):
    lost = dict.fromkeys(("image_auroc", "test_scores", "test_names"))
    assert not show(module, of=kept_home("no auroc", lambda: [row | lost for row in make_cell("bolt")])).error


@pytest.mark.parametrize("module", MODULES)
def test_failed_runs_alone(show, kept_home, make_cell, module):
    lost = {"status": "failed", "error": "no luck", "backbone": None}
    app = show(module, of=kept_home("failed", lambda: [row | lost for row in make_cell("bolt")]))
    assert [item.value for item in app.error] == (["The run failed with this message:"] if module == "runs" else [])


def test_a_category_measured_on_other_images_is_another_cell(show, fill, make_cell):
    other = [
        row | {"run_id": f"{row['run_id']}x", "data_fingerprint": "other", "image_auroc": row["image_auroc"] / 2}
        for row in make_cell("bolt")
    ]
    fill(make_cell("bolt") + other)
    options = show("compare").selectbox(key="choice.cell").options
    assert len(options) == 2
    assert options[0] != options[1]
    lines = show("leaderboard").dataframe[1].value
    assert lines[lines["arm"] == "generate"]["image AUROC"].nunique() == 2


def test_an_error_inside_a_fragment_is_said(show, fill, make_cell, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("out of luck")

    fill(make_cell("bolt"))
    monkeypatch.setattr("fewgood_dashboard.measures.lines", fail)
    app = show("leaderboard")
    assert any("fault of ours" in item.value for item in app.error)
    assert "out of luck" in words(app)


def test_the_means_are_shown_while_the_intervals_are_computed(show, fill, make_cell, monkeypatch):
    """Held against the finished lines: the same rows, columns and means, in the same order."""
    fill(make_cell("bolt") + make_cell("nut"))
    finished = show("leaderboard").dataframe[1].value

    def fail(*args, **kwargs):
        raise RuntimeError("stopped before the intervals")

    monkeypatch.setattr("fewgood_dashboard.measures.lines", fail)
    monkeypatch.setattr("fewgood_dashboard.measures.lines_are_known", lambda *args: False)
    means = show("leaderboard").dataframe[1].value
    assert list(means.columns) == list(finished.columns)
    for name in ("category", "arm", "added", "configuration", "seeds", "image AUROC", "gain vs none", "failed"):
        assert means[name].astype(str).tolist() == finished[name].astype(str).tolist(), name
    assert set(means["95 % interval"]) == {"\u2026"}


def test_a_failed_run_shows_its_message_and_command(show, fill, make_row):
    fill(
        [
            make_row("none", 0),
            make_row("generate", 0, status="failed", error="the disk is full", command="fewgood evaluate --seed 0"),
        ]
    )
    app = show("runs", failed="1")
    assert "the disk is full" in words(app)
    assert "fewgood evaluate --seed 0" in "\n".join(item.value for item in app.code)


def test_results_chosen_on_test_images_are_marked_and_apart(show, fill, make_cell):
    fill(make_cell("bolt") + [row | {"run_id": row["run_id"] + "t", "select_on": "test"} for row in make_cell("bolt")])
    app = show("overview")
    options = app.selectbox(key="choice.ranking").options
    assert len(options) == 2
    assert "CHOSEN ON TEST SCORES" in options[1]
    app.selectbox(key="choice.ranking").select_index(1).run()
    assert any("test images" in item.value for item in app.warning)


def test_a_study_shows_every_state_of_its_trials_and_their_cost(show, home):
    folder = home.studies / "both"
    log = EventLog(folder / "events.jsonl")
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(json.dumps({"study": {"objectives": ["gain", "cost"]}, "spaces": {}}))
    log.write("sweep_started", study="both", cells=["a"], trials_left=[6])
    for name in ("best", "dear", "weak", "lost", "slow", "unlucky"):
        log.write("trial_started", cell="a", trial=name, settings={"x": len(name)})
    log.write("trial_finished", cell="a", trial="best", objective=0.8, cost=2.0, seconds=3.0, runs=["r"])
    log.write("trial_finished", cell="a", trial="dear", objective=0.7, cost=4.0, seconds=5.0, runs=["s"])
    log.write("trial_stopped", cell="a", trial="weak", objective=0.5, cost=2.0, seeds=1)
    log.write("trial_interrupted", cell="a", trial="lost")
    log.write("trial_failed", cell="a", trial="unlucky", error="no luck")
    app = show("sweep", study="both")
    assert not app.error
    said = words(app)
    assert "its worker or host died" in said
    text = "2 of 6 trials finished, 1 running, 1 stopped early, 1 interrupted, 1 failed: running"
    assert [item.proto.text for item in app.get("progress")] == [text]
    table = app.dataframe[0].value.set_index("name")
    assert table["state"].to_dict() == {
        "best": "finished",
        "dear": "finished",
        "weak": "stopped early",
        "lost": "interrupted",
        "slow": "running",
        "unlucky": "failed",
    }
    assert table["cost, seconds"]["dear"] == 4.0
    assert table["on the front"].to_dict()["best"]
    assert not table["on the front"].to_dict()["dear"]


def test_pictures_that_are_gone_are_said(show, fill, make_cell, home):
    fill(make_cell("bolt"))
    shutil.rmtree(home.artifacts)
    assert "cannot be shown" in words(show("gallery"))


def entry():
    from fewgood_dashboard.app import main

    main()


def test_a_login_is_asked_for_where_it_is_configured(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setenv("FEWGOOD_HOME", str(home.root))
    monkeypatch.setattr("streamlit.user", SimpleNamespace(is_logged_in=False))
    app = AppTest.from_function(entry, default_timeout=60)
    app.secrets["auth"] = {"client_id": "x", "client_secret": "y", "redirect_uri": "http://localhost/oauth2callback"}
    app.run()
    assert [button.label for button in app.button] == ["Log in"]
    assert "Overview" not in [item.value for item in app.title]
    open_to_all = AppTest.from_function(entry, default_timeout=60).run()
    assert [item.value for item in open_to_all.title] == ["Overview"]


def test_secrets_that_are_no_toml_are_refused(tmp_path):
    from fewgood.errors import SpecError
    from fewgood_dashboard.login import read_secrets

    path = tmp_path / "secrets.toml"
    path.write_text("[auth]\nclient_id = 'x'\n")
    assert read_secrets(path) == {"auth": {"client_id": "x"}}
    assert read_secrets(None) == {}
    path.write_text("[auth")
    with pytest.raises(SpecError, match="secrets"):
        read_secrets(path)


def test_two_arms_compared_either_way_round(show, two_cells):
    one = words(show("compare", of=two_cells, scope="ranking", a="generate", b="none"))
    other = words(show("compare", of=two_cells, scope="ranking", a="none", b="generate"))
    value = re.search(r"generate - none: \+([0-9.]+) \[\+([0-9.]+), \+([0-9.]+)\]", one)
    assert value, one
    assert f"none - generate: -{value[1]} [-{value[3]}, -{value[2]}]" in other
