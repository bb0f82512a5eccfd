"""A cluster of three real hosts on this machine: each with its own home, one cut off, one killed, and the driver goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fewgood_cluster.local import LocalCluster
from fewgood_cluster.network import missing_for_namespaces, remove_leftovers

pytestmark = pytest.mark.integration

NOTICE_S = 8.0
"""Ray takes a silent host for dead within this time; the tests allow twice as much, since two cores carry three hosts."""

DRIVER = """
import json, os, socket, time
import pyarrow.fs
import ray

ray.init(log_to_driver=False, logging_level="ERROR")

def say(**fields):
    print(json.dumps(fields), flush=True)

def alive():
    return sorted(node["NodeName"] for node in ray.nodes() if node["Alive"])

@ray.remote(num_cpus=1, max_retries=-1, scheduling_strategy="SPREAD")
def work(number, seconds):
    files, folder = pyarrow.fs.FileSystem.from_uri(os.environ["FEWGOOD_STORE"])
    with files.open_output_stream(f"{folder}/numbers/{number}") as file:
        file.write(str(number).encode())
    time.sleep(seconds)
    return socket.gethostname(), ray.util.get_node_ip_address(), os.environ["FEWGOOD_HOME"]

say(hosts=sorted(set(ray.get([work.remote(number, 0.5) for number in range(9)]))))
numbers = range(100, 112)
tasks = [work.remote(number, 2.0) for number in numbers]
time.sleep(1.0)
seen = alive()
say(alive=seen)
deadline = time.monotonic() + 60
while seen != ["head"] and time.monotonic() < deadline:
    time.sleep(0.1)
    if alive() != seen:
        seen = alive()
        say(alive=seen)
done = ray.get(tasks)
files, folder = pyarrow.fs.FileSystem.from_uri(os.environ["FEWGOOD_STORE"])
written = {int(info.base_name) for info in files.get_file_info(pyarrow.fs.FileSelector(f"{folder}/numbers"))}
say(finished=len(done), written=sorted(written & set(numbers)))
"""


STUDY = """
name: hosts
datasets: [{name: sample, categories: [brick]}]
controls: [none]
search: grid
space: space.yaml
budget: {trials: 8}
settings: {generator.steps: 12, baseline.image_size: 96, sampling.latent_samples: 2}
"""
SPACE = """
version: 1
parameters:
  generator.variance_weight: {type: choice, values: [0.1, 1.0]}
  selection.count: {type: choice, values: [2, 4]}
  sampling.scale: {type: choice, values: [1.0, 2.0]}
"""
FEWGOOD = [sys.executable, "-c", "from fewgood.cli import main; main()"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Three hosts of one CPU each; what lies in FOLDER/HOST/home before they are up is in their homes."""
    missing = missing_for_namespaces()
    if missing:
        pytest.skip(missing)
    with LocalCluster(hosts=3, folder=tmp_path_factory.mktemp("hosts"), notice_s=NOTICE_S) as up:
        namespaces = [up.network.namespace(host) for host in up.network.hosts]
        processes = {pid: _started(pid) for host in up.network.hosts for pid in up.network.processes(host)}
        assert len(processes) > 10
        bridge = up.network.bridge
        yield up
    assert not any(Path("/run/netns", namespace).exists() for namespace in namespaces)
    assert not Path("/sys/class/net", bridge).exists()
    assert {pid for pid, started in processes.items() if started and _started(pid) == started} == set()


def test_a_driver_goes_on_when_one_host_is_cut_off_and_another_is_killed(cluster):
    process = cluster.popen("head", [sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True)
    told = []
    with process.stdout:
        for line in process.stdout:
            if not line.startswith("{"):
                continue  # Ray's own words on a dead host
            told.append(json.loads(line) | {"at": time.monotonic()})
            if told[-1].get("alive") == ["head", "worker1", "worker2"]:
                cluster.cut("worker1")
                cut_at = time.monotonic()
            elif told[-1].get("alive") == ["head", "worker2"]:
                cut_noticed_s = told[-1]["at"] - cut_at
                cluster.mend("worker1")
                cluster.kill("worker2")
                killed_at = time.monotonic()
            elif told[-1].get("alive") == ["head"]:
                kill_noticed_s = told[-1]["at"] - killed_at
    assert process.wait() == 0
    homes = [[host, address, str(cluster.home(host))] for host, address in cluster.addresses.items()]
    assert told[0]["hosts"] == sorted(homes)
    assert len({home for _, _, home in homes}) == 3
    assert told[-1]["finished"] == 12
    assert told[-1]["written"] == list(range(100, 112))
    assert NOTICE_S / 4 < cut_noticed_s < 2 * NOTICE_S
    assert kill_noticed_s < 2 * NOTICE_S


def test_hosts_that_were_cut_off_or_killed_come_back(cluster):
    cluster.kill("worker2")
    assert cluster.network.processes("worker2") == []
    cluster.boot("worker1", "worker2")
    ask = "import ray; ray.init(log_to_driver=False); print(sum(node['Alive'] for node in ray.nodes()))"
    answer = cluster.run("head", [sys.executable, "-c", ask], capture_output=True, text=True)
    assert answer.stdout.splitlines()[-1:] == ["3"], answer.stderr


def test_a_driver_without_the_token_is_refused(cluster):
    ask = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", cluster.address]
    assert cluster.run("head", ask, capture_output=True).returncode == 0
    answer = cluster.run("head", ask, env={"RAY_AUTH_TOKEN": "0" * 64}, capture_output=True, text=True)
    assert answer.returncode != 0
    assert "token" in (answer.stdout + answer.stderr).lower()


def test_a_sweep_loses_nothing_when_one_host_is_cut_off_and_another_killed(cluster, lend_models, tmp_path):
    for host in cluster.hosts:
        lend_models(cluster.home(host))
    (tmp_path / "space.yaml").write_text(SPACE)
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    log = cluster.home("head") / "studies" / "hosts" / "events.jsonl"

    def of(kind):
        lines = log.read_text().splitlines() if log.exists() else []
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        sweep = cluster.popen("head", [*FEWGOOD, "sweep", study, "--json"], stdout=out, stderr=err)
    deadline = time.monotonic() + 1200  # for a hang alone: it takes 100 to 400 s, by what else this machine does
    cut = killed = False
    while sweep.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
        done = len(of("trial_finished"))
        if not cut and done >= 1:
            cut = True
            cluster.cut("worker1")
        if not killed and done >= 2:
            killed = True
            cluster.kill("worker2")
    said = (tmp_path / "err").read_text()[-3000:]
    assert sweep.poll() == 0, said
    assert cut
    assert killed
    (started,) = of("sweep_started")
    assert len(started["hosts"]) == 3
    ends = of("trial_finished")
    assert len(ends) == len({event["trial"] for event in ends}) == 8, "nothing is lost and nothing counted twice"
    assert of("trial_interrupted"), "what ran on the lost hosts was started again"
    (cell,) = json.loads((tmp_path / "out").read_text())["cells"]
    assert (cell["trials"], cell["failed"]) == (8, 0)
    listed = cluster.run("head", [*FEWGOOD, "store", "list", "--json"], capture_output=True, text=True)
    assert json.loads(listed.stdout)["stages"], listed.stderr
    rows = cluster.run("head", [*FEWGOOD, "leaderboard", "--format", "json"], capture_output=True, text=True)
    assert rows.returncode == 0, rows.stderr
    cluster.mend("worker1")
    cluster.boot("worker1", "worker2")
    again = cluster.run("head", [*FEWGOOD, "resume", "hosts", "--json"], capture_output=True, text=True)
    assert json.loads(again.stdout)["cells"][0] == cell


def test_what_a_killed_owner_left_is_removed():
    missing = missing_for_namespaces()
    if missing:
        pytest.skip(missing)
    script = """
import os, subprocess
from fewgood_cluster.network import Network
network = Network.create(["alone"])
asleep = subprocess.Popen(network.inside("alone", ["sleep", "600"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(network.number, asleep.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    owner = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    number, pid = map(int, owner.stdout.split())
    assert _started(pid)
    assert number in remove_leftovers()
    assert _started(pid) is None
    assert not Path("/sys/class/net", f"fewgood{number}").exists()
    assert number not in remove_leftovers()


def _started(pid: int) -> str | None:
    """When a process started, or None where it is gone or only waits to be collected."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" or pid == os.getpid() else fields[19]
