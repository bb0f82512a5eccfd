"""Specs: what enters the hash, what does not, and what is refused."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewgood.errors import SpecError
from fewgood.specs import ARMS, DataSpec, GeneratorSpec, SamplingSpec, SelectionSpec, TrialSpec, canonical_json, digest

DATA = DataSpec(dataset="folder", category="part", root="/one")


def test_where_the_data_lie_does_not_name_the_run():
    here = TrialSpec(data=DATA)
    there = TrialSpec(data=dataclasses.replace(DATA, root="/two"))
    assert here.spec_hash == there.spec_hash
    assert here.to_json()["data"]["root"] == "/one"


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_depends_on_what_it_uses(arm):
    base = TrialSpec(data=DATA, arm=arm)
    other_generator = dataclasses.replace(base, generator=GeneratorSpec(steps=7))
    other_count = dataclasses.replace(base, selection=SelectionSpec(count=3))
    other_seed = dataclasses.replace(base, seed=1)
    assert (base.spec_hash != other_generator.spec_hash) == (arm in ("noise", "generate-random", "generate"))
    assert (base.spec_hash != other_count.spec_hash) == (arm not in ("none", "full"))
    assert base.spec_hash != other_seed.spec_hash
    assert base.config_hash == other_seed.config_hash


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DataSpec(dataset="folder", category="x", shots=0), "--shots is 0"),
        (lambda: DataSpec(dataset="folder", category="x", shots=True), "--shots is True"),
        (lambda: TrialSpec(data=DATA, arm="generat"), "--arm is 'generat', allowed is one of none"),
        (lambda: TrialSpec(data=DATA, seed=-1), "--seed is -1"),
        (lambda: GeneratorSpec(steps=0), "generator.steps is 0"),
        (lambda: GeneratorSpec(variance_weight=-1.0), "generator.variance_weight is -1"),
        (lambda: GeneratorSpec(crop=30), "generator.crop is 30"),
        (lambda: SelectionSpec(count=0), "selection.count is 0"),
    ],
)
def test_a_value_outside_its_range_is_named(make, words):
    with pytest.raises(SpecError, match="^" + words.replace(".", r"\.")):
        make()


def test_a_stored_spec_keeps_what_an_older_version_did():
    spec = TrialSpec(data=DATA)
    stored = spec.to_json()
    assert TrialSpec.from_json(stored) == spec
    del stored["sampling"]["light"], stored["sampling"]["pose"]
    assert TrialSpec.from_json(stored).sampling == SamplingSpec(light=0.0, pose=False)
    del stored["selection"]["text_share"]
    assert TrialSpec.from_json(stored).selection == SelectionSpec(text_share=0.0)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none()))
def test_equal_values_have_equal_digests(value):
    reordered = dict(reversed(value.items()))
    assert canonical_json(value) == canonical_json(reordered)
    assert digest(value) == digest(reordered)
    assert len(digest(value)) == 32
