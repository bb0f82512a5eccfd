"""`fewgood serve` with Ray: the same bytes from every replica and after a restart, lost replicas, promotions, its end."""

import asyncio
import base64
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest
import torch

from fewgood.errors import ServiceError
from fewgood.pipeline import run
from fewgood.store import Home
from fewgood.trials import make_spec
from fewgood_serve.client import AsyncClient, Client
from fewgood_serve.dataset import ServedImages
from fewgood_serve.keys import KeyFile
from fewgood_serve.painter import Painter, Wanted
from fewgood_serve.promotion import of_spec, promote
from fewgood_serve.registry import Registry

pytestmark = pytest.mark.integration

NAME = "sample-brick-patchcore-1-shot"
START_SECONDS = 120


def trained(home: Home, weight: float) -> str:
    """Runs of three arms with a small generator; the spec's hash of the generating one."""
    settings = {"generator.steps": "6", "selection.count": "2", "generator.variance_weight": str(weight)}
    found = ""
    for arm in ("none", "augment", "generate"):
        spec = make_spec(
            dataset="sample", root=None, category="brick", baseline="patchcore", shots="1", arm=arm, seed=0, settings=settings
        )  # fmt: skip
        found = run(spec, home, proxy=arm == "generate").row["spec_hash"]
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory, lend_models):
    """A home with two generators of one cell in its registry, the first of them twice."""
    torch.set_num_threads(1)
    where = Home(lend_models(tmp_path_factory.mktemp("serve") / "home")).prepare()
    registry = Registry.locate(where)
    for weight in (0.6, 0.1):
        promote(of_spec(where, trained(where, weight)), where, registry, latest=weight == 0.6)
    return where


@pytest.fixture(scope="module")
def key(home):
    return KeyFile.locate(home).add("tests", ["*"])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A `fewgood serve` process."""

    def __init__(self, home: Home, *words: object) -> None:
        self.port = free_port()
        command = [
            str(Path(sys.executable).with_name("fewgood")),
            "serve",
            "--port",
            str(self.port),
            "--home",
            str(home.root),
        ]
        self.process = subprocess.Popen(
            [*command, *map(str, words)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
        )  # fmt: skip
        self.said: list[str] = []
        timer = threading.Timer(START_SECONDS, self.process.kill)
        timer.start()
        for line in self.process.stderr:
            self.said.append(line)
            if "fewgood serve on" in line:
                break
        timer.cancel()
        assert any("fewgood serve on" in line for line in self.said), "".join(self.said)
        self.url = self.said[-1].split("fewgood serve on ")[1].split()[0]
        self._reading = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        self._reading.start()

    def replicas(self) -> list[psutil.Process]:
        """The processes of this server's Ray that draw."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if "ServeReplica:fewgood:generator" in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.Error:
                continue
        return found

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=120)
        self._reading.join(timeout=10)
        self.process.stderr.close()
        return status


@pytest.fixture(scope="module")
def server(home, key):
    started = Server(home, "--replicas", 2, "--threads", 1, "--limit", "body_seconds=2", "--limit", "count=64")
    yield started
    started.end()


@pytest.fixture
def client(server, key):
    with Client(server.url, key) as made:
        yield made


@pytest.fixture(scope="module")
def offline(home):
    """The images of a version, drawn in this process."""
    painters = {}

    def draw(version, seed, count, variance=None):
        torch.set_num_threads(1)
        if version not in painters:
            folder = home.temporary / f"offline-{version}"
            folder.mkdir()
            registry = Registry.locate(home)
            registry.fetch(registry.resolve(f"{NAME}@{version}"), folder)
            painters[version] = Painter(folder, home=home.root, device=torch.device("cpu"))
        wanted = [Wanted(seed=seed, index=index, variance=variance) for index in range(count)]
        return [one.png for one in painters[version].draw(wanted)]

    return draw


def test_the_card_says_what_was_measured(client, home):
    card = client.card(NAME)
    assert (card.dataset, card.category, card.version, len(card.trained_on)) == ("sample", "brick", 1, 1)
    assert [gain.against for gain in card.gains] == ["none", "augment"]
    assert all(gain.seeds == 1 and gain.low is None and gain.mean is not None for gain in card.gains)
    assert any("no interval" in limit for limit in card.limits)
    assert card.prompt == card.candidates[0].prompt
    assert [entry["versions"] for entry in client.generators()] == [[1, 2]]


def test_served_images_are_those_drawn_offline(client, offline):
    for version, seed in ((1, 3), (2, 3)):
        served = [image.png for image in client.images(f"{NAME}@{version}", 6, seed=seed)]
        assert served == offline(version, seed, 6)


def test_many_at_once_get_what_each_gets_alone(server, key, offline):
    wanted = [(1 + number % 2, number % 3, (None, 2.0)[number % 2]) for number in range(8)]

    def ask(request):
        version, seed, variance = request
        with Client(server.url, key) as client:
            return [image.png for image in client.images(f"{NAME}@{version}", 4, seed=seed, variance=variance)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, wanted))
    for (version, seed, variance), images in zip(wanted, found, strict=True):
        assert images == offline(version, seed, 4, variance)


def test_replicas_die_and_versions_change_under_load_and_nobody_notices(server, key, home, offline):
    """SIGKILL of a replica, a promotion and a rollback while clients ask: no failure, each image of the version it names."""
    expected = {version: offline(version, 5, 8) for version in (1, 2)}
    registry = Registry.locate(home)
    stop, answers, errors = asyncio.Event(), [], []

    async def ask(made):
        while not stop.is_set():
            try:
                answers.append([image async for image in made.images(NAME, 8, seed=5)])
            except ServiceError as error:
                errors.append(str(error))

    async def seen(version):
        """Until another answer of this version is there."""
        deadline, known = time.monotonic() + 300, len(answers)
        while not any(images[0].version == version for images in answers[known:]) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)

    async def load():
        async with AsyncClient(server.url, key) as made:
            clients = [asyncio.create_task(ask(made)) for _ in range(6)]
            await seen(1)
            server.replicas()[0].send_signal(signal.SIGKILL)
            await asyncio.sleep(1)
            registry.point(registry.resolve(f"{NAME}@2"), why="promoted")
            await seen(2)
            registry.rollback(NAME)
            await seen(1)
            stop.set()
            await asyncio.gather(*clients)

    asyncio.run(load())
    assert errors == []
    assert {images[0].version for images in answers} == {1, 2}
    for images in answers:
        version = images[0].version
        assert {image.version for image in images} == {version}
        assert [image.png for image in images] == expected[version]


def test_a_job_runs_and_its_result_comes_down(client, tmp_path, offline):
    state = client.wait(client.submit(NAME, 10, seed=4, format="zip")["id"], seconds=0.2)
    assert (state["status"], state["done"]) == ("finished", 10)
    client.download(state["id"], tmp_path / "job.zip")
    import zipfile

    with zipfile.ZipFile(tmp_path / "job.zip") as archive:
        images = [archive.read(name) for name in sorted(archive.namelist()) if name.endswith(".png")]
    assert images == offline(1, 4, 10)


def test_a_dataset_draws_from_the_server(server, key):
    data = ServedImages(server.url, NAME, 5, key=key, seed=1, block=2)
    loader = torch.utils.data.DataLoader(data, batch_size=5)
    batch = next(iter(loader))
    assert batch.shape[:2] == (5, 3)
    assert 0.0 <= float(batch.min()) < float(batch.max()) <= 1.0
    assert torch.equal(data[4], batch[4])
    with pytest.raises(IndexError):
        data[5]
    data.close()


def test_the_command_writes_a_folder(server, key, tmp_path, fewgood, monkeypatch, offline):
    monkeypatch.setenv("FEWGOOD_KEY", key)
    done = fewgood("request", NAME, "--count", 3, "--seed", 9, "--out", tmp_path / "out", "--url", server.url, "--json")
    assert (done.status, done.document["version"]) == (0, 1), done.err
    assert [path.read_bytes() for path in sorted((tmp_path / "out").glob("0*.png"))] == offline(1, 9, 3)
    assert len((tmp_path / "out" / "images.jsonl").read_text().splitlines()) == 3
    monkeypatch.setenv("FEWGOOD_KEY", "wrong")
    refused = fewgood("request", NAME, "--out", tmp_path / "none", "--url", server.url)
    assert (refused.status, "401" in refused.err, (tmp_path / "none").exists()) == (2, True, False)


@pytest.mark.parametrize("path", [f"/v1/generators/{NAME}/images", "/v1/jobs"])
def test_a_body_that_drips_is_given_up(server, key, path):
    """A slow-loris client: the head at once, then a byte now and then."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode())
        started = time.monotonic()
        answer = b""
        connection.settimeout(0.25)
        while b"\r\n\r\n" not in answer and time.monotonic() - started < 15:
            try:
                connection.sendall(b" ")
                answer += connection.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
        assert answer.startswith(b"HTTP/1.1 408"), answer


def test_what_is_not_allowed_is_refused(server, key):
    url = f"{server.url}/v1/generators/{NAME}/images"
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.post(url, json={}).status_code == 401
    assert httpx.post(url, json={"count": 10**9}, headers=headers).status_code == 422
    assert httpx.post(url, json={"count": 65}, headers=headers).status_code == 422
    assert httpx.post(url, content=b" " * 10**6, headers=headers).status_code == 413
    assert httpx.get(f"{server.url}/v1/generators/..%2f..%2fserve%2fkeys.json", headers=headers).status_code in (
        404,
        422,
    )
    problem = httpx.get(f"{server.url}/nothing", headers=headers)
    assert (problem.status_code, problem.headers["content-type"]) == (404, "application/problem+json")
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    assert "fewgood_images_total" in httpx.get(f"{server.url}/metrics", headers=headers).text


def test_a_served_secret_stays_where_it_is(server, key, client, home, offline):
    """Support images are never sent: none is among the images, and no path gives one."""
    support = Registry.locate(home)
    folder = home.temporary / "support"
    folder.mkdir()
    support.fetch(support.resolve(NAME), folder)
    held = {path.read_bytes() for path in (folder / "support").glob("*.png")}
    sent = {image.png for image in client.images(NAME, 16, variance=0.0)}
    assert held.isdisjoint(sent)
    assert base64.b64encode(next(iter(held)))[:200].decode() not in client.card(NAME).model_dump_json()


def certificate(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    import ipaddress

    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )  # fmt: skip
    chain, secret = folder / "cert.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return chain, secret


def test_a_restarted_server_gives_the_same_bytes_over_tls_and_ends_when_all_is_answered(
    server, home, key, tmp_path, offline
):
    """The first server is ended while it answers: the answer is whole. Another one, with TLS, gives the same images."""
    with Client(server.url, key) as client:
        images = client.images(NAME, 48, seed=6)
        first = [next(images)]
        server.process.send_signal(signal.SIGTERM)
        first += list(images)
    assert len(first) == 48
    assert server.process.wait(timeout=120) == 0
    chain, secret = certificate(tmp_path)
    limits = [word for limit in ("count=8", "jobs=3", "job_count=4") for word in ("--limit", limit)]
    other = Server(home, "--replicas", 2, "--threads", 1, "--tls-cert", chain, "--tls-key", secret, *limits)
    try:
        assert other.url.startswith("https://")
        with Client(other.url, key, verify=str(chain)) as client:
            again = list(client.images(NAME, 8, seed=6))
        assert [image.png for image in again] == [image.png for image in first[:8]] == offline(1, 6, 8)
        with pytest.raises((httpx.ConnectError, ssl.SSLError)):
            httpx.get(f"{other.url}/healthz")
        check_document(other.url, key, chain, tmp_path)
    finally:
        assert other.end() == 0


def check_document(url, key, chain, folder):
    """schemathesis makes requests of the OpenAPI document, good and bad; none is answered with a server's error."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json", "--tls-verify", str(chain),
        "--header", f"Authorization: Bearer {key}", "--max-examples", "10", "--phases", "examples,coverage,fuzzing",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--workers", "2", "--seed", "1", "--request-timeout", "60", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_a_server_that_could_not_serve_says_so(home, tmp_path, fewgood):
    nobody = tmp_path / "home"
    no_key = fewgood("serve", "--home", nobody)
    assert (no_key.status, "fewgood keys add" in no_key.err) == (2, True)
    open_to_all = fewgood("serve", "--home", nobody, "--no-auth", "--host", "0.0.0.0")
    assert (open_to_all.status, "loopback only" in open_to_all.err) == (2, True)
    too_many = fewgood("serve", "--home", home.root, "--replicas", 512)
    assert (too_many.status, "have no room" in too_many.err) == (2, True)
    half = fewgood("serve", "--home", home.root, "--tls-cert", __file__)
    assert (half.status, "go together" in half.err) == (2, True)
    unknown = fewgood("serve", "--home", home.root, "--limit", "images=3")
    assert (unknown.status, "allowed are count" in unknown.err) == (2, True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        used = fewgood("serve", "--home", home.root, "--port", taken.getsockname()[1])
    assert (used.status, "cannot be used" in used.err) == (2, True)
