"""From what a user types to a TrialSpec: typed, checked, and back again."""

import pytest

from fewgood.errors import SpecError
from fewgood.trials import make_spec, parse_settings, setting_keys, settings_of


def make(**settings):
    return make_spec(dataset="sample", category="brick", settings=settings)


def test_settings_are_typed():
    spec = make(
        **{
            "generator.steps": "150",
            "generator.variance": "false",
            "generator.variance_weight": "1e-2",
            "generator.channel_multipliers": "1,2",
            "sampling.mode": "decode",
            "selection.count": "8",
            "prompts.count": "5",
            "baseline.num_neighbors": "3",
        }
    )
    assert spec.generator.steps == 150
    assert spec.generator.variance is False
    assert spec.generator.variance_weight == 0.01
    assert spec.generator.channel_multipliers == (1, 2)
    assert spec.sampling.mode == "decode"
    assert spec.selection.count == 8
    assert spec.prompts.count == 5
    assert spec.baseline.option_dict()["num_neighbors"] == 3


def test_settings_of_gives_back_what_differs():
    settings = {
        "generator.steps": 150,
        "generator.channel_multipliers": "1,2",
        "selection.count": 8,
        "baseline.num_neighbors": 3,
    }
    spec = make(**settings)
    assert settings_of(spec) == settings
    assert make(**settings_of(spec)).spec_hash == spec.spec_hash
    assert settings_of(make()) == {}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"generator.stesp": "150"}, r"no key 'generator\.stesp': did you mean generator\.steps\?"),
        ({"steps": "150"}, "no key 'steps'"),
        ({"generator.steps": "many"}, r"generator\.steps is 'many'"),
        ({"generator.steps": "1.5"}, r"generator\.steps is '1\.5'"),
        ({"generator.variance_weight": "nan"}, r"generator\.variance_weight is 'nan'"),
        ({"generator.learning_rate": "inf"}, "finite"),
        ({"sampling.mode": "decoded"}, r"sampling\.mode is 'decoded'"),
        ({"selection.count": "0"}, r"selection\.count is 0"),
        ({"generator.init_digest": "x"}, "no key"),
        ({"generator.init_from": "/nowhere/vqgan.ckpt"}, r"generator\.init_from is '/nowhere/vqgan\.ckpt'"),
        ({"baseline.num_neighbours": "3"}, "num_neighbors"),
    ],
)
def test_a_mistake_is_named(settings, words):
    with pytest.raises(SpecError, match=words):
        make(**settings)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["generator.steps"], "not key=value"),
        (["=3"], "not key=value"),
        (["generator.steps=1", "generator.steps=2"], "given twice"),
    ],
)
def test_pairs(pairs, words):
    with pytest.raises(SpecError, match=words):
        parse_settings(pairs)


def test_shots_and_baseline():
    assert make_spec(dataset="sample", category="brick", shots="full").data.shots == "full"
    with pytest.raises(SpecError, match="--shots is 'some'"):
        make_spec(dataset="sample", category="brick", shots="some")
    with pytest.raises(SpecError, match="patchcore"):
        make_spec(dataset="sample", category="brick", baseline="patchcor")


def test_the_keys_that_others_rely_on():
    assert {
        "prompts.count",
        "generator.steps",
        "generator.variance_weight",
        "generator.init_from",
        "sampling.mode",
        "sampling.scale",
        "selection.count",
        "selection.rounds",
        "selection.feedback",
    } <= set(setting_keys())


def test_init_from_enters_the_hash_by_content(tmp_path):
    first, second = tmp_path / "a.ckpt", tmp_path / "b.ckpt"
    first.write_bytes(b"weights")
    second.write_bytes(b"weights")
    one, two = make(**{"generator.init_from": str(first)}), make(**{"generator.init_from": str(second)})
    assert one.spec_hash == two.spec_hash != make().spec_hash
    second.write_bytes(b"other weights")
    assert make(**{"generator.init_from": str(second)}).spec_hash != one.spec_hash
