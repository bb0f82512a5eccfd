"""The check of a `ray up` file: Ray's own schema and preparation, then our rules on tokens, addresses, image and store."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fewgood_cluster.documents import Document, Key
from fewgood_cluster.rules import (
    CLIENT_PORT,
    DASHBOARD_PORT,
    EVERYWHERE,
    GCS_PORT,
    check_image,
    check_secret,
    check_store,
)

__all__ = ["check_ray_up"]

_STARTS = ("head_start_ray_commands", "worker_start_ray_commands")
_REFUSALS = (ValueError, RuntimeError, ImportError, AssertionError, AttributeError, KeyError, TypeError)
"""What Ray raises at a file that its schema lets pass and that it cannot use."""

_EVERY_ADDRESS = ("0.0.0.0", "::", "[::]", "''", '""')  # noqa: S104 - these are what is refused


def check_ray_up(document: Document) -> None:
    """Check a `ray up` file; what is found is in `document.findings`."""
    if _schema(document):
        _prepared(document)
    for name in _STARTS:
        _start(document, name)
    _images(document)
    _token_file(document)
    _security_group(document)
    for key, text in _texts(document.data):
        check_secret(document, key, text)


def _schema(document: Document) -> bool:
    """Hold the file against the schema that Ray carries."""
    import importlib.resources
    import json

    from jsonschema import Draft7Validator

    schema = json.loads(importlib.resources.files("ray.autoscaler").joinpath("ray-schema.json").read_text())
    errors = list(Draft7Validator(schema).iter_errors(document.data))
    for error in errors:
        key: Key = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            allowed = sorted({*error.schema.get("properties", {})})
            for name in sorted(set(map(str, error.instance)) - set(allowed)):
                document.error((*key, name), f"unknown field, allowed is {', '.join(allowed)}")
        else:
            document.error(key, f"Ray's schema refuses it: {' '.join(error.message.split())[:300]}")
    return not errors


def _prepared(document: Document) -> None:
    """Let Ray fill in its defaults and validate the outcome, as `ray up` does before it asks any provider."""
    from click import ClickException
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    logger = logging.getLogger("ray.autoscaler")
    level, logger.level = logger.level, logging.CRITICAL + 1
    try:
        validate_config(prepare_config(copy.deepcopy(document.data)))
    except (ClickException, ValidationError, *_REFUSALS) as error:
        said = error.message if isinstance(error, (ClickException, ValidationError)) else str(error)
        document.error(("provider",), f"Ray refuses it: {' '.join(said.split())[:300]}")
    finally:
        logger.setLevel(level)


def _start(document: Document, name: str) -> None:
    """The commands that start Ray on the head, or on a worker."""
    starts = [
        (position, command)
        for position, command in enumerate(document.items((name,)))
        if isinstance(command, str) and "ray start" in command
    ]
    if not starts:
        document.error(
            (name,),
            "no `ray start` command: Ray's default has no token and shows the dashboard to everybody, give your own",
        )
    for position, command in starts:
        key: Key = (name, position)
        environment = " ".join([command, *_run_options(document, name)])
        if not re.search(r"\bRAY_AUTH_MODE=['\"]?token\b", environment):
            document.error(key, "authentication is off: put RAY_AUTH_MODE=token before `ray start`")
        host = re.search(r"--dashboard-host[= ](\S+)", command)
        if host and host.group(1) in _EVERY_ADDRESS:
            document.error(
                key,
                f"--dashboard-host={host.group(1)} shows the dashboard to everybody: give 127.0.0.1 and use `ray dashboard`",
            )
        check_store(document, key, [_assigned("FEWGOOD_STORE", environment)])


def _run_options(document: Document, name: str) -> list[str]:
    own = "head_run_options" if name.startswith("head") else "worker_run_options"
    return [str(word) for key in ("run_options", own) for word in document.items(("docker", key))]


def _assigned(name: str, text: str) -> str | None:
    found = re.search(rf"\b{name}=(?:'([^']*)'|\"([^\"]*)\"|(\S+))", text)
    return next((group for group in found.groups() if group), None) if found else None


def _images(document: Document) -> None:
    docker = document.mapping(("docker",))
    if not docker:
        document.warning(
            ("docker",), "no image is named: see to it that all hosts have the same fewgood, Python and Ray"
        )
        return
    named = [key for key in ("image", "head_image", "worker_image") if docker.get(key)]
    for key in named or ["image"]:
        check_image(document, ("docker", key), docker.get(key))


def _token_file(document: Document) -> None:
    mounted = any(str(target).endswith("/.ray/auth_token") for target in document.mapping(("file_mounts",)))
    named = any("RAY_AUTH_TOKEN_PATH=" in text or "RAY_AUTH_TOKEN=$" in text for _, text in _texts(document.data))
    if not mounted and not named:
        document.error(
            ("file_mounts",),
            "the hosts get no token: make one with `ray get-auth-token --generate`, and mount it: "
            "{~/.ray/auth_token: ~/.ray/auth_token}, or set RAY_AUTH_TOKEN_PATH",
        )


def _security_group(document: Document) -> None:
    provider = document.mapping(("provider",))
    if provider.get("type") != "aws":
        return
    names = document.mapping(("available_node_types",))
    configs = [document.mapping(("available_node_types", name, "node_config")) for name in names]
    if not configs or not all(config.get("SecurityGroupIds") or config.get("NetworkInterfaces") for config in configs):
        document.warning(
            ("provider",),
            "no SecurityGroupIds in every node_config: the group that Ray then makes opens SSH (22) to everybody",
        )
    if provider.get("use_internal_ips") is not True:
        document.warning(("provider", "use_internal_ips"), "is not true: hosts are reached at public addresses")
    group: Key = ("provider", "security_group", "IpPermissions")
    for position in range(len(document.items(group))):
        _open_rule(document, (*group, position))


def _open_rule(document: Document, key: Key) -> None:
    rule = document.mapping(key)
    ranges = [*document.items((*key, "IpRanges")), *document.items((*key, "Ipv6Ranges"))]
    sources = {str(item.get("CidrIp") or item.get("CidrIpv6")) for item in ranges if isinstance(item, Mapping)}
    if not sources & set(EVERYWHERE):
        return
    first, last = rule.get("FromPort", -1), rule.get("ToPort", -1)
    numbers = isinstance(first, int) and isinstance(last, int)
    every = str(rule.get("IpProtocol")) == "-1" or -1 in (first, last) or not numbers
    open_ports = [port for port in (DASHBOARD_PORT, CLIENT_PORT, GCS_PORT) if every or first <= port <= last]
    if open_ports:
        ports = ", ".join(map(str, open_ports))
        document.error(
            key, f"opens port {ports} to everybody: whoever holds the token runs code there, give your own network"
        )
    else:
        document.warning(key, f"opens ports {first} to {last} to everybody")


def _texts(value: Any, key: Key = ()) -> Iterator[tuple[Key, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, (*key, name))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _texts(item, (*key, position))
