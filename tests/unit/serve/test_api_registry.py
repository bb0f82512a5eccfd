"""What the HTTP interface serves while the registry changes, breaks or is gone, in this process and without Ray."""

import asyncio

import pytest

pytestmark = pytest.mark.anyio

IMAGES = "/v1/generators/part/images"


async def test_a_promotion_is_served_and_rolled_back_without_a_restart(serving, publish, registry, images_of):
    publish(scale=4.0)
    async with serving() as (http, _):

        async def images(name="part"):
            response = await http.post(f"/v1/generators/{name}/images", json={"count": 2, "seed": 1, "format": "json"})
            return images_of(response)

        first = await images()
        publish(scale=12.0)
        await asyncio.sleep(0.5)
        second = await images()
        assert {one["version"] for one in second} == {2}
        assert [one["png"] for one in second] != [one["png"] for one in first]
        assert await images("part@1") == first
        registry.rollback("part")
        await asyncio.sleep(0.5)
        assert await images() == first


async def test_a_broken_promotion_does_not_replace_what_works(serving, publish, problem_of):
    publish()
    async with serving() as (http, _):
        publish(spoil=lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04N."))
        await asyncio.sleep(0.5)
        entry = (await http.get("/v1/generators")).json()["generators"][0]
        assert (entry["latest"], entry["versions"]) == (1, [1, 2])
        assert "no whole generator" in entry["problem"]
        assert (await http.post(IMAGES, json={"count": 1})).headers["x-generator-version"] == "1"
        problem_of(await http.post("/v1/generators/part@2/images", json={"count": 1}), 503, "generator-broken")


async def test_a_registry_that_is_gone_leaves_what_was_loaded(serving, publish, tmp_path, problem_of):
    publish()
    async with serving() as (http, _):
        place = tmp_path / "home" / "registry" / "generators"
        place.rename(tmp_path / "aside")
        await asyncio.sleep(0.3)
        problem_of(await http.get("/readyz"), 503, "no-registry")
        assert (await http.post(IMAGES, json={"count": 1})).status_code == 200
        place.write_text("no folder")
        await asyncio.sleep(0.3)
        problem_of(await http.get("/readyz"), 503, "no-registry")
        assert (await http.post(IMAGES, json={"count": 1})).status_code == 200
        place.unlink()
        (tmp_path / "aside").rename(place)
        await asyncio.sleep(0.3)
        assert (await http.get("/readyz")).status_code == 200


async def test_one_unreadable_pointer_harms_that_generator_alone(serving, publish, tmp_path):
    publish("part")
    publish("other")
    async with serving() as (http, _):
        (tmp_path / "home" / "registry" / "generators" / "other" / "latest.json").write_text("{")
        await asyncio.sleep(0.3)
        entries = {entry["name"]: entry for entry in (await http.get("/v1/generators")).json()["generators"]}
        assert entries["part"]["problem"] is None
        assert "cannot be read" in entries["other"]["problem"]
        assert entries["other"]["latest"] == 1  # what was served stays
        assert (await http.get("/readyz")).status_code == 200
