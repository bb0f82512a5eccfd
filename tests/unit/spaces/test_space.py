"""A space as values: its grid, size and digest, and which settings need another generator."""

import itertools

import pytest

from fewgood.errors import SpecError
from fewgood.execution.space import Choice, FloatRange, IntRange, Space
from fewgood.pipeline import open_context
from fewgood.stages.rounds import round_pools
from fewgood.store import Home
from fewgood.trials import make_spec, setting_keys

OTHER = {
    "prompts.count": 16,
    "prompts.keyword": "stone",
    "embedding.model": "RN50",
    "embedding.pretrained": "openai",
    "generator.channel_multipliers": "1,2",
    "generator.variance": False,
    "generator.adversarial_start": 0.25,
    "generator.ema_decay": 0.5,
    "sampling.mode": "decode",
    "sampling.pose": False,
    "selection.count": 64,
    "selection.rounds": 3,
    "selection.text_share": 0.5,
}
"""Another value than the default; of the remaining settings it is twice the default."""


def space(**parameters):
    return Space("mine", 1, {key.replace("__", "."): value for key, value in parameters.items()})


def test_a_grid_holds_every_combination_once_and_generators_change_fastest():
    found = space(
        generator__variance_weight=Choice((0.3, 3.0)),
        selection__count=IntRange(4, 12, 4),
        sampling__scale=FloatRange(0.1, 0.3, step=0.1),
    )
    grid = found.grid()
    assert found.size() == len(grid) == 18
    assert {tuple(sorted(settings.items())) for settings in grid} == {
        (("generator.variance_weight", weight), ("sampling.scale", scale), ("selection.count", count))
        for weight, scale, count in itertools.product((0.3, 3.0), (0.1, 0.2, 0.3), (4, 8, 12))
    }
    assert [settings["generator.variance_weight"] for settings in grid[:4]] == [0.3, 3.0, 0.3, 3.0]


def test_the_order_of_the_keys_changes_neither_grid_nor_digest():
    one = space(prompts__count=Choice((8, 16)), selection__count=IntRange(1, 3))
    two = space(selection__count=IntRange(1, 3), prompts__count=Choice((8, 16)))
    assert one.grid() == two.grid()
    assert one.digest == two.digest
    assert one.digest != space(prompts__count=Choice((8, 16)), selection__count=IntRange(1, 4)).digest


def test_a_range_of_real_numbers_has_no_grid():
    found = space(prompts__count=Choice((8,)), sampling__scale=FloatRange(0.5, 2.0))
    assert found.size() is None
    with pytest.raises(SpecError, match=r"sampling\.scale .* give it a step"):
        found.grid()


def test_a_grid_too_large_to_be_meant_is_refused_at_once():
    found = space(prompts__count=IntRange(1, 10**12), selection__count=Choice((1, 2)))
    assert found.size() == 2 * 10**12
    with pytest.raises(SpecError, match="has 2000000000000 configurations, at most 100000"):
        found.grid()


def test_optuna_knows_the_values_of_a_stepped_range():
    parameter = FloatRange(0.1, 0.7, step=0.2)
    distribution = parameter.distribution()
    assert parameter.all_values() == [0.1, 0.3, 0.5, 0.7]
    assert (distribution.low, distribution.high, distribution.step) == (0.1, 0.7, 0.2)


def test_a_space_without_parameters_is_refused():
    with pytest.raises(SpecError, match="has no parameters"):
        Space("mine", 1, {})


@pytest.mark.parametrize("rounds", [1, 2])
def test_the_keys_that_need_another_generator_are_those_that_change_its_artifact(rounds, shared_home, tmp_path):
    """Held against the stages: the generators' hashes with one setting changed."""
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")

    def generators(**changed):
        settings = {"selection.rounds": rounds, "embedding.model": "ViT-B-32"} | changed
        spec = make_spec(dataset="sample", category="brick", settings=settings)
        pools = round_pools(open_context(spec, Home.locate(shared_home)))
        return {pool.inputs["generator"].digest for entry in pools for pool in entry.pools}

    usual = generators()
    default = make_spec(dataset="sample", category="brick").to_json()
    needing = set()
    for key in setting_keys():
        section, _, name = key.partition(".")
        value = str(weights) if name == "init_from" else OTHER.get(key)
        value = default[section][name] * 2 if value is None else value
        if not generators(**{key: value}) <= usual:
            needing.add(key)
    rest = Space("all", 1, {key: Choice((1,)) for key in setting_keys() if key != "selection.rounds"})
    # A further round always needs a further generator.
    assert needing == {"selection.rounds", *rest.generator_keys(rounds=rounds)}


def test_searched_rounds_count_by_their_largest():
    once = space(selection__rounds=Choice((1,)), selection__count=Choice((4, 8)))
    twice = space(selection__rounds=Choice((1, 2)), selection__count=Choice((4, 8)), sampling__scale=Choice((1.0,)))
    assert once.generator_keys() == ()
    assert twice.generator_keys() == ("sampling.scale", "selection.count", "selection.rounds")
