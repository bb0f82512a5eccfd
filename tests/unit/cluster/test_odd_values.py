"""Any value of a wrong type, anywhere in a file, leads to findings and never to a fault of the check's own."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from fewgood_cluster.documents import read_documents
from fewgood_cluster.kuberay import check_kuberay
from fewgood_cluster.ray_up import check_ray_up

GROUP = "{IpPermissions: [{FromPort: 1, ToPort: 9999, IpProtocol: tcp, IpRanges: [{CidrIp: 0.0.0.0/0}]}]}"
ODD = [None, 7, "odd", ["odd"], {"odd": 1}]


def places(value: Any, key: tuple = ()) -> Iterator[tuple]:
    for name, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []:
        yield (*key, name)
        yield from places(item, (*key, name))


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml", "ray-up-hosts.yaml", "ray-up-aws.yaml"])
def test_no_odd_value_is_a_fault(name, rendered, tmp_path):
    path = tmp_path / name
    path.write_text(rendered[name].replace("  type: aws\n", f"  type: aws\n  security_group: {GROUP}\n"))
    document = read_documents(path)[0][-1]
    whole = copy.deepcopy(document.data)
    checked = 0
    for number, key in enumerate(sorted(set(places(whole)) - {("kind",)}, key=str)):
        for odd in (ODD[number % 5], ODD[(number + 2) % 5]):
            document.data = copy.deepcopy(whole)
            document.findings.clear()
            parent = document.get(key[:-1])
            parent[key[-1]] = odd
            check_kuberay(document) if "kind" in whole else check_ray_up(document)
            assert all(finding.line >= 1 for finding in document.findings)
            checked += 1
    assert checked > 50
