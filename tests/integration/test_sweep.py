"""A real Ray Tune + Optuna sweep on two cells: every trial counted once, generators shared, and a second start adds none."""

import json

import pytest

pytestmark = pytest.mark.integration

FLAGS = [
    *("sweep", "--dataset", "sample", "--categories", "brick,washer", "--trials", "3", "--space", "demo"),
    *("--set", "generator.steps=12", "--set", "baseline.image_size=96", "--set", "sampling.latent_samples=2"),
]


def test_sweep_and_carry_on(fewgood, shared_home, tmp_path):
    report = tmp_path / "report.html"
    outcome = fewgood(*FLAGS, "--name", "first", "--report", report, "--json")
    assert outcome.status == 0, outcome.err
    document = outcome.document
    assert [cell["cell"] for cell in document["cells"]] == [
        "sample/brick patchcore 1-shot",
        "sample/washer patchcore 1-shot",
    ]
    assert [cell["trials"] + cell["failed"] for cell in document["cells"]] == [3, 3]
    assert all(cell["failed"] == 0 for cell in document["cells"])
    events = [
        json.loads(line) for line in (shared_home / "studies" / "first" / "events.jsonl").read_text().splitlines()
    ]
    finished = [event for event in events if event["event"] == "trial_finished"]
    assert len(finished) == 6
    for cell in document["cells"]:
        mine = [event for event in finished if event["cell"] == cell["cell"]]
        assert cell["best"]["objective"] == max(event["objective"] for event in mine)
        weights = {event["settings"]["generator.variance_weight"] for event in mine}
        trained = sum(len(event["generated_runs"]) - event["generators_cached"] for event in mine)
        assert trained == len(weights), "one generator per variance weight, shared by the other trials"
    page = report.read_text()
    assert "washer" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")

    from fewgood.store import Home, Ledger

    rows = Ledger(Home(shared_home)).rows()
    mine = [row for row in rows if row["study"] == "first"]
    assert {row["arm"] for row in mine} == {"none", "augment", "generate"}
    assert all(row["select_on"] == "proxy" and row["status"] == "ok" for row in mine)
    assert all(0 <= row["proxy_score"] <= 1 for row in mine if row["arm"] == "generate")

    again = fewgood(*FLAGS, "--name", "first", "--report", report, "--json")
    assert again.document["cells"] == document["cells"], "all trials were there"
    assert len(Ledger(Home(shared_home)).rows()) == len(rows)

    other = fewgood(*FLAGS, "--name", "first", "--seeds", "0,1", "--json")
    assert other.status == 2
    assert "exists" in other.document["error"]
    assert "--name" in other.document["error"]


def test_a_study_that_fits_no_cluster_is_refused(fewgood, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text("name: large\ndataset: sample\ncategories: [brick]\nspace: demo\ncpus_per_trial: 512\n")
    outcome = fewgood("sweep", study)
    assert outcome.status == 2
    assert "asks for 512 CPUs" in outcome.err


def test_a_study_with_a_mistake(fewgood, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text("name: x\ndataset: sample\ncategories: [brick]\ntrails: 3\n")
    outcome = fewgood("sweep", study)
    assert outcome.status == 2
    assert "study.yaml: trails" in outcome.err
    assert "trials" in outcome.err
