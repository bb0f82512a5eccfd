"""URIs to Arrow filesystems: which options are taken, and that a server which does not answer is given up."""

import socket
import time

import pyarrow.fs as pafs
import pytest

from fewgood.errors import StoreError
from fewgood.store import Location


@pytest.fixture(autouse=True)
def _credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


def test_an_s3_uri_and_its_options():
    location = Location.of("s3://key:se%2Fcret@bucket/some/where?endpoint_override=127.0.0.1:9&scheme=http&region=x")
    assert isinstance(location.filesystem, pafs.S3FileSystem)
    assert location.path == "bucket/some/where"
    assert location.shown == "s3://bucket/some/where"
    assert location.whole_objects
    assert location.below("a", "b").child("c") == "bucket/some/where/a/b/c"
    assert location.below("a").shown == "s3://bucket/some/where/a"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("nonsense=1", "known are endpoint_override"),
        ("connect_timeout=never", "connect_timeout is 'never', allowed is a number above 0"),
        ("max_attempts=0", "max_attempts is '0'"),
        ("allow_bucket_creation=perhaps", "allowed is true or false"),
    ],
)
def test_an_option_that_cannot_be_meant(options, message):
    with pytest.raises(StoreError, match=message):
        Location.of(f"s3://bucket/x?endpoint_override=127.0.0.1:9&{options}")


@pytest.mark.parametrize("uri", ["s3:///x", "nonsense://bucket/x"])
def test_a_uri_that_cannot_be_meant(uri):
    with pytest.raises(StoreError, match="s3://"):
        Location.of(uri)


def test_a_server_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        location = Location.of(
            f"s3://bucket/x?endpoint_override=127.0.0.1:{port}&scheme=http&request_timeout=1&max_attempts=1"
        )
        started = time.monotonic()
        with pytest.raises(StoreError, match="cannot be listed"):
            location.walk()
        assert time.monotonic() - started < 10


def test_put_and_read(location):
    location.put("a.json", b"one")
    location.put("a.json", b"two")
    assert location.read("a.json") == b"two"
    assert set(location.walk()) == {"a.json"}
    location.below("deep", "er").put("b.json", b"three")
    assert {name: stamp.size for name, stamp in location.walk().items()} == {"a.json": 3, "deep/er/b.json": 5}
    assert location.below("nowhere").walk() == {}
    with pytest.raises(FileNotFoundError):
        location.read("c.json")
