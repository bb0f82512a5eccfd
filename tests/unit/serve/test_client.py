"""Clients against a server that breaks off, is full, or refuses: what is got is whole and in order, or an error says why."""

import asyncio
import base64
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image

from fewgood.errors import ServiceError
from fewgood_serve.client import AsyncClient, Client, Retries

QUICK = Retries(tries=4, base=0.001, cap=0.002)


def png(value):
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), value, dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def line(index):
    record = {"index": index, "seed": 0, "prompt": "p", "score": 0.1, "generator": "part", "version": 1}
    return json.dumps({**record, "variance": 1.0, "source": 0, "png": base64.b64encode(png(index)).decode()})


class Script(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers requests one after the other as a list says: ("images", how many until it breaks off), or a status."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.asked = []

    def answer(self, request):
        body = json.loads(request.content) if request.content else {}
        self.asked.append((request.url.path, body))
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, tuple):
            status, headers = step
            document = {"detail": "because", "request_id": "abc"}
            return httpx.Response(status, headers=headers, content=json.dumps(document).encode())
        indices = range(body["start"], body["start"] + body["count"])
        text = '{"images": [\n' + ",\n".join(line(index) for index in indices) + "\n]}\n"
        cut = None if step is None else text.index("\n", text.index(f'"index": {body["start"] + step}') - 5)
        headers = {"x-generator": "part", "x-generator-version": "1"}
        return httpx.Response(200, headers=headers, content=text[:cut].encode())

    def handle_request(self, request):
        request.read()
        return self.answer(request)

    async def handle_async_request(self, request):
        await request.aread()
        return self.answer(request)


def ask(kind, script, *arguments, **options):
    if kind == "sync":
        client = Client("http://server", "key", retries=QUICK)
        client._http = httpx.Client(transport=script, base_url="http://server")
        return list(client.images(*arguments, **options))

    async def collect():
        client = AsyncClient("http://server", "key", retries=QUICK)
        client._http = httpx.AsyncClient(transport=script, base_url="http://server")
        return [image async for image in client.images(*arguments, **options)]

    return asyncio.run(collect())


both = pytest.mark.parametrize("kind", ["sync", "async"])


@both
def test_a_whole_answer(kind):
    found = ask(kind, Script(None), "part", 3)
    assert [one.index for one in found] == [0, 1, 2]
    assert found[2].image.shape == (4, 5, 3)
    assert found[2].image[0, 0, 0] == 2


@both
def test_a_stream_that_breaks_off_goes_on_with_the_same_version(kind):
    script = Script(2, 1, httpx.ReadError("gone"), (503, {}), None)
    found = ask(kind, script, "part@latest", 6, start=10)
    assert [one.index for one in found] == list(range(10, 16))
    assert script.asked[0][0] == "/v1/generators/part@latest/images"
    assert {path for path, _ in script.asked[1:]} == {"/v1/generators/part@1/images"}
    assert [body["start"] for _, body in script.asked] == [10, 12, 13, 13, 13]


@both
def test_selected_images_are_asked_for_anew_and_not_given_twice(kind):
    script = Script(2, None)
    assert [one.index for one in ask(kind, script, "part", 4, select=True)] == [0, 1, 2, 3]
    assert [body["count"] for _, body in script.asked] == [4, 4]


@both
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_and_given_up_in_the_end(kind, status):
    assert len(ask(kind, Script((status, {}), (status, {}), None), "part", 1)) == 1
    with pytest.raises(ServiceError, match="after 4 tries") as caught:
        ask(kind, Script(*[(status, {})] * 4), "part", 1)
    assert caught.value.status == status


@both
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 500])
def test_a_refusal_is_final_and_says_why(kind, status):
    script = Script((status, {}))
    with pytest.raises(ServiceError, match="because") as caught:
        ask(kind, script, "part", 1)
    assert (caught.value.status, caught.value.request_id, len(script.asked)) == (status, "abc", 1)


def test_no_server_is_said_after_some_tries():
    with pytest.raises(ServiceError, match="is the server up"):
        ask("sync", Script(*[httpx.ConnectError("refused")] * 4), "part", 1)


def test_pauses_grow_are_random_and_honour_the_server():
    retries = Retries(base=1.0, cap=8.0)
    for failures, limit in ((1, 1.0), (2, 2.0), (3, 4.0), (9, 8.0)):
        pauses = [retries.pause(failures, None) for _ in range(200)]
        assert max(pauses) <= limit
        assert len(set(pauses)) > 100
        assert min(retries.pause(failures, 30.0) for _ in range(50)) >= 30.0
