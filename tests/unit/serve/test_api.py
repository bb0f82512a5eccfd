"""The HTTP interface in this process, with a real generator and without Ray: what it answers and what it refuses."""

import asyncio
import base64
import io
import json
import zipfile

import httpx
import numpy as np
import pytest
from PIL import Image

from fewgood.errors import StoreError
from fewgood_serve.api import make_api
from fewgood_serve.dispatch import Lost

pytestmark = pytest.mark.anyio

IMAGES = "/v1/generators/part/images"


async def test_generators_and_cards(serving, publish, problem_of):
    publish()
    async with serving() as (http, _):
        entry = (await http.get("/v1/generators")).json()["generators"][0]
        assert (entry["name"], entry["latest"], entry["versions"], entry["problem"]) == ("part", 1, [1], None)
        for name in ("part", "part@latest", "part@1"):
            assert (await http.get(f"/v1/generators/{name}")).json()["version"] == 1
        problem_of(await http.get("/v1/generators/other"), 404, "no-generator")
        problem_of(await http.get("/v1/generators/part@2"), 404, "no-version")


async def test_the_three_formats_hold_the_same_images(serving, publish, images_of):
    publish()
    async with serving() as (http, _):
        found = {}
        for name in ("zip", "npz", "json"):
            found[name] = await http.post(IMAGES, json={"count": 3, "seed": 7, "format": name})
            assert found[name].headers["x-generator-version"] == "1"
        entries = images_of(found["json"])
        assert [(one["index"], one["seed"], one["generator"], one["version"]) for one in entries] == [
            (index, 7, "part", 1) for index in range(3)
        ]
        with zipfile.ZipFile(io.BytesIO(found["zip"].content)) as archive:
            lines = json.loads(archive.read("images.json"))
            for entry, line in zip(entries, lines, strict=True):
                assert archive.read(line.pop("file")) == base64.b64decode(entry["png"])
                assert line == {name: value for name, value in entry.items() if name != "png"}
        with np.load(io.BytesIO(found["npz"].content), allow_pickle=False) as arrays:
            assert arrays["score"].tolist() == [entry["score"] for entry in entries]
            assert (str(arrays["generator"]), int(arrays["version"]), int(arrays["seed"])) == ("part", 1, 7)
            for number, entry in enumerate(entries):
                image = np.asarray(Image.open(io.BytesIO(base64.b64decode(entry["png"]))))
                assert image.shape == (40, 48, 3)
                assert np.array_equal(arrays[f"image_{number:05d}"], image)


async def test_a_seed_is_one_series_however_it_is_cut(serving, publish, images_of):
    publish()
    async with serving() as (http, _):
        whole = images_of(await http.post(IMAGES, json={"count": 5, "seed": 1, "format": "json"}))
        rest = images_of(await http.post(IMAGES, json={"count": 2, "start": 3, "seed": 1, "format": "json"}))
        assert rest == whole[3:]
        again = await http.post(IMAGES, json={"count": 5, "seed": 1, "format": "json"})
        assert images_of(again) == whole
        other = images_of(await http.post(IMAGES, json={"count": 5, "seed": 2, "format": "json"}))
        assert all(a["png"] != b["png"] for a, b in zip(whole, other, strict=True))


async def test_requests_side_by_side_get_what_they_get_alone(serving, publish, images_of):
    publish()
    bodies = [
        {"count": 4, "seed": seed, "variance": variance, "format": "json"}
        for seed, variance in ((0, 1), (0, 8), (3, 4))
    ]
    async with serving() as (http, _):
        alone = [images_of(await http.post(IMAGES, json=body)) for body in bodies]
        together = await asyncio.gather(*(http.post(IMAGES, json=body) for body in bodies * 2))
        assert [images_of(response) for response in together] == alone * 2


async def test_select_sends_the_best_first(serving, publish, images_of, problem_of):
    publish()
    async with serving() as (http, _):
        drawn = images_of(await http.post(IMAGES, json={"count": 8, "seed": 1, "format": "json"}))
        best = images_of(await http.post(IMAGES, json={"count": 4, "seed": 1, "format": "json", "select": True}))
        assert best == sorted(drawn, key=lambda one: -one["score"])[:4]
        refused = await http.post(IMAGES, json={"count": 4, "select": True, "start": 1})
        problem_of(refused, 422, "select-from-start")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"count": 10**9}, "invalid"),
        ({"count": 257}, "too-many-images"),
        ({"count": 0}, "invalid"),
        ({"count": "3"}, "invalid"),
        ({"count": True}, "invalid"),
        ({"seed": -1}, "invalid"),
        ({"seed": 2**53}, "invalid"),
        ({"variance": -0.1}, "invalid"),
        ({"variance": 1e9}, "invalid"),
        ({"start": 10**12}, "invalid"),
        ({"format": "pickle"}, "invalid"),
        ({"counts": 3}, "invalid"),
        ([], "invalid"),
        (None, "invalid"),
    ],
)
async def test_what_cannot_be_meant_is_refused(serving, publish, replicas, body, kind, problem_of):
    publish()
    async with serving() as (http, _):
        drawn = replicas.started
        problem_of(await http.post(IMAGES, json=body), 422, kind)
        assert replicas.started == drawn


@pytest.mark.parametrize("body", [b"", b"{", b'{"variance": NaN}', b"\xff\xfe", b"\xf0\n\xf0", b'{"count": 1e999}'])
async def test_a_body_that_is_no_json_is_refused(serving, publish, body, problem_of):
    publish()
    async with serving() as (http, _):
        response = await http.post(IMAGES, content=body, headers={"content-type": "application/json"})
        problem_of(response, 422, "invalid")


@pytest.mark.parametrize("name", ["..", "..%2f..%2fkeys", "%2e%2e", "part@..", "part@0", "PART", "a%00b", "part%0a"])
async def test_a_name_does_not_leave_the_registry(serving, publish, name):
    publish()
    async with serving() as (http, _):
        for response in (
            await http.get(f"/v1/generators/{name}"),
            await http.post(f"/v1/generators/{name}/images", json={}),
        ):
            assert response.status_code in (404, 405, 422), response.text
            assert response.headers["content-type"] == "application/problem+json"


async def test_keys_open_their_generators_alone(serving, publish, key_file, problem_of):
    publish("part")
    publish("other")
    mine, every = key_file.add("a", ["part"]), key_file.add("b", ["*"])
    async with serving(key=mine) as (http, service):
        assert [one["name"] for one in (await http.get("/v1/generators")).json()["generators"]] == ["part"]
        assert (await http.post(IMAGES, json={"count": 1})).status_code == 200
        problem_of(await http.post("/v1/generators/other/images", json={"count": 1}), 403, "other-generator")
        problem_of(await http.get("/v1/generators/other"), 403, "other-generator")
        problem_of(await http.post("/v1/jobs", json={"generator": "other", "count": 1}), 403, "other-generator")
        problem_of(await http.get("/metrics"), 403, "not-for-all")
        anonymous = httpx.AsyncClient(transport=httpx.ASGITransport(app=make_api(service)), base_url="http://server")
        for path in ("/v1/generators", "/v1/jobs", "/metrics", "/nothing"):
            response = await anonymous.get(path)
            problem_of(response, 401, "no-key")
            assert response.headers["www-authenticate"] == "Bearer"
        problem_of(
            await anonymous.post(IMAGES, json={"count": 1}, headers={"Authorization": "Bearer fg_x"}), 401, "no-key"
        )
        assert (await anonymous.get("/openapi.json")).status_code == 200
        assert (await http.get("/metrics", headers={"Authorization": f"Bearer {every}"})).status_code == 200
        # Rotated while it runs: the old key ends, the new one works.
        fresh = key_file.add("a", ["part"])
        key_file.revoke(mine.split("_")[1])
        await asyncio.sleep(0.3)
        problem_of(await http.get("/v1/generators"), 401, "no-key")
        assert (await anonymous.get("/v1/generators", headers={"x-api-key": fresh})).status_code == 200


async def test_a_large_body_is_refused_by_its_length_and_while_it_comes(serving, publish, problem_of):
    publish()

    async def pieces():
        for _ in range(100):
            yield b" " * 1000

    async with serving() as (http, _):
        problem_of(await http.post(IMAGES, content=b" " * 20_000), 413, "too-large")
        problem_of(await http.post(IMAGES, content=pieces()), 413, "too-large")


async def test_a_body_that_drips_is_given_up(serving, publish, problem_of):
    publish()

    async def drips():
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    async with serving(limits={"body_seconds": 0.3}) as (http, _):
        problem_of(await http.post(IMAGES, content=drips()), 408, "slow-body")


async def test_rates_and_the_queue_are_bounded(serving, publish, replicas, problem_of):
    publish()
    async with serving(limits={"requests_per_minute": 1, "queued_images": 8}) as (http, service):
        replicas.seconds = 0.2
        first = asyncio.create_task(http.post(IMAGES, json={"count": 6}))
        await asyncio.sleep(0.1)
        full = await http.post(IMAGES, json={"count": 6})
        problem_of(full, 503, "full")
        assert int(full.headers["retry-after"]) >= 1
        assert (await first).status_code == 200
        often = await http.post(IMAGES, json={"count": 1})
        problem_of(often, 429, "too-often")
        assert int(often.headers["retry-after"]) >= 1
        assert service.admission.queued == 0


async def test_pixels_are_bounded(serving, publish, problem_of):
    publish()
    async with serving(limits={"pixels": 4000}) as (http, _):
        assert (await http.post(IMAGES, json={"count": 2})).status_code == 200
        assert (
            "ask for 2 at most"
            in problem_of(await http.post(IMAGES, json={"count": 3}), 422, "too-many-pixels")["detail"]
        )


async def test_a_request_that_takes_too_long_is_given_up(serving, publish, replicas, problem_of):
    publish()
    async with serving(limits={"request_seconds": 0.3}) as (http, service):
        replicas.seconds = 5.0
        problem_of(await http.post(IMAGES, json={"count": 2}), 504, "too-slow")
        assert service.admission.queued == 0


async def test_a_lost_replica_is_survived_and_one_that_stays_lost_is_said(
    serving, publish, replicas, images_of, problem_of
):
    publish()
    async with serving() as (http, _):
        whole = images_of(await http.post(IMAGES, json={"count": 3, "format": "json"}))
        replicas.errors = [Lost("died")] * 2
        assert images_of(await http.post(IMAGES, json={"count": 3, "format": "json"})) == whole
        replicas.errors = [StoreError("the bundle is not whole")]
        problem_of(await http.post(IMAGES, json={"count": 1}), 503, "generator-broken")


async def test_a_client_that_goes_stops_the_work(serving, publish, replicas):
    publish()
    async with serving(replicas=2) as (_, service):
        replicas.seconds = 0.1
        drawn = replicas.started
        gone = asyncio.Event()
        received = [{"type": "http.request", "body": b'{"count": 100, "format": "json"}', "more_body": False}]

        async def receive():
            if received:
                return received.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.body":
                gone.set()

        scope = {
            "type": "http", "method": "POST", "path": IMAGES, "raw_path": IMAGES.encode(), "query_string": b"",
            "headers": [(b"content-type", b"application/json")], "http_version": "1.1", "scheme": "http",
            "server": ("server", 80), "client": ("client", 1), "root_path": "", "asgi": {"version": "3.0", "spec_version": "2.3"},
        }  # fmt: skip
        await asyncio.wait_for(make_api(service)(scope, receive, send), 5)
        assert replicas.started - drawn < 20
        assert service.admission.queued == 0
        before = replicas.started
        await asyncio.sleep(0.3)
        assert replicas.started == before


async def test_health_draws_and_readiness_does_not(serving, publish, replicas, problem_of):
    async with serving() as (http, _):
        problem_of(await http.get("/healthz"), 503, "no-generator")
        problem_of(await http.get("/readyz"), 503, "no-generator")
        publish()
        await asyncio.sleep(0.5)
        drawn = replicas.started
        assert (await http.get("/readyz")).json() == {"status": "ok", "generators": 1}
        assert replicas.started == drawn
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert replicas.started == drawn + 1
        await http.get("/healthz")
        assert replicas.started == drawn + 1


async def test_metrics_count_what_happened(serving, publish):
    publish()
    async with serving() as (http, _):
        await http.post(IMAGES, json={"count": 3})
        await http.post(IMAGES, json={"count": 0})
        text = (await http.get("/metrics")).text
        assert 'fewgood_requests_total{route="/v1/generators/{name}/images",status="200"} 1.0' in text
        assert 'fewgood_errors_total{kind="invalid"} 1.0' in text
        assert 'fewgood_images_total{generator="part",version="1"} 4.0' in text  # one when it was taken in
        for name in ("fewgood_request_seconds_bucket", "fewgood_batch_rows_bucket", "fewgood_queued_images 0.0"):
            assert name in text


async def test_the_log_has_every_request_by_its_id(serving, publish, tmp_path):
    publish()
    async with serving() as (http, _):
        response = await http.post(IMAGES, json={"count": 1, "seed": 4})
        refused = await http.get("/v1/generators/none")
    lines = [json.loads(line) for line in (tmp_path / "requests.log").read_text().splitlines()]
    logged = {line["request_id"]: line for line in lines}
    mine = logged[response.headers["x-request-id"]]
    assert (mine["status"], mine["generator"], mine["seed"], mine["bytes"]) == (200, "part@1", 4, len(response.content))
    assert logged[refused.headers["x-request-id"]]["status"] == 404


async def test_an_ending_server_takes_nothing_new_and_finishes_what_it_has(
    serving, publish, replicas, images_of, problem_of
):
    publish()
    async with serving() as (http, service):
        replicas.seconds = 0.1
        running = asyncio.create_task(http.post(IMAGES, json={"count": 6, "format": "json"}))
        await asyncio.sleep(0.15)
        ending = asyncio.create_task(service.drain())
        await asyncio.sleep(0.05)
        problem_of(await http.post(IMAGES, json={"count": 1}), 503, "ending")
        problem_of(await http.get("/readyz"), 503, "ending")
        assert len(images_of(await running)) == 6
        await asyncio.wait_for(ending, 5)


async def test_a_request_that_no_queue_could_hold_is_refused_for_good(serving, publish, problem_of):
    publish()
    async with serving(limits={"queued_images": 10}) as (http, service):
        problem_of(await http.post(IMAGES, json={"count": 11}), 422, "too-many-images")
        problem_of(await http.post(IMAGES, json={"count": 6, "select": True}), 422, "too-many-images")
        assert service.admission.queued == 0


async def test_health_is_answered_without_its_body(serving, publish):
    publish()

    async def drips():
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    async with serving() as (http, _):
        response = await asyncio.wait_for(http.request("GET", "/readyz", content=drips()), 2)
        assert response.status_code == 200
