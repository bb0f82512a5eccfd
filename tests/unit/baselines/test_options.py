from __future__ import annotations

import json
import subprocess
import sys

import pytest

from fewgood.baselines import BASELINES, baseline_spec
from fewgood.errors import SpecError
from fewgood.specs import digest


@pytest.mark.parametrize("name", BASELINES)
def test_spec_spells_out_every_option_and_survives_json(name):
    spec = baseline_spec(name, {})
    assert spec.options == tuple(sorted(spec.options))
    again = baseline_spec(name, json.loads(json.dumps(spec.option_dict())))
    assert again == spec
    assert digest({"options": again.option_dict()}) == digest({"options": spec.option_dict()})


@pytest.mark.parametrize("name", BASELINES)
def test_text_and_values_mean_the_same(name):
    assert baseline_spec(name, {"image_size": "320"}) == baseline_spec(name, {"image_size": 320})
    assert baseline_spec(name, {"image_size": 320}) != baseline_spec(name, {})


def test_text_is_converted_by_the_option_s_type():
    options = baseline_spec(
        "cflow", {"layers": "blocks.2, blocks.4", "lr": "1e-3", "permute_soft": "true", "steps": 50.0}
    ).option_dict()
    assert options["layers"] == ("blocks.2", "blocks.4")
    assert (options["lr"], options["permute_soft"], options["steps"]) == (1e-3, True, 50)
    assert baseline_spec("patchcore", {"coreset_sampling_ratio": "none"}) == baseline_spec("patchcore", {})
    assert baseline_spec("patchcore", {"coreset_sampling_ratio": "0.1"}).option_dict()["coreset_sampling_ratio"] == 0.1


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("patchcor", {}, "did you mean patchcore.*cflow, reverse_distillation, efficient_ad"),
        ("patchcore", {"image_sise": 256}, "did you mean image_size.*backbone, batch_size"),
        ("patchcore", {"image_size": "big"}, "'big', allowed is a whole number"),
        ("patchcore", {"image_size": 225}, "225, allowed is a multiple of 8, 32 or more"),
        ("patchcore", {"image_size": 224.5}, "allowed is a whole number"),
        ("patchcore", {"image_size": True}, "allowed is a whole number"),
        ("patchcore", {"coreset_sampling_ratio": 0}, "0.0, allowed is more than 0, at most 1"),
        ("patchcore", {"num_neighbors": 0}, "1 or more"),
        ("patchcore", {"layers": "blocks.3"}, "'blocks.3', which is not a layer of tf_efficientnet_lite0"),
        ("patchcore", {"layers": ""}, "comma-separated"),
        ("cflow", {"lr": "nan"}, "allowed is a number"),
        ("cflow", {"permute_soft": "maybe"}, "allowed is true or false"),
        ("reverse_distillation", {"anomaly_map_mode": "max"}, "allowed is one of add, multiply"),
        ("efficient_ad", {"image_size": 128}, "256 or more"),
        ("efficient_ad", {"backbone": "resnet18"}, "not an option of efficient_ad: it trains its own PDN"),
        ("patchcore", {"backbone": "resnet1818"}, "did you mean resnet18"),
    ],
)
def test_a_mistake_is_named_in_one_line(name, overrides, message):
    with pytest.raises(SpecError, match=message) as found:
        baseline_spec(name, overrides)
    assert "\n" not in str(found.value)


def test_another_backbone_gets_its_layers_by_stride():
    assert baseline_spec("patchcore", {"backbone": "resnet18"}).option_dict()["layers"] == ("layer2", "layer3")
    assert baseline_spec("reverse_distillation", {"backbone": "resnet50"}).option_dict()["layers"] == (
        "layer1",
        "layer2",
        "layer3",
    )
    with pytest.raises(SpecError, match="allowed are act1, layer1"):
        baseline_spec("patchcore", {"backbone": "resnet18", "layers": "blocks.2"})


def test_listing_and_checking_options_imports_nothing_heavy():
    code = (
        "import sys; from fewgood.baselines import baseline_spec; baseline_spec('patchcore', {'image_size': 256});"
        "print([name for name in ('torch', 'anomalib', 'timm', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment())
    assert done.stdout.strip() == "[]"


def _environment():
    import os

    return {**os.environ, "PYTHONPATH": ":".join(entry for entry in sys.path if entry)}
