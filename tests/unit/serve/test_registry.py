"""The registry: versions never change, `latest` can be moved and moved back, and what is damaged is said to be."""

import threading

import pytest

from fewgood.errors import SpecError, StoreError
from fewgood.store import Home
from fewgood.store.pruning import needed_digests
from fewgood_serve.names import Reference
from fewgood_serve.registry import Registry


def test_an_empty_registry_has_nothing(registry):
    assert registry.shelves() == {}
    with pytest.raises(SpecError, match="no generator 'part'"):
        registry.resolve("part")


def test_versions_count_up_and_latest_follows(registry, publish):
    assert publish() == Reference("part", 1)
    assert publish() == Reference("part", 2)
    publish(latest=False)
    shelf = registry.shelves()["part"]
    assert (shelf.versions, shelf.latest) == ((1, 2, 3), 2)
    assert registry.resolve("part").version == 2
    assert registry.resolve("part@3").version == 3
    with pytest.raises(SpecError, match="versions of part are 1, 2, 3"):
        registry.resolve("part@4")


def test_a_rollback_goes_to_the_version_before_and_can_name_one(registry, publish):
    for _ in range(3):
        publish()
    assert registry.rollback("part").version == 2
    assert registry.rollback("part").version == 1
    with pytest.raises(SpecError, match="no version before it"):
        registry.rollback("part")
    assert registry.rollback("part", 3).version == 3
    assert [move["to"] for move in registry.moves("part")] == [1, 2, 3, 2, 1, 3]


def test_a_version_that_was_rolled_back_from_does_not_come_again(registry, publish):
    publish()
    publish()
    registry.rollback("part")
    publish()
    publish()
    assert [registry.rollback("part").version for _ in range(2)] == [3, 1]


def test_an_archive_with_a_link_is_not_unpacked(registry, publish, tmp_path):
    """Whoever can write the store cannot write other files of who reads it."""
    import hashlib
    import io
    import json
    import tarfile

    reference = publish()
    place = tmp_path / "home" / "registry" / "generators" / "part" / "1"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("support")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "outside")
        tar.addfile(link)
        file = tarfile.TarInfo("support/00000.png")
        file.size = 3
        tar.addfile(file, io.BytesIO(b"abc"))
    archive = next(place.glob("*.tar"))
    archive.write_bytes(buffer.getvalue())
    record = json.loads((place / "manifest.json").read_text())
    record |= {"bytes": len(buffer.getvalue()), "sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}
    (place / "manifest.json").write_text(json.dumps(record))
    folder = tmp_path / "fetched"
    folder.mkdir()
    (tmp_path / "outside").mkdir()
    with pytest.raises(StoreError, match="not whole"):
        registry.fetch(reference, folder)
    assert list((tmp_path / "outside").iterdir()) == []
    assert list(folder.iterdir()) == []


def test_the_card_is_what_was_published(registry, publish):
    card = registry.card(publish())
    assert (card.name, card.version, card.prompt) == ("part", 1, "a photo of a part")
    assert [(image.width, image.height) for image in card.trained_on] == [(48, 40), (48, 40)]
    with pytest.raises(StoreError, match="no readable card"):
        registry.card(Reference("part", 7))


def test_a_bundle_comes_back_and_a_damaged_one_does_not(registry, publish, tmp_path):
    reference = publish()
    folder = tmp_path / "fetched"
    folder.mkdir()
    registry.fetch(reference, folder)
    assert {path.name for path in folder.iterdir()} >= {"model.safetensors", "spec.json", "bundle.json", "support"}
    archive = next((tmp_path / "home" / "registry" / "generators" / "part" / "1").glob("*.tar"))
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(StoreError, match="not whole"):
        registry.fetch(reference, other)


def test_two_who_promote_at_once_get_versions_of_their_own(registry, tmp_path, make_bundle, card_of):
    found, errors = [], []

    def put(number):
        try:
            folder = tmp_path / f"own-{number}"
            folder.mkdir()
            found.append(registry.publish("part", folder, card_of(make_bundle(folder))).version)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set(found)) == 4
    assert set(registry.shelves()["part"].versions) == set(found)


def test_a_prune_keeps_what_a_card_names(tmp_path, registry, publish):
    publish()
    assert "0" * 32 in needed_digests(Home(tmp_path / "home"))


def test_the_place_is_the_flags_then_the_environments_then_the_homes(tmp_path, monkeypatch):
    home = Home(tmp_path / "home")
    monkeypatch.delenv("FEWGOOD_REGISTRY", raising=False)
    assert Registry.locate(home).shown == str(tmp_path / "home" / "registry")
    monkeypatch.setenv("FEWGOOD_REGISTRY", str(tmp_path / "other"))
    assert Registry.locate(home).shown == str(tmp_path / "other")
    assert Registry.locate(home, str(tmp_path / "third")).shown == str(tmp_path / "third")
