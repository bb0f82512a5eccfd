"""Settings of a server: refused with a reason, or what was asked for."""

import pytest

from fewgood.errors import SpecError
from fewgood_serve.settings import is_loopback, settings_from
from fewgood_serve.tuning import Measured, choose, table


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"no_auth": True, "host": "0.0.0.0"}, "loopback only"),
        ({"no_auth": True, "host": "192.168.1.2"}, "loopback only"),
        ({"tls_cert": "x.pem"}, "go together"),
        ({"tls_cert": "x.pem", "tls_key": "y.pem"}, "is no file"),
        ({"replicas": 1, "min_replicas": 2}, "more than --replicas"),
        ({"rows": 0}, "rows"),
        ({"port": 0}, "port"),
        ({"limits": {"count": 0}}, "limits.count"),
        ({"limits": {"counts": 1}}, "limits.counts"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(changes, said):
    with pytest.raises(SpecError, match=said):
        settings_from(home="/tmp/x", **changes)


def test_loopback():
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org")] == [False] * 4


def test_the_application_of_a_configuration_file_is_built(tmp_path):
    from fewgood_serve.app import build

    assert build({"home": str(tmp_path), "replicas": 2, "min_replicas": 1}) is not None
    with pytest.raises(SpecError, match="colour"):
        build({"home": str(tmp_path), "colour": "red"})


def test_a_simpler_way_is_chosen_where_it_is_as_good():
    found = [Measured(2, 1, 1, 10.0, 200.0), Measured(2, 1, 4, 10.2, 800.0), Measured(1, 2, 1, 7.0, 140.0)]
    assert choose(found) == found[0]
    assert "batching does not pay here" in table(found, found[0], "x@1")
    better = [found[0], Measured(2, 1, 4, 15.0, 500.0)]
    assert choose(better).rows == 4
    assert "batching pays here" in table(better, better[1], "x@1")
