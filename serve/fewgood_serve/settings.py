"""How a server is set up: what it listens on, what it allows, and how it uses the hardware."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fewgood.embedding.base import OFFLINE_MODEL
from fewgood.errors import SpecError

__all__ = ["Limits", "ServeSettings", "is_loopback", "settings_from"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Part):
    """What one request and all of them together may ask for."""

    count: int = Field(256, ge=1, description="Images of one request; more are a job.")
    job_count: int = Field(20_000, ge=1, description="Images of one job.")
    pixels: int = Field(64_000_000, ge=1, description="Pixels of all images of one request.")
    body_bytes: int = Field(16_384, ge=256, description="Bytes of a request's body.")
    body_seconds: float = Field(10.0, gt=0, description="Seconds in which a request's body must have arrived.")
    request_seconds: float = Field(300.0, gt=0, description="Seconds after which a request is given up.")
    image_seconds: float = Field(60.0, gt=0, description="Seconds in which a replica must have drawn one image.")
    queued_images: int = Field(2_048, ge=1, description="Images that requests in progress may wait for, together.")
    requests: int = Field(256, ge=1, description="Requests in progress.")
    requests_per_minute: int = Field(6_000, ge=1, description="Requests of one key.")
    images_per_minute: int = Field(60_000, ge=1, description="Images of one key.")
    jobs: int = Field(16, ge=1, description="Jobs that wait or run.")
    jobs_per_key: int = Field(8, ge=1, description="Jobs of one key that wait or run.")
    job_hours: float = Field(24.0, gt=0, description="Hours that a finished job's result is kept.")


class ServeSettings(_Part):
    """A server."""

    home: str = Field(description="The home folder: image-text model, copies of bundles.")
    store: str | None = Field(None, description="The store that homes share.")
    registry: str | None = Field(None, description="The registry; the home's or store's without it.")
    keys: str | None = Field(None, description="The file of API keys; the home's or store's without it.")
    no_auth: bool = Field(False, description="Answer without a key: on loopback only.")
    host: str = "127.0.0.1"
    port: int = Field(8008, ge=1, le=65535)
    tls_cert: str | None = None
    tls_key: str | None = None
    replicas: int = Field(1, ge=1, le=1024, description="Replicas that draw, at most.")
    min_replicas: int | None = Field(
        None, ge=1, description="Replicas that are kept when there is nothing to do; all without it."
    )
    threads: int = Field(1, ge=1, description="Threads of a replica: part of what fixes an image's bytes.")
    rows: int = Field(
        1, ge=1, le=64, description="Images per pass through the networks: part of what fixes an image's bytes."
    )
    gpus: float = Field(0.0, ge=0, description="GPUs of a replica.")
    embeddings: list[str] = Field(
        default_factory=lambda: [OFFLINE_MODEL],
        description="Image-text models that bundles may name, as MODEL or MODEL:PRETRAINED.",
    )
    batch_wait_ms: float = Field(5.0, ge=0, description="How long a pass waits for more images, with rows above 1.")
    models: int = Field(4, ge=1, description="Generators that a replica keeps loaded.")
    poll_seconds: float = Field(1.0, gt=0, description="How often registry and keys are looked at.")
    cluster: bool = Field(False, description="The cluster's own Serve configuration says host and port.")
    limits: Limits = Field(default_factory=lambda: Limits.model_validate({}))

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key go together")
        for flag, path in (("--tls-cert", self.tls_cert), ("--tls-key", self.tls_key)):
            if path is not None and not Path(path).is_file():
                raise ValueError(f"{flag} {path} is no file")
        if self.no_auth and (self.cluster or not is_loopback(self.host)):
            where = "the cluster" if self.cluster else self.host
            raise ValueError(f"--no-auth answers everybody who reaches {where}: it is for loopback only")
        if self.min_replicas is not None and self.min_replicas > self.replicas:
            raise ValueError(f"--min-replicas is {self.min_replicas}, more than --replicas {self.replicas}")
        return self

    @property
    def in_flight(self) -> int:
        """Images that are with replicas at once: enough to keep all of them busy, few enough to stay fair."""
        return self.replicas * self.per_replica

    @property
    def per_replica(self) -> int:
        """Images that one replica has at once: a pass in work and the next one ready."""
        return 2 * self.rows


def settings_from(**values: object) -> ServeSettings:
    """The settings of these values; None stands for the default.

    Raises:
        SpecError: naming the first value that is not allowed.
    """
    try:
        return ServeSettings.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the server's settings"
        raise SpecError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
