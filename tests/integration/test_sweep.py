"""Real Ray Tune + Optuna sweeps: every trial counted once, generators shared, early stops, failures, and resume after kills."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from fewgood.store import Home, Ledger

pytestmark = pytest.mark.integration

TINY = ["generator.steps=12", "baseline.image_size=96", "sampling.latent_samples=2"]
SETTINGS = [word for setting in TINY for word in ("--set", setting)]
FLAGS = ["sweep", "--dataset", "sample", "--categories", "brick,washer", "--trials", "3", "--space", "demo", *SETTINGS]

GRID = """
name: {name}
datasets: [{{name: sample, categories: [brick]}}]
controls: [none]
search: grid
space: grid.yaml
budget: {{trials: 9}}
resources: {{concurrent: 1}}
settings: {{generator.steps: 8, baseline.image_size: 96, sampling.latent_samples: 2}}
"""
SPACE = """
version: 1
parameters:
  generator.variance_weight: {type: choice, values: [0.1, 0.4, 1.0, 2.0]}
  selection.count: {type: choice, values: [2, 6]}
"""


def events(home, name):
    lines = (home / "studies" / name / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def of(found, kind):
    return [event for event in found if event["event"] == kind]


def study_rows(home, name):
    return [row for row in Ledger(Home(home)).rows() if row["study"] == name]


def test_sweep_and_carry_on(fewgood, shared_home, tmp_path):
    report = tmp_path / "report.html"
    outcome = fewgood(*FLAGS, "--name", "first", "--report", report, "--json")
    assert outcome.status == 0, outcome.err
    document = outcome.document
    labels = ["sample/brick patchcore 1-shot", "sample/washer patchcore 1-shot"]
    assert [cell["cell"] for cell in document["cells"]] == labels
    assert [(cell["trials"], cell["failed"]) for cell in document["cells"]] == [(3, 0), (3, 0)]
    found = events(shared_home, "first")
    assert [json.loads(line) for line in outcome.err.splitlines() if line.startswith('{"utc"')] == found
    finished = of(found, "trial_finished")
    assert len(finished) == 6
    for cell in document["cells"]:
        mine = [event for event in finished if event["cell"] == cell["cell"]]
        assert cell["best"]["objective"] == max(event["objective"] for event in mine)
        weights = {event["settings"]["generator.variance_weight"] for event in mine}
        trained = sum(len(event["generated_runs"]) - event["generators_cached"] for event in mine)
        assert trained == len(weights), "one generator per variance weight, shared by the other trials"
    started = of(found, "sweep_started")[0]
    assert started["dashboard"].startswith("http://127.0.0.1:")
    page = report.read_text()
    assert "washer" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    mine = study_rows(shared_home, "first")
    assert {row["arm"] for row in mine} == {"none", "augment", "generate"}
    assert all(row["select_on"] == "proxy" and row["status"] == "ok" for row in mine)
    assert all(0 <= row["proxy_score"] <= 1 for row in mine if row["arm"] == "generate")

    rows = len(Ledger(Home(shared_home)).rows())
    again = fewgood("resume", "first", "--report", report, "--json")
    assert again.document["cells"] == document["cells"], "all trials were there"
    assert len(Ledger(Home(shared_home)).rows()) == rows
    other = fewgood(*FLAGS, "--name", "first", "--seeds", "0,1", "--json")
    assert other.status == 2
    assert "exists" in other.document["error"]
    assert "--name" in other.document["error"]
    planned = fewgood("plan", "first", "--json").document
    assert [(cell["trials"], cell["done"]) for cell in planned["cells"]] == [(3, 3), (3, 3)]
    assert planned["seconds"] == 0.0


def start(words, home):
    command = [sys.executable, "-c", "from fewgood.cli import main; main()", *map(str, words)]
    environment = {**os.environ, "FEWGOOD_HOME": str(home)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(condition, process, seconds=600):
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition(), process.communicate()[1][-3000:] if process.poll() is not None else "it took too long"


def metrics_by_run(home):
    return {
        row["run_id"]: (row["image_auroc"], row["pixel_auroc"], row["proxy_score"])
        for row in Ledger(Home(home)).rows()
        if row["status"] == "ok"
    }


@pytest.fixture(scope="module")
def grid(tmp_path_factory, lend_models):
    """A grid study, run once without disturbance in a home of its own: `(study file, its home, its best trials)`."""
    folder = tmp_path_factory.mktemp("grid")
    (folder / "grid.yaml").write_text(SPACE)
    study = folder / "study.yaml"
    study.write_text(GRID.format(name="grid"))
    home = lend_models(folder / "home")
    process = start(["sweep", study, "--json"], home)
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err[-3000:]
    return study, home, json.loads(out)["cells"]


def test_a_study_survives_every_kill_and_ends_like_an_undisturbed_run(grid, lend_models, tmp_path):
    """One study loses its driver, a worker, Ray's node manager and gets Ctrl-C, each after one more finished trial.

    Every other trial trains a generator: what follows a finished trial must not be over before a kill arrives.
    """
    study, undisturbed, cells = grid
    home = lend_models(tmp_path / "home")

    def finished():
        log = home / "studies" / "grid" / "events.jsonl"
        return [event["trial"] for event in of(events(home, "grid"), "trial_finished")] if log.exists() else []

    words = ["sweep", study, "--json"]
    for kill in (kill_driver, kill_node_manager, interrupt, kill_worker):
        before = len(finished())
        assert before < 7, "the kills came too late to test anything"
        process = start(words, home)
        wait_for(lambda before=before: len(finished()) > before, process)
        kill(process)
        words = ["resume", "grid", "--json"]
        if kill is not kill_worker:
            assert process.returncode != 0
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err[-3000:]
    assert of(events(home, "grid"), "trial_interrupted"), "a lost worker is said, and its trial started again"
    assert json.loads(out)["cells"] == without_time(cells, json.loads(out)["cells"])
    assert metrics_by_run(home) == metrics_by_run(undisturbed)
    assert len(finished()) == len(set(finished())) == 8, "nothing is lost and nothing counted twice"


def kill_driver(process):
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=200)


def kill_node_manager(process):
    (raylet,) = (child.pid for child in psutil.Process(process.pid).children() if child.name() == "raylet")
    os.kill(raylet, signal.SIGKILL)
    process.communicate(timeout=300)


def interrupt(process):
    os.kill(process.pid, signal.SIGINT)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 130, said[-3000:]
    assert "carries on" in said


def kill_worker(process):
    """End all processes that run trials under a driver; the sweep goes on."""

    def running():
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if "ImplicitFunc.train" in words_of(child)]

    wait_for(running, process)
    for child in running():
        os.kill(child.pid, signal.SIGKILL)


def words_of(process):
    """A process's command line; nothing for one that has just ended."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def without_time(expected, found):
    """The expected cells with the seconds that this run took: all else must be the same."""
    return [
        {**one, "best": {**one["best"], "cost": other["best"]["cost"]}}
        for one, other in zip(expected, found, strict=True)
    ]


ENDS = """
name: ends
datasets: [{name: sample, categories: [brick]}]
controls: []
seeds: [0, 1]
search: list
configurations:
  - {generator.learning_rate: 1.0e+30}
  - {selection.count: 8}
  - {selection.count: 10}
  - {selection.count: 12}
  - {selection.count: 1, sampling.mode: decode, sampling.scale: 20.0}
early_stopping: true
objectives: [gain, cost]
retries: 1
resources: {concurrent: 1}
settings: {generator.steps: 12, baseline.image_size: 96, sampling.latent_samples: 1, sampling.oversample: 1}
"""


def test_the_ways_a_configuration_ends(fewgood, shared_home, tmp_path):
    """One that fails is tried again and recorded, a hopeless one is stopped after a seed, and neither is run again."""
    study = tmp_path / "study.yaml"
    study.write_text(ENDS)
    outcome = fewgood("sweep", study, "--json")
    assert outcome.status == 0, outcome.err
    (cell,) = outcome.document["cells"]
    assert (cell["trials"], cell["stopped"], cell["failed"]) == (3, 1, 1)
    costs = [trial["cost"] for trial in cell["front"]]
    gains = [trial["objective"] for trial in cell["front"]]
    assert (costs, gains) == (sorted(costs), sorted(gains)), "more gain costs more on the front"
    found = events(shared_home, "ends")
    assert len(of(found, "trial_retried")) == 1
    (failed,) = of(found, "trial_failed")
    assert "generator.learning_rate" in failed["error"]
    (stopped,) = of(found, "trial_stopped")
    assert stopped["seeds"] == 1
    assert stopped["settings"]["sampling.scale"] == 20.0
    assert {row["status"] for row in study_rows(shared_home, "ends")} == {"ok", "failed"}
    again = fewgood("resume", "ends", "--json")
    assert again.document["cells"] == outcome.document["cells"]
    assert len(events(shared_home, "ends")) == len(found), "what has ended is not run again"
    fewgood("resume", "ends", "--retry-failed", "--json")
    assert len(of(events(shared_home, "ends"), "trial_failed")) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resources: {cpus_per_trial: 512}", "asks for 512 CPUs"),
        ("training: {mode: ray, workers: 64}", "64 Ray Train workers"),
        ("trails: 3", "study.yaml: trails"),
        ("settings: {selection.count: 4}", "fixes selection.count, which space"),
        ("settings: {generator.init_from: /nowhere.ckpt}", "/nowhere.ckpt"),
        ("settings: {embedding.model: ViT-B-32, embedding.pretrained: /nowhere.pt}", "nowhere.pt"),
        ("warm_start: [never]", "no study 'never'"),
    ],
)
def test_a_study_that_cannot_run_is_refused(fewgood, tmp_path, text, words):
    study = tmp_path / "study.yaml"
    study.write_text(f"name: refused\ndatasets: [{{name: sample, categories: [brick]}}]\nspace: demo\n{text}\n")
    outcome = fewgood("sweep", study)
    assert outcome.status == 2
    assert words in outcome.err
    assert "Traceback" not in outcome.err
