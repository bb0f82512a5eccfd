"""The Ray Serve application: one ingress that answers HTTP, and replicas that draw.

`build` is what `serve run` and a RayService manifest import: `fewgood_serve.app:build`, its arguments being `ServeSettings`.
The ingress is one process on purpose: it draws nothing, and so rates, the bounded queue, jobs and metrics are exact.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from fewgood.errors import FewgoodError
from fewgood.store import Home
from fewgood_serve.api import make_api
from fewgood_serve.dispatch import Answer, Call, Lost
from fewgood_serve.names import Reference
from fewgood_serve.painter import Wanted
from fewgood_serve.replica import Replica
from fewgood_serve.service import Service
from fewgood_serve.settings import ServeSettings, settings_from

__all__ = ["INGRESS", "REPLICA", "Ingress", "application", "build"]

INGRESS = "ingress"
REPLICA = "generator"


@serve.ingress()
class Ingress:
    """Answers HTTP; `serve.ingress` asks for its routes when a replica of it starts."""

    def __init__(self, settings: dict[str, Any], replicas: DeploymentHandle) -> None:
        """Put the service together.

        Args:
            settings: `ServeSettings` as plain JSON.
            replicas: Serve's handle of the deployment that draws.
        """
        made = ServeSettings.model_validate(settings)
        self._service = Service(made, _calls(replicas), log=Path(made.home) / "serve" / "requests.log")

    def __serve_build_asgi_app__(self) -> FastAPI:
        return make_api(self._service)

    async def drain(self) -> None:
        """Take no new request; comes back when those in progress are answered."""
        await self._service.drain()


def build(arguments: dict[str, Any]) -> serve.Application:
    """The application of a Serve configuration file; host and port are the file's own.

    Args:
        arguments: Fields of `ServeSettings`; `home` defaults to `FEWGOOD_HOME`.

    Raises:
        SpecError: naming the first argument that is not allowed.
    """
    home = Home.locate(Path(arguments["home"]) if arguments.get("home") else None, arguments.get("store"))
    return application(settings_from(**{**arguments, "home": str(home.root), "store": home.store, "cluster": True}))


def application(settings: ServeSettings) -> serve.Application:
    """The application of these settings."""
    document = settings.model_dump(mode="json")
    minimum = settings.replicas if settings.min_replicas is None else settings.min_replicas
    scale: dict[str, Any] = {"num_replicas": settings.replicas}
    if minimum < settings.replicas:
        scale = {
            "autoscaling_config": {
                "min_replicas": minimum,
                "max_replicas": settings.replicas,
                "initial_replicas": minimum,
                "target_ongoing_requests": settings.rows,
                # A new replica loads for some seconds: it is worth it for a load that lasts, and kept through a short lull.
                "upscale_delay_s": 5.0,
                "downscale_delay_s": 120.0,
            }
        }
    replica = serve.deployment(
        Replica,
        name=REPLICA,
        max_ongoing_requests=settings.per_replica,
        health_check_period_s=10.0,
        health_check_timeout_s=40.0,
        graceful_shutdown_timeout_s=30.0,
        ray_actor_options={
            "num_cpus": settings.threads,
            "num_gpus": settings.gpus,
            "runtime_env": {"env_vars": {**_environment(), "OMP_NUM_THREADS": str(settings.threads)}},
        },
        **scale,
    )
    front = serve.deployment(
        Ingress,
        name=INGRESS,
        num_replicas=1,
        # More than may be in progress: what is too much is refused with a reason, not left waiting.
        max_ongoing_requests=settings.limits.requests + 256,
        max_queued_requests=1024,
        graceful_shutdown_timeout_s=settings.limits.request_seconds,
        ray_actor_options={"num_cpus": 0, "runtime_env": {"env_vars": _environment()}},
    )
    return front.bind(document, replica.bind(document))


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM") if name in os.environ}


def _calls(handle: DeploymentHandle) -> Call:
    async def call(reference: Reference, wanted: Wanted) -> Answer:
        response = handle.options(multiplexed_model_id=str(reference)).draw.remote(wanted)
        try:
            drawn, rows = await response
        except RayTaskError as error:
            cause = error.cause
            if isinstance(cause, FewgoodError):
                raise cause from error
            raise Lost(f"{type(cause).__name__}: {cause}") from error
        except (RayActorError, RayServeException, RayError) as error:
            raise Lost(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
        except BaseException:
            response.cancel()
            raise
        return Answer(drawn, rows)

    return call
