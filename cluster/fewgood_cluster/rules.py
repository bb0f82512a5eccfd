"""Our own rules that a `ray up` file and a KubeRay manifest share: a pinned image, a shared store, no secret in the file."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fewgood_cluster.documents import Document, Key

__all__ = ["CLIENT_PORT", "DASHBOARD_PORT", "EVERYWHERE", "GCS_PORT", "check_image", "check_secret", "check_store"]

DASHBOARD_PORT, CLIENT_PORT, GCS_PORT = 8265, 10001, 6379
"""What runs code for whoever reaches it: the dashboard with its job API, Ray's client, and Ray itself."""

EVERYWHERE = ("0.0.0.0/0", "::/0")

_SHARED = ("s3://", "gs://", "abfs://", "hdfs://")
_SECRETS = ("RAY_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def check_image(document: Document, key: Key, image: object) -> None:
    """An image must say which one it is: a tag that is not `latest`, or a digest."""
    text = str(image or "")
    name, _, digest = text.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    if not name:
        document.error(key, "no image: give one with a version, e.g. registry.example.com/fewgood:1.0")
    elif not digest and tag in ("", "latest"):
        document.error(
            key, f"image {text!r} is not pinned: give a tag other than latest, or a digest, so that hosts run the same"
        )


def check_store(document: Document, key: Key, values: Iterable[str | None]) -> None:
    """Every host must be told the same shared store."""
    found = list(values)
    missing = [value for value in found if not value]
    if missing or not found:
        document.error(
            key, "FEWGOOD_STORE is not set: hosts share results through it, give e.g. FEWGOOD_STORE=s3://BUCKET/fewgood"
        )
    for value in sorted({value for value in found if value and not value.startswith(_SHARED)}):
        document.error(
            key, f"FEWGOOD_STORE is {value!r}, which hosts do not share: allowed is a URL with {', '.join(_SHARED)}"
        )
    if len({value for value in found if value}) > 1:
        document.error(
            key, f"FEWGOOD_STORE differs between hosts ({', '.join(sorted({str(v) for v in found}))}): give one"
        )


def check_secret(document: Document, key: Key, text: str) -> None:
    """No token or secret key may stand in a file; `NAME=$VARIABLE` and `NAME=$(command)` do not count."""
    for name in _SECRETS:
        if re.search(rf"\b{name}=['\"]?[^\s'\"$]", text):
            document.error(key, f"{name} stands in the file: keep it in a file on the hosts or in a Secret")
