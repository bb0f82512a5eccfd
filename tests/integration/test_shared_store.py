"""Homes that share a store behind an S3 API, and leases from a Ray cluster."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fewgood.errors import StoreError
from fewgood.store import ArtifactKey, ArtifactStore, Home, Ledger

pytestmark = pytest.mark.integration

KEY = ArtifactKey("stage", 1, {"a": 1})


class Server:
    """moto's S3 server on loopback; what it holds is lost when it stops."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._log = (folder / "server.log").open("w")
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)
        end = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < end, "the S3 server did not start within a minute"
            time.sleep(0.1)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def uri(self, options: str = "") -> str:
        return (
            f"s3://bucket/fewgood?endpoint_override=127.0.0.1:{self.port}&scheme=http&region=us-east-1"
            f"&allow_bucket_creation=true{options}"
        )

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


@pytest.fixture(scope="module")
def environment():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory, environment):
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


@pytest.fixture
def homes(server, tmp_path):
    return [Home(tmp_path / name, store=server.uri()).prepare() for name in ("one", "two")]


def write(folder):
    (folder / "deep").mkdir()
    (folder / "deep" / "file.txt").write_text("content")
    (folder / "weights.bin").write_bytes(os.urandom(12_000_000))


def forbidden(folder):
    raise AssertionError("it is there and must not be made")


def test_two_homes_share_artifacts_and_rows(homes):
    key = ArtifactKey("shared", 1, {})
    made, _ = ArtifactStore(homes[0]).ensure(key, write)
    found, cached = ArtifactStore(homes[1]).ensure(key, forbidden)
    assert cached
    assert (found.path / "weights.bin").read_bytes() == (made.path / "weights.bin").read_bytes()
    for number, home in enumerate(homes):
        Ledger(home).append({"run_id": f"{number:032x}", "status": "ok", "seed": number})
    assert [row["seed"] for row in Ledger(homes[1]).rows()] == [0, 1]
    assert Ledger(homes[0]).compact().files_after == 1
    assert [row["seed"] for row in Ledger(homes[1]).rows()] == [0, 1]
    assert set(homes[0].shared("ledger").walk()) == set(homes[1].shared("ledger").files())  # nothing half written


PUBLISH = """
import os, signal, sys
from pathlib import Path
import fewgood.store.shared as shared
from fewgood.store import ArtifactKey, ArtifactStore, Home, Location
def die(*arguments): os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[3] == "in the archive":
    real = shared._add
    def add(tar, path, name):
        real(tar, path, name)
        if name == "weights.bin":
            die()
    shared._add = add
else:
    Location.put = die
def write(folder):
    (folder / "a.txt").write_text("a")
    (folder / "weights.bin").write_bytes(bytes(12_000_000))
ArtifactStore(Home(Path(sys.argv[1]), store=sys.argv[2]).prepare()).ensure(ArtifactKey("killed", 1, {"w": sys.argv[3]}), write)
"""


@pytest.mark.parametrize("when", ["in the archive", "before the manifest"])
def test_a_killed_publisher_leaves_nothing_visible(homes, when):
    key = ArtifactKey("killed", 1, {"w": when})
    command = [sys.executable, "-c", PUBLISH, str(homes[0].root), homes[0].store, when]
    done = subprocess.run(command, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert "manifest.json" not in homes[1].shared("artifacts", "killed", key.digest).walk()
    assert ArtifactStore(homes[1]).find(key) is None
    # The dead publisher's home has the artifact, which its next user shares.
    assert ArtifactStore(homes[0]).ensure(key, forbidden)[1]
    assert ArtifactStore(homes[1]).find(key) is not None


def test_a_server_that_is_gone_is_an_error_and_no_hang(tmp_path, environment):
    running = Server(tmp_path)
    home = Home(tmp_path / "home", store=running.uri("&max_attempts=2")).prepare()
    ArtifactStore(home).ensure(KEY, write)
    running.stop()
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"shared store cannot be used at s3://bucket/fewgood/.*--store") as caught:
        ArtifactStore(home).find(ArtifactKey("stage", 1, {"a": 2}))
    with pytest.raises(StoreError, match="cannot be listed"):
        Ledger(home).rows()
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 20
    assert ArtifactStore(home).find(KEY) is not None  # what is here is here


def test_a_short_cut_is_survived(homes, server, tmp_path):
    """The server is stopped while an artifact is published: requests get no answer in time and are tried again."""
    hasty = Home(tmp_path / "hasty", store=server.uri("&request_timeout=1")).prepare()
    key = ArtifactKey("cut", 1, {})
    os.kill(server.process.pid, signal.SIGSTOP)
    wake = subprocess.Popen(["sh", "-c", f"sleep 3; kill -CONT {server.process.pid}"])
    try:
        ArtifactStore(hasty).ensure(key, write)
    finally:
        wake.wait()
    assert ArtifactStore(homes[1]).find(key) is not None


DRIVER = """
import json, os, signal, sys, time
from pathlib import Path
from fewgood.execution.leases import NAME, NAMESPACE, RayLeases  # before ray, whose settings it makes
import ray
from fewgood.store import ArtifactKey, ArtifactStore, Home

def work(leases, folder, name, die):
    def create(made):
        with (folder / "log").open("a") as handle:
            handle.write("made;")
        time.sleep(3)  # longer than the lease, which must be renewed
        if die:
            os.kill(os.getpid(), signal.SIGKILL)
        (made / "file.txt").write_text("content")
    home = Home(folder / name, store=str(folder / "store")).prepare()
    return ArtifactStore(home, leases=leases).ensure(ArtifactKey("stage", 1, {}), create)[1]

def start(place, name, die=False):
    folder = Path(sys.argv[1]) / place
    folder.mkdir(exist_ok=True)
    return ray.remote(max_retries=0)(work).remote(leases, folder, name, die)

def log(place):
    path = Path(sys.argv[1]) / place / "log"
    return path.read_text() if path.exists() else ""

ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 * 2**20)
leases = RayLeases.start(ttl=2.0)
told = {"pair": ray.get([start("pair", "one"), start("pair", "two")], timeout=60), "pair made": log("pair")}
owner = start("killed", "one", True)
while not log("killed"):
    time.sleep(0.05)
waiter = start("killed", "two")
try:
    ray.get(owner, timeout=60)
except ray.exceptions.WorkerCrashedError:
    began = time.monotonic()
told |= {"after a kill": ray.get(waiter, timeout=60), "seconds": time.monotonic() - began, "killed made": log("killed")}
ray.kill(ray.get_actor(NAME, namespace=NAMESPACE), no_restart=False)
with leases.hold("work"):
    told["restarted"] = ray.get(ray.get_actor(NAME, namespace=NAMESPACE).holder.remote("work")) is not None
ray.kill(ray.get_actor(NAME, namespace=NAMESPACE))
began = time.monotonic()
with leases.hold("work"):
    told["alone"] = time.monotonic() - began
ray.shutdown()
print(json.dumps(told))
"""


def test_a_registry_behind_the_api(homes, tmp_path):
    """Generators are promoted from one home, resolved, fetched and rolled back from another; keys lie beside them."""
    from datetime import UTC, datetime

    from fewgood_serve.keys import KeyFile, find_key
    from fewgood_serve.registry import Registry

    first, second = (Registry.locate(home) for home in homes)
    folder = tmp_path / "bundle"
    (folder / "support").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "support" / "00000.png").write_bytes(b"image")
    card = {
        **dict.fromkeys(("promoted_utc", "dataset", "category", "kind", "baseline", "shots", "keyword", "prompt"), "x"),
        **dict.fromkeys(("selected_on", "licence", "spec_hash", "run_id", "generator_digest", "support_digest"), "x"),
        **dict.fromkeys(("precision", "hardware"), "x"),
        **dict.fromkeys(("image_auroc", "study", "seconds")),
        **{key: [] for key in ("candidates", "gains", "limits")},
        **{key: {} for key in ("embedding", "versions")},
        "trained_on": [{"sha256": "0" * 64, "width": 8, "height": 8}],
        "settings": {"sampling": {"scale": 1.0, "oversample": 2}},
    }
    for _ in range(2):
        first.point(first.publish("part", folder, card), why="promoted")
    assert second.shelves()["part"].versions == (1, 2)
    assert second.card(second.resolve("part")).version == 2
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    second.fetch(second.resolve("part@1"), fetched)
    assert (fetched / "support" / "00000.png").read_bytes() == b"image"
    assert second.rollback("part").version == first.resolve("part").version == 1
    key = KeyFile.locate(homes[0]).add("a", ["part"])
    assert find_key(KeyFile.locate(homes[1]).read(), key, datetime.now(UTC)).owner == "a"


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a driver saw: two tasks on two homes with a shared folder, a killed one, and an actor that is gone."""
    command = [sys.executable, "-c", DRIVER, str(tmp_path_factory.mktemp("leases"))]
    done = subprocess.run(command, check=False, timeout=180, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_two_hosts_that_need_an_artifact_make_it_once(told):
    assert sorted(told["pair"]) == [False, True]
    assert told["pair made"] == "made;"


def test_the_lease_of_a_killed_holder_ends(told):
    assert told["after a kill"] is False
    assert told["killed made"] == "made;made;"
    assert told["seconds"] < 2.0 + 3.0 + 8.0


def test_an_actor_that_is_restarted_gives_leases_again_and_one_that_is_gone_blocks_nobody(told):
    assert told["restarted"]
    assert told["alone"] < 12
