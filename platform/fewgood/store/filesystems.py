"""Arrow filesystems from URIs, with limits on how long one of their requests may take.

Arrow's own defaults wait for a silent S3 server for more than a minute and a half. Here a request that gets no byte is given
up after seconds and tried again a few times with growing pauses: a short cut of the network is survived, and a server that
is gone is an error within a minute.
"""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow.fs as pafs

__all__ = ["is_uri", "open_uri", "without_secrets"]

CONNECT_SECONDS = 3.0
REQUEST_SECONDS = 5.0
"""A request that receives nothing for so long has failed; a slow one that receives something has not."""
MAX_ATTEMPTS = 6
"""Tries of one request. The pauses between them are random and add up to about 15 s, to 31 s at most."""
GCS_SECONDS = 30

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_TEXTS = ("endpoint_override", "region", "scheme", "tls_ca_file_path")
_FLAGS = (
    "allow_bucket_creation",
    "allow_bucket_deletion",
    "check_directory_existence_before_creation",
    "force_virtual_addressing",
)
_SECONDS = ("connect_timeout", "request_timeout")
_ATTEMPTS = "max_attempts"
_OPTIONS = (*_TEXTS, *_FLAGS, *_SECONDS, _ATTEMPTS)


def is_uri(text: str) -> bool:
    """Whether a text is a URI, not a path."""
    return bool(_URI.match(text))


def open_uri(uri: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem that a URI names, and the path inside it.

    An `s3://` URI takes the options `endpoint_override`, `region`, `scheme`, `tls_ca_file_path` and the like,
    `allow_bucket_creation` (which makes the bucket at once), `connect_timeout`, `request_timeout` (seconds) and `max_attempts`.

    Raises:
        OSError, pa.ArrowException, ValueError: if the URI is none, or its store cannot be used.
    """
    scheme = urlsplit(uri).scheme.lower()
    if scheme == "s3":
        return _s3(uri)
    if scheme in ("gs", "gcs") and "retry_limit_seconds" not in uri:
        uri += ("&" if "?" in uri else "?") + f"retry_limit_seconds={GCS_SECONDS}"
    filesystem, path = pafs.FileSystem.from_uri(uri)
    return filesystem, str(path)


def without_secrets(uri: str) -> str:
    """A URI without user, password and options, any of which may be a secret."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _s3(uri: str) -> tuple[pafs.FileSystem, str]:
    parts = urlsplit(uri)
    bucket = parts.netloc.rpartition("@")[2]
    if not bucket:
        raise ValueError("it names no bucket")
    options: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "request_timeout": REQUEST_SECONDS}
    attempts = MAX_ATTEMPTS
    for name, value in parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)):
        if name == _ATTEMPTS:
            attempts = _number(name, value, int)
        elif name in _SECONDS:
            options[name] = _number(name, value, float)
        elif name in _FLAGS:
            if value.lower() not in ("true", "false", "1", "0"):
                raise ValueError(f"its option {name} is {value!r}, allowed is true or false")
            options[name] = value.lower() in ("true", "1")
        elif name in _TEXTS:
            options[name] = value
        else:
            raise ValueError(f"it has the option {name}, known are {', '.join(_OPTIONS)}")
    if parts.username is not None:
        options |= {"access_key": unquote(parts.username), "secret_key": unquote(parts.password or "")}
    own_endpoint = "endpoint_override" in options or any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ)
    if "region" not in options and not own_endpoint:
        options["region"] = pafs.resolve_s3_region(bucket)
    # A delayed opening makes a small upload one request, which also means that a killed one leaves nothing.
    filesystem = pafs.S3FileSystem(
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=attempts), allow_delayed_open=True, **options
    )
    if options.get("allow_bucket_creation"):
        filesystem.create_dir(bucket)
    return filesystem, (bucket + unquote(parts.path)).rstrip("/")


def _number(name: str, value: str, kind: type[float] | type[int]) -> Any:
    try:
        number = kind(value)
    except ValueError:
        number = 0
    if not 0 < number < 3600:
        raise ValueError(f"its option {name} is {value!r}, allowed is a number above 0 and below 3600")
    return number
