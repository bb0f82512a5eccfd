"""How many trials fit: CPUs and GPUs of each host, Ray Train's workers beside the trials, and refusals with numbers."""

import pytest

from fewgood.errors import ExecutionError
from fewgood.execution.schedule import Host, concurrency, fits
from fewgood.execution.study import study_from


def study(**changes):
    base = {"name": "x", "datasets": [{"name": "sample", "categories": ["brick"]}]}
    return study_from({**base, **changes}, where="x")


def host(cpus, gpus=0.0, name="a"):
    return Host(name, f"10.0.0.{ord(name) - 96}", cpus, gpus)


@pytest.mark.parametrize(
    ("resources", "hosts", "expected"),
    [
        ({}, [host(2)], 2),
        ({}, [host(0), host(3, name="b")], 3),
        ({"concurrent": 1}, [host(8)], 1),
        ({"concurrent": 8}, [host(2)], 2),
        ({"cpus_per_trial": 2}, [host(3), host(3, name="b")], 2),
        ({"gpus_per_trial": 0.5}, [host(16, 1.0)], 2),
        ({"cpus_per_trial": 4, "gpus_per_trial": 1}, [host(2, 1.0), host(8, 1.0, name="b")], 1),
    ],
)
def test_what_fits(resources, hosts, expected):
    assert concurrency(study(resources=resources), hosts) == expected


def test_train_workers_need_room_beside_the_trials():
    nested = study(training={"mode": "ray", "workers": 2})
    assert concurrency(nested, [host(8)]) == 2
    assert concurrency(study(training={"mode": "auto", "workers": 2}), [host(3)]) == 1
    assert concurrency(study(training={"mode": "in_place", "workers": 2}), [host(3)]) == 3
    assert not fits(nested, [host(2)], 1), "one CPU for the trial and two for its workers would wait for ever"


def test_a_refusal_has_the_numbers_and_the_settings():
    with pytest.raises(
        ExecutionError, match=r"asks for 512 CPUs and 0 GPUs.*10\.0\.0\.1 has 2 CPUs.*resources\.cpus_per_trial"
    ):
        concurrency(study(resources={"cpus_per_trial": 512}), [host(2)])
    with pytest.raises(ExecutionError, match=r"2 Ray Train workers of 1 CPUs.*training\.workers"):
        concurrency(study(training={"mode": "ray", "workers": 2}), [host(2)])
    with pytest.raises(ExecutionError, match="no host is alive"):
        concurrency(study(), [])
