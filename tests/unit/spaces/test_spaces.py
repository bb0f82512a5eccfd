"""Reading search spaces: what ships fits its pairs, `auto` picks, `extends` inherits, a mistake has file, line and key."""

import dataclasses
from pathlib import Path

import pytest

from fewgood.baselines import BASELINES
from fewgood.baselines.registry import CflowOptions, ReverseDistillationOptions
from fewgood.data import DATASETS
from fewgood.errors import SpecError
from fewgood.execution.space import Choice
from fewgood.trials import make_spec
from fewgood_spaces import list_spaces, load_space, read_space, resolve, shipped_name, space_for

FEW_SHOTS = range(1, 6)


def write(folder: Path, text: str, name: str = "bad.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", list_spaces())
def test_what_ships_is_valid(name):
    resolved = read_space(name)
    assert resolved.space.distributions()
    assert resolved.description
    grid = resolved.space.grid()
    assert len(grid) == resolved.space.size()
    for settings in grid[:: max(1, len(grid) // 7)]:
        make_spec(dataset="sample", category="brick", settings=settings)


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_pair_has_a_space_whose_settings_it_takes(dataset, baseline):
    space = space_for(dataset, baseline)
    assert space.name == shipped_name(dataset, baseline)
    for corner in space.corners():
        make_spec(dataset=dataset, category="any", root="/data", baseline=baseline, settings=corner)


def test_every_file_but_the_demo_is_taken_by_a_pair():
    taken = {shipped_name(dataset, baseline) for dataset in DATASETS for baseline in BASELINES}
    assert taken == set(list_spaces()) - {"demo"}


@pytest.mark.parametrize(
    ("dataset", "baseline", "name"),
    [
        ("mvtec_loco", "patchcore", "mvtec_loco-patchcore"),
        ("mvtec_loco", "cflow", "cflow"),
        ("btad", "efficient_ad", "efficient_ad"),
        ("btad", "patchcore", "default"),
    ],
)
def test_auto_picks_the_nearest(dataset, baseline, name):
    assert resolve("auto", dataset=dataset, baseline=baseline).name == name


def test_auto_takes_a_dataset_before_a_baseline(monkeypatch):
    monkeypatch.setattr("fewgood_spaces.loader.list_spaces", lambda: ["btad", "cflow", "default"])
    assert shipped_name("btad", "cflow") == "btad"


@pytest.mark.parametrize(
    ("dataset", "baseline", "words"),
    [("mvtek_ad", "patchcore", "dataset is 'mvtek_ad', did you mean mvtec_ad"), ("btad", "cflo", "did you mean cflow")],
)
def test_auto_refuses_what_is_not_known(dataset, baseline, words):
    with pytest.raises(SpecError, match=words):
        resolve("auto", dataset=dataset, baseline=baseline)


def test_auto_needs_a_pair():
    with pytest.raises(SpecError, match="by dataset and baseline"):
        load_space("auto")


def test_a_file_is_looked_for_in_the_study_folder_first(tmp_path, monkeypatch):
    study, here = tmp_path / "study", tmp_path / "here"
    for folder, value in ((study, 1), (here, 2)):
        folder.mkdir()
        write(folder, f"version: 1\nparameters:\n  prompts.count: {{type: choice, values: [{value}]}}\n", "mine.yaml")
    monkeypatch.chdir(here)
    found = [
        resolve("mine.yaml", dataset="btad", baseline="cflow", folder=folder).parameters["prompts.count"]
        for folder in (study, tmp_path, None)
    ]
    assert found == [Choice((1,)), Choice((2,)), Choice((2,))]


def test_extends_inherits_and_overrides_and_says_where_each_stands(tmp_path):
    path = write(
        tmp_path,
        "version: 1\nextends: demo\nparameters:\n  selection.count: {type: int, low: 2, high: 6, step: 2}\n",
        "mine.yaml",
    )
    child = write(tmp_path, "version: 1\nextends: mine.yaml\n", "child.yaml")
    resolved = read_space(child)
    assert set(resolved.space.parameters) == set(load_space("demo").parameters)
    assert dataclasses.asdict(resolved.space.parameters["selection.count"]) == {"low": 2, "high": 6, "step": 2}
    assert resolved.space.digest == load_space(path).digest
    assert (str(resolved.origins["selection.count"].path), resolved.origins["selection.count"].line) == (path, 4)
    assert resolved.origins["prompts.count"].path.name == "demo.yaml"


def test_values_keep_their_types(tmp_path):
    path = write(
        tmp_path,
        "version: 1\nparameters:\n  sampling.scale: {type: choice, values: [1, 0.5]}\n"
        "  generator.variance: {type: choice, values: [true, false]}\n"
        "  generator.channel_multipliers: {type: choice, values: ['1,2', '1,1,2']}\n"
        "  baseline.coreset_sampling_ratio: {type: choice, values: [null, 0.1]}\n",
    )
    parameters = load_space(path).parameters
    assert [type(value) for value in parameters["sampling.scale"].values] == [float, float]
    assert parameters["generator.variance"] == Choice((True, False))
    assert parameters["baseline.coreset_sampling_ratio"] == Choice((None, 0.1))


ONE = "version: 1\nparameters:\n  "


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # the file
        ("version: 1\nparametres: {}\n", r"bad\.yaml:2: parametres: unknown key, did you mean parameters\?"),
        ("version: 2\nparameters: {}\n", r"bad\.yaml:1: version: is 2: this fewgood reads version 1"),
        ("parameters: {}\n", r"bad\.yaml:1: version: is missing"),
        ("", r"bad\.yaml:1: the document"),
        ("version: 1\nparameters:\n  a: [\n", r"bad\.yaml:4: is not YAML"),
        ("version: 1\n", "has no parameters"),
        ("version: 1\nversion: 1\n", r"bad\.yaml:2: version: stands in line 1 already"),
        (ONE + "prompts.count: {type: choice, values: [1]}\n  prompts.count: {type: choice, values: [2]}\n",
         r"bad\.yaml:4: prompts\.count: stands in line 3"),
        ("version: 1\nextends: bad.yaml\n", r"bad\.yaml:2: extends: goes round in a circle: .*bad\.yaml -> .*bad\.yaml"),
        ("version: 1\nextends: gone.yaml\n", r"bad\.yaml:2: extends: .*gone\.yaml is not there"),
        ("version: 1\nextends: defualt\n", r"bad\.yaml:2: extends: .*did you mean default"),
        # a parameter
        (ONE + "prompts.count: {type: int, low: 3, high: 1}\n", r"bad\.yaml:3: prompts\.count: low 3 is above high 1"),
        (ONE + "prompts.count: {type: int, low: 1, high: 8, step: 4}\n", r":3: prompts\.count: high 8 .* write high: 5"),
        (ONE + "prompts.count: {type: int, low: 1.5, high: 8}\n", r":3: prompts\.count\.low: .* got 1\.5"),
        (ONE + "prompts.count: {type: int, low: 1}\n", r":3: prompts\.count\.high: is missing"),
        (ONE + "prompts.count: {type: ints, low: 1}\n", r":3: prompts\.count: type .* allowed is one of choice, int, float"),
        (ONE + "prompts.count: {type: int, low: 1, hihg: 2, high: 3}\n", r":3: prompts\.count\.hihg: .* did you mean high"),
        (ONE + "prompts.count: {type: choice, values: []}\n", r":3: prompts\.count\.values"),
        (ONE + "prompts.count: {type: choice, values: [4, 4]}\n", r":3: prompts\.count: values .* one twice"),
        (ONE + "prompts.count: {type: choice, values: [4, four]}\n", r":3: prompts\.count: .* mix numbers and text"),
        (ONE + "sampling.scale: {type: float, low: 0, high: 1, log: true}\n", r":3: sampling\.scale: .* above 0 with log"),
        (ONE + "sampling.scale: {type: float, low: 0, high: 1, step: 0.3}\n", r":3: sampling\.scale: .* write high: 0\.9"),
        (ONE + "sampling.scale: {type: float, low: 1e-4, high: 1}\n", r":3: sampling\.scale\.low: .* write 0\.0001"),
        (ONE + "prompts.count:\n", r":3: prompts\.count: is None: allowed is a mapping"),
        (ONE + "1: {type: choice, values: [4]}\n", r":3: 1: is no text"),
        (ONE + "prompts.count:\n    type: choice\n    values: [1,\n      [2]]\n", r":6: prompts\.count\.values\.1: is \[2\]"),
        # its key and values
        (ONE + "prompts.keyword: {type: choice, values: [on]}\n", r":3: prompts\.keyword: value True, .* quote it"),
        (ONE + "prompts.count: {type: int, low: 0, high: 1000000000000}\n", r":3: prompts\.count: value 0"),
        (ONE + "prompt.count: {type: choice, values: [4]}\n", r":3: prompt\.count: is not .*, did you mean prompts\.count"),
        (ONE + "generator.init_digest: {type: choice, values: [a]}\n", r":3: generator\.init_digest: is not a setting"),
        (ONE + "baseline.corset_size: {type: choice, values: [4]}\n", r"of any baseline, did you mean baseline\.coreset_size"),
        (ONE + "prompts.count:\n    type: choice\n    values: [8, 0]\n", r":3: prompts\.count: value 0, allowed is a whole"),
        (ONE + "prompts.count: {type: int, low: 0, high: 4}\n", r":3: prompts\.count: value 0, allowed is a whole number"),
        (ONE + "prompts.count: {type: float, low: 1, high: 4}\n", r":3: prompts\.count: is a range of real numbers, allowed"),
        (ONE + "prompts.count: {type: choice, values: ['8']}\n", r":3: prompts\.count: value '8', allowed is a whole number"),
        (ONE + "prompts.count: {type: choice, values: [true]}\n", r":3: prompts\.count: value True, allowed is a whole number"),
        (ONE + "prompts.count: {type: choice, values: [null]}\n", r":3: prompts\.count: value null, allowed is a whole number"),
        (ONE + "sampling.scale: {type: choice, values: [1e-1, 1e-2]}\n", r":3: sampling\.scale: value '1e-1', .* write 0\.1"),
        (ONE + "sampling.scale: {type: choice, values: [.inf]}\n", r":3: sampling\.scale: .*finite"),
        (ONE + "sampling.mode: {type: choice, values: [residual, decoed]}\n", r":3: sampling\.mode: value 'decoed'.*decode"),
        (ONE + "baseline.image_size: {type: int, low: 224, high: 232, step: 4}\n", r":3: baseline\.image_size: value 22"),
        # what needs another generator
        (ONE + "generator.steps: {type: int, low: 100, high: 200}\n", r":3: generator\.steps: .* so that trials share them"),
        (ONE + "generator.variance_weight: {type: float, low: 1, high: 2}\n", r":3: generator\.variance_weight: .* type: choice"),
        ("version: 1\nextends: default\nparameters:\n  selection.rounds: {type: choice, values: [1, 2]}\n",
         r"default\.yaml:9: selection\.count: .*selection\.rounds above 1.*type: choice"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(tmp_path, text, words):
    with pytest.raises(SpecError, match=words):
        load_space(write(tmp_path, text))


def test_an_inherited_mistake_is_named_where_it_stands(tmp_path):
    write(tmp_path, ONE + "prompts.count: {type: choice, values: [0]}\n", "parent.yaml")
    with pytest.raises(SpecError, match=r"parent\.yaml:3: prompts\.count: value 0"):
        load_space(write(tmp_path, "version: 1\nextends: parent.yaml\n", "child.yaml"))


def test_a_longer_circle_is_named_whole(tmp_path):
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        path = write(tmp_path, f"version: 1\nextends: {other}.yaml\n", f"{name}.yaml")
    with pytest.raises(SpecError, match=r"b\.yaml:2: extends: .*c\.yaml -> .*a\.yaml -> .*b\.yaml -> .*c\.yaml"):
        load_space(path)


def test_options_are_checked_against_the_named_baseline(tmp_path):
    path = write(tmp_path, ONE + "baseline.steps: {type: choice, values: [100, 200]}\n")
    assert resolve(path, dataset="btad", baseline="cflow").size() == 2
    with pytest.raises(SpecError, match=r"bad\.yaml:3: baseline\.steps: is not a setting of patchcore"):
        resolve(path, dataset="btad", baseline="patchcore")


def test_an_unknown_name_lists_the_known():
    with pytest.raises(SpecError, match=r"did you mean default.* known are cflow, default, demo"):
        load_space("defualt")


def test_cflow_sizes_train_about_equally_long():
    """What cflow.yaml says of its sizes, reckoned as `CFlow.fit` does: whole passes nearest to the asked number of steps."""
    options = CflowOptions()

    def steps(images: int) -> int:
        vectors = [(options.image_size // stride) ** 2 for stride in (8, 16, 32)]
        groups = [options.batch_size] * (images // options.batch_size) + [images % options.batch_size]
        a_pass = sum(
            max(1, group * count // options.fiber_batch_size) for group in groups if group for count in vectors
        )
        return a_pass * max(1, round(options.steps / a_pass))

    counts = load_space("cflow").parameters["selection.count"].all_values()
    reached = [steps(shots + count) for shots in FEW_SHOTS for count in counts]
    assert (min(reached), max(reached)) == (1348, 1605)
    assert (steps(3 + 24), steps(5 + 32)) == (1296, 1779)


def test_reverse_distillation_sizes_leave_no_nearly_empty_batch():
    size = ReverseDistillationOptions().batch_size
    counts = load_space("reverse_distillation").parameters["selection.count"].all_values()
    rests = [(shots + count) % size for shots in FEW_SHOTS for count in counts]
    assert all(rest == 0 or rest >= size / 2 for rest in rests)
    assert (1 + 8) % size == 1
