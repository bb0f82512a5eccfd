"""The HTTP interface: routes, and how errors are said. The service behind it does the work."""

# Annotations are evaluated here (no `annotations` import): FastAPI reads those of routes inside a function.

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

import fewgood
from fewgood.errors import FewgoodError, SpecError
from fewgood_serve.card import Card
from fewgood_serve.encoding import MEDIA_TYPES, Sent, encode
from fewgood_serve.guard import Guard
from fewgood_serve.keys import ALL, KeyRecord
from fewgood_serve.monitoring import CONTENT_TYPE
from fewgood_serve.problems import MEDIA_TYPE, Problem, ProblemDocument, problem_response
from fewgood_serve.schemas import GeneratorEntry, GeneratorList, ImagesRequest, JobList, JobRequest, JobState
from fewgood_serve.service import Series, Service

__all__ = ["make_api"]

_NAME = Path(description="NAME, NAME@latest or NAME@VERSION.", max_length=128)


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {status: {"description": "An error.", "content": content} for status in statuses}


_IMAGES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The images, as they are made.",
        "content": {
            "application/zip": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"schema": {"type": "object"}},
        },
        "headers": {
            "X-Generator-Version": {"schema": {"type": "string"}, "description": "The version that drew them."}
        },
    }
}


class _Stream(StreamingResponse):
    """A stream whose series is closed however the answer ends, also when it never began."""

    def __init__(self, series: Series, content: AsyncGenerator[bytes], **options: Any) -> None:
        super().__init__(content, **options)
        self._series, self._content = series, content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._content.aclose()
            await self._series.close()


def make_api(service: Service) -> FastAPI:
    """The application of one service; `service` runs as long as its lifespan."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    bearer = HTTPBearer(auto_error=False, description="A key that `fewgood keys add` made.")
    secured = [] if service.settings.no_auth else [Depends(bearer)]
    app = FastAPI(
        title="fewgood",
        version=fewgood.__version__,
        description="Good images of a part, made from a few good images. The same seed gives the same images.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(
        Guard,
        catalog=service.catalog,
        admission=service.admission,
        monitor=service.monitor,
        limits=service.limits,
        auth=not service.settings.no_auth,
    )
    _add_error_handlers(app, service)

    def key_of(request: Request) -> KeyRecord:
        key: KeyRecord = request.state.key
        return key

    Key = Annotated[KeyRecord, Depends(key_of)]

    @app.get("/v1/generators", dependencies=secured, responses=_problems(401, 503), tags=["generators"])
    async def generators(key: Key) -> GeneratorList:
        """The generators that the key may use."""
        entries = []
        for shelf in service.catalog.names():
            if not key.allows(shelf.name):
                continue
            latest = service.catalog.latest(shelf.name)
            card = None if latest is None else await service.catalog.card(service.catalog.resolve(shelf.name))
            entries.append(
                GeneratorEntry(
                    name=shelf.name,
                    latest=latest,
                    versions=list(shelf.versions),
                    prompt=None if card is None else card.prompt,
                    dataset=None if card is None else card.dataset,
                    category=None if card is None else card.category,
                    problem=service.catalog.problem(shelf.name),
                )
            )
        return GeneratorList(generators=entries)

    @app.get(
        "/v1/generators/{name}", dependencies=secured, responses=_problems(401, 403, 404, 422, 503), tags=["generators"]
    )
    async def card(name: Annotated[str, _NAME], key: Key) -> Card:
        """A generator's model card."""
        return await service.catalog.card(service.allowed(key, name))

    @app.post(
        "/v1/generators/{name}/images",
        dependencies=secured,
        responses={**_IMAGES, **_problems(401, 403, 404, 408, 413, 422, 429, 503, 504)},
        response_class=Response,
        tags=["generators"],
    )
    async def images(name: Annotated[str, _NAME], body: ImagesRequest, request: Request, key: Key) -> Response:
        """Draw images. The answer streams as they are made; with `select` it begins when all are drawn."""
        series = await service.images(key, name, body)
        request.state.log = {
            "generator": str(series.reference),
            "count": body.count,
            "seed": body.seed,
            "start": body.start,
        }
        deadline = asyncio.get_running_loop().time() + service.limits.request_seconds
        content = _timed(encode(_counted(series), body.format), deadline)
        try:
            first = await anext(content)
        except BaseException as error:
            await series.close()
            if isinstance(error, TimeoutError):
                raise Problem(
                    504,
                    "too-slow",
                    f"no image within {service.limits.request_seconds:g} s: ask for fewer, or POST /v1/jobs",
                ) from error
            raise
        name_of_file = f"{series.reference.name}-{series.reference.version}-{body.seed}.{body.format}"
        return _Stream(
            series,
            _resumed(first, content),
            media_type=MEDIA_TYPES[body.format],
            headers={
                "X-Generator": series.reference.name,
                "X-Generator-Version": str(series.reference.version),
                "Content-Disposition": f'attachment; filename="{name_of_file}"',
                "Cache-Control": "no-store",
            },
        )

    @app.post(
        "/v1/jobs",
        status_code=202,
        dependencies=secured,
        responses=_problems(401, 403, 404, 408, 413, 422, 429, 503),
        tags=["jobs"],
    )
    async def submit(body: JobRequest, key: Key, response: Response) -> JobState:
        """Have thousands of images drawn in the background."""
        state = await service.submit(key, body)
        response.headers["Location"] = f"/v1/jobs/{state.id}"
        return state

    @app.get("/v1/jobs", dependencies=secured, responses=_problems(401, 503), tags=["jobs"])
    async def jobs(key: Key) -> JobList:
        """The key's jobs, the newest first."""
        return JobList(jobs=service.jobs.of(key.id))

    Identity = Annotated[str, Path(max_length=64, description="A job's id.")]

    @app.get("/v1/jobs/{identity}", dependencies=secured, responses=_problems(401, 404, 422, 503), tags=["jobs"])
    async def job(identity: Identity, key: Key) -> JobState:
        """How far a job is."""
        return service.jobs.get(key.id, identity)

    @app.delete("/v1/jobs/{identity}", dependencies=secured, responses=_problems(401, 404, 422, 503), tags=["jobs"])
    async def cancel(identity: Identity, key: Key) -> JobState:
        """End a job; what it made is removed."""
        return await service.jobs.cancel(key.id, identity)

    @app.get(
        "/v1/jobs/{identity}/result",
        dependencies=secured,
        responses={**_IMAGES, **_problems(401, 404, 409, 422, 503)},
        response_class=Response,
        tags=["jobs"],
    )
    async def result(identity: Identity, key: Key) -> Response:
        """A finished job's images, in the order of their numbers."""
        state, content = await service.jobs.result(key.id, identity)
        headers = {
            "X-Generator": state.generator,
            "X-Generator-Version": str(state.version),
            "Content-Disposition": f'attachment; filename="{identity}.{state.request.format}"',
        }
        return StreamingResponse(content, media_type=MEDIA_TYPES[state.request.format], headers=headers)

    @app.get("/healthz", responses=_problems(503), tags=["operation"])
    async def healthz() -> dict[str, str]:
        """Draws an image, at most every few seconds."""
        await service.health()
        return {"status": "ok"}

    @app.get("/readyz", responses=_problems(503), tags=["operation"])
    async def readyz() -> dict[str, Any]:
        """Whether requests can be answered."""
        return {"status": "ok", "generators": len(service.ready())}

    @app.get(
        "/metrics",
        dependencies=secured,
        responses={
            200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
            **_problems(401, 403, 503),
        },
        response_class=Response,
        tags=["operation"],
    )
    async def metrics(key: Key) -> Response:
        """Requests, latency, batches, queue, images and errors, for a key of all generators."""
        if not key.allows(ALL):
            raise Problem(
                403, "not-for-all", "metrics are for keys of all generators: `fewgood keys add NAME --generators '*'`"
            )
        return Response(service.monitor.exposition(), headers={"Content-Type": CONTENT_TYPE})

    async def _counted(series: Series) -> AsyncGenerator[Sent]:
        started = asyncio.get_running_loop().time()
        first = True
        async for image in series:
            if first:
                service.monitor.first.observe(asyncio.get_running_loop().time() - started)
                first = False
            yield image

    _describe_problems(app)
    return app


async def _timed(content: AsyncGenerator[bytes], deadline: float) -> AsyncGenerator[bytes]:
    """The same, given up at a deadline of the event loop's clock."""
    try:
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    piece = await anext(content)
            except StopAsyncIteration:
                return
            yield piece
    finally:
        await content.aclose()


async def _resumed(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    try:
        yield first
        async for piece in rest:
            yield piece
    finally:
        await rest.aclose()


def _add_error_handlers(app: FastAPI, service: Service) -> None:
    def answer(request: Request, problem: Problem) -> Response:
        service.monitor.errors.labels(problem.kind).inc()
        return problem_response(problem, request.state.request_id)

    @app.exception_handler(Problem)
    async def on_problem(request: Request, error: Problem) -> Response:
        return answer(request, error)

    @app.exception_handler(FewgoodError)
    async def on_own(request: Request, error: FewgoodError) -> Response:
        if isinstance(error, SpecError):
            return answer(request, Problem(422, "not-meant", str(error)))
        return answer(request, Problem(503, "unavailable", str(error), retry_after=10))

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        return answer(request, Problem(422, "invalid", _first_error(error.errors())))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 400:  # FastAPI's word for a body that is no text
            return answer(request, Problem(422, "invalid", f"the body: {error.detail}"))
        kind = {404: "no-path", 405: "no-method"}.get(error.status_code, "refused")
        return answer(request, Problem(error.status_code, kind, str(error.detail), headers=dict(error.headers or {})))

    @app.exception_handler(Exception)
    async def on_fault(request: Request, error: Exception) -> Response:
        return answer(
            request,
            Problem(500, "internal", f"internal error ({type(error).__name__}): the server's log has it under this id"),
        )


def _first_error(errors: Any) -> str:
    first: Mapping[str, Any] = next(iter(errors), {})
    where = ".".join(str(part) for part in first.get("loc", ()) if part != "body") or "the body"
    return f"{where}: {first.get('msg', 'not valid')}"


def _describe_problems(app: FastAPI) -> None:
    """Put the error document into the OpenAPI document, and take FastAPI's own out."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = original()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
