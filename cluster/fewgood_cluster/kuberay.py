"""Our rules on KubeRay manifests: tokens, nothing public, pinned images, a shared store, requests, and no root."""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from fewgood_cluster.documents import Document, Key
from fewgood_cluster.rules import check_image, check_secret, check_store

__all__ = ["check_kuberay", "check_service", "found_in_installation"]

_CLUSTER: dict[str, Key] = {
    "RayCluster": ("spec",),
    "RayJob": ("spec", "rayClusterSpec"),
    "RayService": ("spec", "rayClusterConfig"),
}
_PUBLIC = ("LoadBalancer", "NodePort")
_FIRST_WITH_TOKENS = (2, 52)


def found_in_installation(module: str) -> bool:
    """Whether this installation has a module; nothing of it is run but its parents."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def check_kuberay(document: Document) -> None:
    """Check a RayCluster, RayJob or RayService; what is found is in `document.findings`."""
    kind = document.data["kind"]
    cluster = _CLUSTER[kind]
    if not isinstance(document.get(cluster), Mapping):
        if kind == "RayJob" and document.get(("spec", "clusterSelector")):
            document.warning(("spec", "clusterSelector"), "the job runs on a cluster that this file does not show")
        else:
            document.error(cluster, "no cluster is described here: give one")
        return
    _authentication(document, cluster)
    _public(document, cluster)
    pods = list(_pods(document, cluster))
    for pod in pods:
        _pod(document, pod)
    check_store(document, cluster, [_variable(document, pod, "FEWGOOD_STORE") for pod in pods])
    if kind == "RayJob":
        submitter: Key = ("spec", "submitterPodTemplate", "spec")
        for key, container in _containers(document, submitter):
            check_image(document, (*key, "image"), container.get("image"))
    if kind == "RayService":
        _served(document)


def check_service(document: Document) -> None:
    """Check a plain Service in the same file: it must not be public either."""
    _service_type(document, ("spec", "type"))


def _authentication(document: Document, cluster: Key) -> None:
    key = (*cluster, "authOptions", "mode")
    if document.get(key) != "token":
        document.error(
            key,
            f"authentication is off ({document.get(key)!r}): give authOptions: {{mode: token}} (KubeRay 1.5.1 or newer)",
        )
    version_key = (*cluster, "rayVersion")
    version = str(document.get(version_key) or "")
    parts = re.match(r"(\d+)\.(\d+)", version)
    if not parts or (int(parts[1]), int(parts[2])) < _FIRST_WITH_TOKENS:
        document.error(version_key, f"is {version or 'missing'}, tokens need the image's version here, 2.52.0 or newer")


def _public(document: Document, cluster: Key) -> None:
    _service_type(document, (*cluster, "headGroupSpec", "serviceType"))
    _service_type(document, (*cluster, "headGroupSpec", "headService", "spec", "type"))
    _service_type(document, ("spec", "serveService", "spec", "type"))
    ingress = (*cluster, "headGroupSpec", "enableIngress")
    if document.get(ingress) is True:
        document.error(
            ingress, "an ingress shows the dashboard outside the cluster: leave it out, use kubectl port-forward"
        )


def _service_type(document: Document, key: Key) -> None:
    if document.get(key) in _PUBLIC:
        document.error(key, f"is {document.get(key)}, which is reachable from outside: allowed is ClusterIP")


def _pods(document: Document, cluster: Key) -> Iterator[Key]:
    yield (*cluster, "headGroupSpec", "template", "spec")
    for position in range(len(document.items((*cluster, "workerGroupSpecs")))):
        yield (*cluster, "workerGroupSpecs", position, "template", "spec")


def _containers(document: Document, pod: Key) -> Iterator[tuple[Key, Mapping[str, Any]]]:
    for name in ("containers", "initContainers"):
        for position, item in enumerate(document.items((*pod, name))):
            if isinstance(item, Mapping):
                yield (*pod, name, position), item


def _pod(document: Document, pod: Key) -> None:
    if document.get((*pod, "hostNetwork")) is True:
        document.error((*pod, "hostNetwork"), "puts Ray's ports on the machine's own addresses: leave it out")
    pod_context = document.mapping((*pod, "securityContext"))
    for key, container in _containers(document, pod):
        check_image(document, (*key, "image"), container.get("image"))
        for position, port in enumerate(document.items((*key, "ports"))):
            if isinstance(port, Mapping) and port.get("hostPort"):
                where = (*key, "ports", position, "hostPort")
                document.error(where, "puts the port on the machine's own addresses: leave it out")
        for position, variable in enumerate(document.items((*key, "env"))):
            if isinstance(variable, Mapping) and variable.get("value"):
                assignment = f"{variable.get('name')}={variable['value']}"
                check_secret(document, (*key, "env", position, "value"), assignment)
        resources = document.mapping((*key, "resources"))
        if not (resources.get("requests") or resources.get("limits")):
            document.warning((*key, "resources"), "no requests: Ray takes all CPUs of the machine for its own")
        context = document.mapping((*key, "securityContext"))
        if not (context.get("runAsNonRoot") or pod_context.get("runAsNonRoot")):
            document.warning((*key, "securityContext"), "may run as root: give runAsNonRoot: true")


def _variable(document: Document, pod: Key, name: str) -> str | None:
    """A variable of a pod's first container, which is Ray's; one that comes from elsewhere is not known here."""
    for variable in document.items((*pod, "containers", 0, "env")):
        if isinstance(variable, Mapping) and variable.get("name") == name:
            return str(variable["value"]) if variable.get("value") else None
    return None


def _served(document: Document) -> None:
    """The applications of a RayService: a text of YAML in Serve's own schema, whose modules must exist in the image."""
    from pydantic import ValidationError

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # Ray Serve declares fields in a way that pydantic will drop
        from ray.serve.schema import ServeDeploySchema

    key: Key = ("spec", "serveConfigV2")
    try:
        served = ServeDeploySchema.model_validate(yaml.safe_load(str(document.get(key) or "")))
    except (ValidationError, yaml.YAMLError) as error:
        document.error(key, f"Serve's schema refuses it: {' '.join(str(error).split())[:300]}")
        return
    for application in served.applications:
        module, colon, _ = application.import_path.partition(":")
        module = module if colon else module.rpartition(".")[0]
        if not found_in_installation(module):
            document.warning(
                key,
                f"import_path {application.import_path}: this installation has no module {module}, "
                "so the service starts only where the image has it",
            )
