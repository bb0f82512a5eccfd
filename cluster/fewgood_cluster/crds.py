"""KubeRay's published custom resource definitions as schemas: found, read, and held against a manifest."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from fewgood.errors import SpecError
from fewgood_cluster.documents import Document, Key

__all__ = ["KINDS", "check_manifest", "find_crds"]

KINDS = {"RayCluster": "rayclusters", "RayJob": "rayjobs", "RayService": "rayservices"}
"""The kinds that are checked, and the names under which their definitions are published."""

_SOURCE = "https://github.com/ray-project/kuberay, folder helm-chart/kuberay-operator/crds"
_ALLOWED = 12


def find_crds(given: Path | None, beside: Path) -> Path:
    """The folder of definitions: the given one, else `FEWGOOD_CRDS`, else `crds` beside the file.

    Raises:
        SpecError: if there is no such folder; it says what to download from where.
    """
    named = given or (Path(os.environ["FEWGOOD_CRDS"]) if os.environ.get("FEWGOOD_CRDS") else None)
    folder = named or beside.parent / "crds"
    if not folder.is_dir():
        raise SpecError(
            f"KubeRay's definitions are needed to check {beside} and {folder} is no folder: download "
            f"{', '.join(f'ray.io_{name}.yaml' for name in KINDS.values())} of your operator's version from {_SOURCE}, "
            "and name their folder with --crds or FEWGOOD_CRDS"
        )
    return folder


def check_manifest(document: Document, folder: Path) -> None:
    """Hold a manifest against its kind's definition; a field that the definition lacks is an error.

    Raises:
        SpecError: if the folder has no usable definition of the kind.
    """
    kind, version = document.data["kind"], str(document.data.get("apiVersion", ""))
    schemas = _schemas(folder / f"ray.io_{KINDS[kind]}.yaml")
    if version not in schemas:
        document.error(("apiVersion",), f"is {version!r}, allowed is {' or '.join(sorted(schemas))}")
        return
    for error in Draft202012Validator(schemas[version]).iter_errors(document.data):
        _report(document, error)


def _report(document: Document, error: ValidationError) -> None:
    key: Key = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        allowed = sorted(error.schema.get("properties", {}))
        for name in sorted(set(map(str, error.instance)) - set(allowed)):
            document.error((*key, name), f"unknown field, {_one_of(name, allowed)}")
    elif error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        document.error(key, f"lacks {', '.join(missing)}, which must be given")
    elif error.validator == "enum":
        document.error(key, f"is {error.instance!r}, allowed is {', '.join(map(str, error.validator_value))}")
    elif error.validator == "type":
        wanted = error.validator_value
        allowed_types = wanted if isinstance(wanted, str) else " or ".join(wanted)
        document.error(key, f"is {_shown(error.instance)}, allowed is a value of type {allowed_types}")
    else:
        document.error(key, f"is {_shown(error.instance)}, allowed is {error.validator} {error.validator_value}")


def _one_of(name: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(name, allowed, n=1)
    if near:
        return f"did you mean {near[0]}?"
    if not allowed:
        return "no field is allowed here"
    more = f" and {len(allowed) - _ALLOWED} more" if len(allowed) > _ALLOWED else ""
    return f"allowed is {', '.join(allowed[:_ALLOWED])}{more}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@cache
def _schemas(path: Path) -> Mapping[str, dict[str, Any]]:
    """A definition's versions as JSON schemas, by `apiVersion`."""
    try:
        definition = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        group, versions = definition["spec"]["group"], definition["spec"]["versions"]
        found = {f"{group}/{item['name']}": item["schema"]["openAPIV3Schema"] for item in versions if item["served"]}
    except FileNotFoundError as error:
        raise SpecError(f"{path} is missing: download it from {_SOURCE}") from error
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise SpecError(f"{path} is no custom resource definition ({error!r}): download it from {_SOURCE}") from error
    return {version: _top(schema) for version, schema in found.items()}


def _top(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A definition's own schema; `metadata` is Kubernetes' and has a name."""
    converted = _converted(schema)
    converted["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    converted["required"] = ["apiVersion", "kind", "metadata", "spec"]
    return converted


def _converted(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A structural OpenAPI v3 schema as a JSON schema that refuses what Kubernetes would drop in silence."""
    out = {key: value for key, value in schema.items() if not key.startswith("x-") and key not in _UNUSED}
    for key, value in _parts(schema):
        out[key] = value
    if schema.get("x-kubernetes-int-or-string"):
        out["type"] = ["integer", "string"]
        out.pop("anyOf", None)
    elif schema.get("nullable") and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    keeps = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
    if schema.get("type") == "object" and "additionalProperties" not in schema and not keeps:
        out["additionalProperties"] = False
    return out


_UNUSED = ("description", "default", "format", "nullable", "example", "externalDocs", "title")


def _parts(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if "properties" in schema:
        yield "properties", {name: _converted(part) for name, part in schema["properties"].items()}
    for key in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(key), Mapping):
            yield key, _converted(schema[key])
