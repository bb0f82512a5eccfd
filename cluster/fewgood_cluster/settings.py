"""What the templates are rendered with: names, addresses and sizes, each checked, so that no value can break out of its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fewgood.errors import SpecError

__all__ = ["Settings", "settings_from"]


def _pinned(image: str) -> str:
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    if "@sha256:" not in image and tag in ("", "latest"):
        raise ValueError(
            "allowed is an image with a tag other than latest, or a digest, e.g. registry.example.com/fewgood:1.0"
        )
    return image


def _name(pattern: str, allowed: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"allowed is {allowed}")
        return value

    return AfterValidator(check)


_Label = Annotated[
    str,
    _name(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?", "a name of up to 42 small letters, digits and hyphens, a letter first"),
]
_Host = Annotated[str, _name(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,252}[A-Za-z0-9])?", "a host's name or address")]
_Id = Annotated[str, _name(r"[a-z]+-[0-9a-f]+", "an id of AWS, e.g. subnet-0123456789abcdef0")]


class Settings(BaseModel):
    """What a user may choose. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Label = "fewgood"
    image: Annotated[
        str,
        _name(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}", "an image's name with a tag or a digest"),
        AfterValidator(_pinned),
    ]
    store: Annotated[
        str,
        _name(
            r"(s3|gs|abfs|hdfs)://[A-Za-z0-9][A-Za-z0-9._/:?&=%@+~-]*",
            "a URL that every host reaches, e.g. s3://BUCKET/fewgood",
        ),
    ]
    credentials: _Label = "fewgood-store"
    """The Kubernetes Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""
    namespace: _Label = "default"
    region: Annotated[str, _name(r"[a-z0-9-]{2,32}", "a region's name, e.g. eu-central-1")] = "us-east-1"
    workers: int = Field(default=2, ge=1, le=1000)
    gpus: int = Field(default=0, ge=0, le=1000)
    """Workers with one GPU each."""
    cpus: int = Field(default=4, ge=1, le=1024)
    """CPUs of a worker."""
    memory: Annotated[str, _name(r"[1-9][0-9]*(Mi|Gi|Ti)", "a size such as 16Gi")] = "16Gi"
    data_claim: _Label | None = None
    """A PersistentVolumeClaim with the datasets, mounted at /data."""
    head_host: _Host = "10.0.0.10"
    worker_hosts: tuple[_Host, ...] = Field(default=("10.0.0.11", "10.0.0.12"), min_length=1)
    host_folder: Annotated[str, _name(r"/[A-Za-z0-9._/-]+", "an absolute path without blanks")] = "/var/lib/fewgood"
    ssh_user: Annotated[str, _name(r"[a-z_][a-z0-9_-]{0,31}", "a user's name")] = "ubuntu"
    subnet: _Id | None = None
    security_group: _Id | None = None
    study: str = ""
    """The text of a study for the RayJob; empty takes an example on the embedded sample."""

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        hosts = (self.head_host, *self.worker_hosts)
        if len(set(hosts)) != len(hosts):
            raise ValueError(f"the hosts {', '.join(hosts)} name one twice")
        if self.study:
            try:
                fields = yaml.safe_load(self.study)
            except yaml.YAMLError as error:
                raise ValueError(f"the study is no YAML ({' '.join(str(error).split())})") from error
            if not isinstance(fields, dict):
                raise ValueError("the study is no mapping: give the YAML file of a study")
        return self


def settings_from(given: Mapping[str, Any]) -> Settings:
    """Settings from flags; what is None is left out.

    Raises:
        SpecError: with the flag, the value, and what is allowed.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        where = str(first["loc"][0]).replace("_", "-").replace("worker-hosts", "worker-host") if first["loc"] else ""
        value = f"--{where} is {first['input']!r}: " if where else ""
        raise SpecError(f"{value}{said}") from error
