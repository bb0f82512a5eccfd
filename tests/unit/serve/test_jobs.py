"""Jobs: drawn in the background, found again after a restart, cancelled, and bounded."""

import asyncio
import base64
import io
import json
import zipfile

import numpy as np
import pytest

pytestmark = pytest.mark.anyio


async def ended(http, identity):
    for _ in range(400):
        state = (await http.get(f"/v1/jobs/{identity}")).json()
        if state["status"] not in ("waiting", "running"):
            return state
        await asyncio.sleep(0.05)
    raise AssertionError(state)


async def test_a_job_gives_the_images_of_a_request(serving, publish):
    publish()
    async with serving() as (http, _):
        answer = await http.post("/v1/jobs", json={"generator": "part", "count": 70, "seed": 3})
        assert answer.status_code == 202
        state = answer.json()
        assert answer.headers["location"] == f"/v1/jobs/{state['id']}"
        done = await ended(http, state["id"])
        assert (done["status"], done["done"], done["total"], done["version"]) == ("finished", 70, 70, 1)
        wanted = await http.post("/v1/generators/part/images", json={"count": 70, "seed": 3, "format": "zip"})
        result = await http.get(done["result"])
        assert result.content == wanted.content
        assert [one["id"] for one in (await http.get("/v1/jobs")).json()["jobs"]] == [state["id"]]


async def test_select_keeps_the_best_in_their_order(serving, publish):
    publish()
    async with serving() as (http, _):
        body = {"generator": "part", "count": 5, "seed": 3, "select": True, "format": "npz"}
        state = await ended(http, (await http.post("/v1/jobs", json=body)).json()["id"])
        assert state["total"] == 10
        request = {"count": 5, "seed": 3, "select": True, "format": "json"}
        best = (await http.post("/v1/generators/part/images", json=request)).json()["images"]
        with np.load(io.BytesIO((await http.get(state["result"])).content)) as arrays:
            assert arrays["index"].tolist() == sorted(one["index"] for one in best)


async def test_a_server_that_ends_goes_on_where_it_was(serving, publish, replicas):
    publish()
    async with serving() as (http, _):
        whole = (await http.post("/v1/generators/part/images", json={"count": 150, "seed": 1, "format": "json"})).json()
        replicas.seconds = 0.01
        identity = (await http.post("/v1/jobs", json={"generator": "part", "count": 150, "seed": 1})).json()["id"]
        while (await http.get(f"/v1/jobs/{identity}")).json()["done"] < 80:
            await asyncio.sleep(0.02)
    replicas.seconds, before = 0.0, replicas.started
    async with serving() as (http, _):
        state = await ended(http, identity)
        assert (state["status"], state["done"]) == ("finished", 150)
        # The first part of 64 was kept; one more image was drawn when the generator was taken in.
        assert replicas.started - before == 150 - 64 + 1
        with zipfile.ZipFile(io.BytesIO((await http.get(state["result"])).content)) as archive:
            lines = json.loads(archive.read("images.json"))
            assert [line["index"] for line in lines] == list(range(150))
            for line, image in zip(lines, whole["images"], strict=True):
                assert archive.read(line["file"]) == base64.b64decode(image["png"])


async def test_a_cancelled_job_stops_and_leaves_nothing(serving, publish, replicas, tmp_path):
    publish()
    async with serving() as (http, _):
        replicas.seconds = 0.02
        identity = (await http.post("/v1/jobs", json={"generator": "part", "count": 500})).json()["id"]
        while (await http.get(f"/v1/jobs/{identity}")).json()["done"] < 70:
            await asyncio.sleep(0.02)
        assert (await http.delete(f"/v1/jobs/{identity}")).json()["status"] == "cancelled"
        before = replicas.started
        await asyncio.sleep(0.2)
        assert replicas.started == before
        assert (await http.get(f"/v1/jobs/{identity}/result")).status_code == 409
        assert [path.name for path in (tmp_path / "home" / "serve" / "jobs" / identity).iterdir()] == ["job.json"]


async def test_jobs_are_the_keys_own_and_bounded(serving, publish, replicas, key_file):
    publish()
    mine, other = key_file.add("a", ["part"]), key_file.add("b", ["*"])
    async with serving(key=mine, limits={"jobs": 2, "job_count": 1000}) as (http, _):
        replicas.seconds = 0.5
        identity = (await http.post("/v1/jobs", json={"generator": "part", "count": 10})).json()["id"]
        theirs = {"Authorization": f"Bearer {other}"}
        assert (await http.get("/v1/jobs", headers=theirs)).json()["jobs"] == []
        for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", "")):
            response = await http.request(method, f"/v1/jobs/{identity}{path}", headers=theirs)
            assert response.status_code == 404
        assert (await http.post("/v1/jobs", json={"generator": "part", "count": 1001})).status_code == 422
        assert (await http.post("/v1/jobs", json={"generator": "part", "count": 1})).status_code == 202
        full = await http.post("/v1/jobs", json={"generator": "part", "count": 1})
        assert (full.status_code, "retry-after" in full.headers) == (503, True)
        for bad in ("../x", "x/../y", "%2e%2e", "0" * 65):
            assert (await http.get(f"/v1/jobs/{bad}")).status_code in (404, 422)
