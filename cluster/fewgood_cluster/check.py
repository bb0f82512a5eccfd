"""`fewgood cluster check`: what kind of file each document is, and the checks of that kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fewgood_cluster import crds, kuberay
from fewgood_cluster.documents import Document, Finding, read_documents
from fewgood_cluster.ray_up import check_ray_up

__all__ = ["check_files"]


def check_files(paths: Sequence[Path], *, definitions: Path | None = None) -> list[Finding]:
    """Check `ray up` files and KubeRay manifests; returns what was found, in the order of files and lines.

    Args:
        paths: The files; each may hold several documents.
        definitions: The folder of KubeRay's definitions; else `FEWGOOD_CRDS`, else `crds` beside the file.

    Raises:
        SpecError: if KubeRay's definitions are needed and not there.
    """
    findings: list[Finding] = []
    for path in paths:
        documents, found = read_documents(path)
        for document in documents:
            _check(document, definitions)
            found += document.findings
        findings += sorted(found, key=lambda finding: finding.line)
    return findings


def _check(document: Document, definitions: Path | None) -> None:
    data = document.data
    if not isinstance(data, dict):
        document.error((), f"is a {type(data).__name__}: give a mapping")
    elif str(data.get("apiVersion", "")).startswith("ray.io/") and data.get("kind") in crds.KINDS:
        crds.check_manifest(document, crds.find_crds(definitions, document.path))
        kuberay.check_kuberay(document)
        document.add("note", (), f"{data['kind']} validated against its definition; never started by us")
    elif data.get("apiVersion") == "v1" and data.get("kind") == "Service":
        kuberay.check_service(document)
        document.add("note", (), "Service: only its type was checked")
    elif "apiVersion" in data and "kind" in data:
        kinds = ", ".join(crds.KINDS)
        if str(data["apiVersion"]).startswith("ray.io/"):
            document.error(("kind",), f"is {data['kind']!r}, allowed is {kinds}")
        else:
            document.add("note", (), f"{data['kind']} is no kind of KubeRay's and was not checked")
    elif "cluster_name" in data or "provider" in data:
        check_ray_up(document)
        document.add("note", (), "ray up file validated against Ray's schema; never started by us")
    else:
        document.error(
            (),
            "is neither a `ray up` file (cluster_name, provider) nor a manifest (apiVersion, kind): give one of them",
        )
