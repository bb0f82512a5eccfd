"""Studies: every key is checked, `all` finds the categories, and what the files say is what runs."""

import re

import pytest

from fewgood.errors import SpecError
from fewgood.execution.study import Study, load_study, study_from
from fewgood.store import Home

SMALL = {"name": "x", "datasets": [{"name": "sample", "categories": ["brick"]}]}


def write(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return path


def test_the_files_in_docs_are_studies(repository, monkeypatch):
    monkeypatch.setenv("FEWGOOD_DATA", "/data")
    demo, paper = (load_study(repository / "docs" / "studies" / f"{name}.yaml") for name in ("demo", "paper"))
    assert [cell.label for cell in demo.cells] == ["sample/brick patchcore 1-shot", "sample/washer patchcore 1-shot"]
    assert [entry.root for entry in paper.datasets] == ["/data/mvtec_ad", "/data/mvtec_loco", "/data/btad"]
    assert len(paper.baselines) * len(paper.shots) == 12
    cell = paper.cells[0]
    spec = paper.spec(cell, arm="generate", seed=0, settings={})
    assert (spec.data.category, spec.prompts.keyword) == ("01", "metal plate")


def test_the_results_studies_run_all_their_configurations(repository, monkeypatch):
    monkeypatch.setenv("FEWGOOD_TEST_DATA", "/data")
    paths = sorted((repository / "docs" / "studies").glob("results*.yaml"))
    assert paths
    for path in paths:
        study = load_study(path)
        assert study.name == path.stem
        assert study.budget.trials == len(study.configurations), path


def test_all_finds_the_categories(tmp_path):
    study = Study.model_validate({"name": "x", "datasets": [{"name": "sample"}], "baselines": ["patchcore", "cflow"]})
    assert study.cells == []
    named = study.with_categories(Home(tmp_path))
    assert len(named.cells) == 4 * 2
    assert named.datasets[0].categories == ("brick", "grass", "gravel", "washer")


def test_a_relative_root_is_beside_the_file(tmp_path):
    path = write(tmp_path, "name: x\ndatasets:\n  - {name: folder, root: images, categories: [part]}\n")
    assert load_study(path).datasets[0].root == str(tmp_path / "images")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trails": 3}, "trails: .*known keys are name, datasets"),
        ({"budget": {"hours": 3}}, "budget.hours: .*known keys are trials, minutes, cpu_minutes, gpu_minutes"),
        ({"datasets": []}, "datasets: "),
        ({"datasets": [{"name": "sampel", "categories": ["brick"]}]}, "datasets.0.name: .*allowed is one of sample"),
        ({"datasets": [{"name": "sample", "categories": []}]}, "datasets.0.categories"),
        ({"datasets": [{"name": "sample", "categories": ["brick"]}] * 2}, "name a category twice"),
        ({"seeds": [0, 0]}, r"\[0, 0\] names something twice"),
        ({"arm": "generated"}, "unknown arm 'generated'"),
        ({"controls": ["generate"]}, "cannot be one of the controls"),
        ({"search": "list"}, "go together"),
        ({"configurations": [{}]}, "go together"),
        ({"search": "list", "configurations": [{"a": 1}, {"a": 1}]}, "is given twice"),
        ({"objectives": ["cost"]}, r"allowed is \[gain\] or \[gain, cost\]"),
        ({"name": "../x"}, "name: "),
        ({"shots": [0.5]}, "shots"),
    ],
)
def test_a_mistake_is_named(change, words):
    with pytest.raises(SpecError, match=words):
        study_from({**SMALL, **change}, where="study bad.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [", "is not YAML"),
        ("- name", "must be a mapping"),
        (
            "name: x\ndatasets:\n  - {name: folder, root: '${NOWHERE_SET}/x'}\n",
            "needs the environment variable NOWHERE_SET",
        ),
    ],
)
def test_a_file_that_is_no_study(tmp_path, text, words):
    with pytest.raises(SpecError, match=words):
        load_study(write(tmp_path, text))
    with pytest.raises(SpecError, match=re.escape("cannot be read")):
        load_study(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("search", "seeds", "early", "stops"),
    [
        ("tpe", 3, None, True),
        ("tpe", 2, None, False),
        ("grid", 3, None, False),
        ("grid", 2, True, True),
        ("tpe", 1, True, False),
        ("tpe", 5, False, False),
    ],
)
def test_early_stopping_is_for_searches_of_several_seeds(search, seeds, early, stops):
    study = study_from({**SMALL, "search": search, "seeds": list(range(seeds)), "early_stopping": early}, where="x")
    assert study.stops_early is stops
