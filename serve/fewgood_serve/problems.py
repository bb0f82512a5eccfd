"""Errors as the server says them: problem+json (RFC 9457), each with the request's id."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

__all__ = ["MEDIA_TYPE", "Problem", "ProblemDocument", "problem_response"]

MEDIA_TYPE = "application/problem+json"


class ProblemDocument(BaseModel):
    """An error."""

    type: str = Field(description="A URN that names the kind of error.")
    title: str
    status: int
    detail: str = Field(description="What was wrong, what is allowed and what to do.")
    request_id: str = Field(description="Also in the server's log.")


class Problem(Exception):
    """A request that is answered with an error."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, round(retry_after)))


def problem_response(problem: Problem, request_id: str) -> JSONResponse:
    """The answer to a request that failed."""
    document: dict[str, Any] = ProblemDocument(
        type=f"urn:fewgood:problem:{problem.kind}",
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        request_id=request_id,
    ).model_dump()
    headers = {**problem.headers, "X-Request-Id": request_id, "Cache-Control": "no-store"}
    return JSONResponse(document, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)
