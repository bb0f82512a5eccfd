"""The local cluster's refusals: what cannot be meant, and what a machine lacks."""

import os
import re
import shutil

import pytest

from fewgood.errors import ExecutionError
from fewgood_cluster import network
from fewgood_cluster.hosts import LocalCluster, host_names
from fewgood_cluster.local import main
from fewgood_cluster.network import Network
from fewgood_cluster.object_store import ObjectStore


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(ObjectStore, "check", lambda: None)


def test_the_head_comes_first():
    assert host_names(3) == ("head", "worker1", "worker2")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hosts": 0}, "hosts is 0, allowed is 1 to 100"),
        ({"hosts": 2, "cpus": (1, 2, 3)}, "cpus is [1, 2, 3]: give 2 numbers"),
        ({"hosts": 1, "cpus": (-1,)}, "cpus is [-1]"),
        ({"notice_s": 0.1}, "notice_s is 0.1"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(wrong, said, installed):
    with pytest.raises(ExecutionError, match=re.escape(said)):
        LocalCluster(**wrong)


def test_a_cluster_that_is_not_up_says_so(installed):
    cluster = LocalCluster()
    with pytest.raises(ExecutionError, match="is not up"):
        cluster.kill("head")
    cluster.down()


def test_without_root_it_says_what_to_do(monkeypatch, installed, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ExecutionError, match="need root: run it as root"):
        Network.create(["head"])
    assert main(["--hosts", "1", "--", "true"]) == 2
    assert "need root" in capsys.readouterr().err


def test_without_iproute2_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "ip" else f"/bin/{name}")
    assert network.missing_for_namespaces() == "the command `ip` is missing: apt-get install iproute2"


def test_where_namespaces_are_not_allowed_it_says_why(monkeypatch):
    def refuse(*words):
        raise ExecutionError("`ip netns add` failed: Operation not permitted")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(network, "_ip", refuse)
    assert "Operation not permitted): in a container, start it with --privileged" in network.missing_for_namespaces()


def test_without_the_s3_server_it_says_what_to_install(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExecutionError, match=r"pip install 'moto\[server\]'"):
        LocalCluster()


@pytest.mark.parametrize(
    "arguments", [["--hosts", "2"], ["--cpus", "1,x", "--", "true"], ["--cpus", "-1", "--", "true"]]
)
def test_a_command_line_without_a_command_or_with_odd_cpus_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_addresses_and_names_of_hosts():
    made = Network(7, ["head", "worker1"])
    assert (made.address("head"), made.address("worker1"), made.gateway) == ("10.77.7.10", "10.77.7.11", "10.77.7.1")
    assert made.namespace("worker1") == "fewgood7-worker1"
    assert made.inside("worker1", ["true"])[:4] == ["ip", "netns", "exec", "fewgood7-worker1"]
    with pytest.raises(ExecutionError, match="host 'other' is not one of head, worker1"):
        made.address("other")
