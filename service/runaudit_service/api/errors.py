"""Errors of the API, and every error as an RFC 9457 problem document with a stable `code`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from runaudit.errors import RunauditError
from runaudit_service.api.response_headers import CHALLENGE, TRY_AGAIN, Headers

logger = logging.getLogger(__name__)

PROBLEM_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 5
REQUEST_ID_HEADER: Final = "X-Request-ID"
INSUFFICIENT_PRIVILEGE: Final = "42501"


class ProblemPlace(BaseModel):
    """One place that is wrong: a pointer into the request or the artifact, and what is wrong there."""

    pointer: str = Field(examples=["/policy/min_map50_95", "?page_size", "data.yaml:3"])
    detail: str


class Problem(BaseModel):
    """An RFC 9457 problem document. Tell problems apart by `code`; the other texts may change."""

    type: str = Field(examples=["https://runaudit.dev/problems/audit_not_found"])
    title: str
    status: int
    detail: str
    code: str = Field(examples=["audit_not_found"])
    errors: list[ProblemPlace] = Field(default=[], description="left out where there is nothing to point at")
    request_id: str = Field(default="", description="quote this when you ask for help")


class ApiError(RunauditError):
    """An error that only a client of the API can meet; `headers` go with the answer."""

    headers: Mapping[str, str] = {}


class AuthenticationError(ApiError):
    code = "unauthenticated"
    status = 401
    title = "A valid API key is needed"
    headers = {"WWW-Authenticate": 'Bearer realm="runaudit"'}


class ScopeError(ApiError):
    code = "insufficient_scope"
    status = 403
    title = "The API key may not do this"


class NotFoundError(ApiError):
    """Also the answer to an id that belongs to someone else."""

    code = "not_found"
    status = 404
    title = "There is no such thing here"


class ConflictError(ApiError):
    code = "conflict"
    status = 409
    title = "Not in this state"


class InFlightError(ConflictError):
    """The first request with the same Idempotency-Key has not been answered yet."""

    code = "idempotency_key_in_flight"
    headers = {"Retry-After": str(RETRY_SECONDS)}


class BodyTimeoutError(ApiError):
    """The client fell silent in the middle of its body; the connection is given up."""

    code = "body_timed_out"
    status = 408
    title = "Nothing came for too long"
    headers = {"Connection": "close"}


class NotAcceptableError(ApiError):
    code = "not_acceptable"
    status = 406
    title = "No such representation"


class MediaTypeError(ApiError):
    code = "unsupported_media_type"
    status = 415
    title = "The body's content type is not understood"


class MalformedError(ApiError):
    code = "malformed_body"
    status = 400
    title = "The body can't be read"


class BodyTooLargeError(ApiError):
    code = "body_too_large"
    status = 413
    title = "The body is too large"


class InvalidRequestError(ApiError):
    """A request that is well formed and still wrong; `places` says where, one entry a mistake."""

    code = "invalid_request"
    status = 422
    title = "The request is not valid"

    def __init__(
        self, detail: str, *, code: str | None = None, place: str | None = None, places: Sequence[ProblemPlace] = ()
    ) -> None:
        super().__init__(detail, code=code, place=place)
        self.places = places

    def problem(self) -> dict[str, Any]:
        body = super().problem()
        if self.places:
            body["errors"] = [place.model_dump() for place in self.places]
        return body


class UnavailableError(ApiError):
    code = "database_unavailable"
    status = 503
    title = "The service can't answer now"
    headers = {"Retry-After": str(RETRY_SECONDS)}


class NotReadyError(UnavailableError):
    """At least one of the parts that the service needs does not answer; `errors` names each."""

    code = "not_ready"

    def __init__(self, failed: Mapping[str, str]) -> None:
        super().__init__(f"Not ready: {', '.join(failed)}.")
        self.failed = failed

    def problem(self) -> dict[str, Any]:
        return super().problem() | {
            "errors": [{"pointer": part, "detail": detail} for part, detail in self.failed.items()]
        }


_HTTP_CODES: Final = {
    HTTPStatus.BAD_REQUEST: "malformed_body",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
}


def problem_response(request: Request, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer that carries a problem; the request's id is added here."""
    request_id = getattr(request.state, "request_id", "")
    # The middleware adds its headers to every answer but that to an unexpected error, which is made outside of it.
    common = {REQUEST_ID_HEADER: request_id, "Cache-Control": "no-store, private", "X-Content-Type-Options": "nosniff"}
    return JSONResponse(
        body | {"request_id": request_id},
        status_code=body["status"],
        media_type=PROBLEM_TYPE,
        headers=common | dict(headers or {}),
    )


def invalid(errors: Sequence[ErrorDetails], *, drop: int = 0) -> InvalidRequestError:
    """Pydantic's findings as one error. `drop`: how many leading parts of each location name no part of the input."""
    places = [ProblemPlace(pointer=_pointer(error["loc"][drop:]), detail=error["msg"]) for error in errors]
    sentence = "; ".join(f"{place.pointer}: {place.detail}" for place in places[:3])
    more = f" (and {len(places) - 3} more)" if len(places) > 3 else ""
    return InvalidRequestError(f"{sentence}{more}", places=places)


def invalid_body(error: ValidationError) -> ApiError:
    """What pydantic found wrong with a JSON body: not JSON at all, or JSON that says something impossible."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    if any(item["type"] == "json_invalid" for item in errors):
        return MalformedError(f"The body is no JSON: {errors[0]['msg']}.")
    return invalid(errors)


def responses(
    *statuses: int,
    answers: Mapping[int, dict[str, Any]] | None = None,
    problems_with: Mapping[int, Headers] | None = None,
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an endpoint for OpenAPI: its `answers`, and problems of these statuses.

    `problems_with`: headers of problems, beside those that each problem of its status has.
    """
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    headers = {401: CHALLENGE, 429: TRY_AGAIN, 503: TRY_AGAIN} | dict(problems_with or {})
    described: dict[int | str, dict[str, Any]] = {}
    described.update((answers or {}).items())
    # Whatever knows its caller counts it.
    for status in sorted({*statuses, 429} if 401 in statuses else statuses):
        described[status] = {"description": HTTPStatus(status).phrase, "content": content}
        if status in headers:
            described[status]["headers"] = headers[status]
    return described


def install(app: FastAPI) -> None:
    """Answer every error with a problem document."""
    app.add_exception_handler(RunauditError, _runaudit_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _disconnected)
    for kind in (OperationalError, InterfaceError, PoolTimeoutError, psycopg.OperationalError, psycopg.InterfaceError):
        app.add_exception_handler(kind, _database_error)
    app.add_exception_handler(Exception, _unexpected_error)


def _pointer(location: Sequence[int | str]) -> str:
    """`("body", "policy", "min_map50")` as `/policy/min_map50`, `("query", "wait")` as `?wait`."""
    match location:
        case ("query", *rest):
            return "?" + ".".join(str(part) for part in rest)
        case (("path" | "header" | "cookie") as where, *rest):
            return f"{where}:{'.'.join(str(part) for part in rest)}"
        case _:
            parts = [part for index, part in enumerate(location) if (index, part) != (0, "body")]
            return "/" + "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in parts)


async def _runaudit_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RunauditError)  # noqa: S101 - Starlette's types know only Exception
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.warning("%s: %s", error.error_code, error.detail, exc_info=error.__cause__)
    headers = error.headers if isinstance(error, ApiError) else None
    if headers is None and error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = {"Retry-After": str(RETRY_SECONDS)}
    return problem_response(request, error.problem(), headers)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return problem_response(request, invalid(error.errors()).problem())


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    phrase = HTTPStatus(error.status_code).phrase
    code = _HTTP_CODES.get(HTTPStatus(error.status_code), phrase.lower().replace(" ", "_").replace("-", "_"))
    # Starlette repeats the phrase where it has nothing to say; a person wants a sentence.
    detail = (
        error.detail if error.detail != phrase else f"{request.method} {request.url.path} is not part of this service."
    )
    problem = ApiError(detail, code=code).problem() | {"title": phrase, "status": error.status_code}
    return problem_response(request, problem, error.headers)


async def _database_error(request: Request, error: Exception) -> Response:
    refused = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(refused, psycopg.Error) and not _is_connection_trouble(refused):
        if refused.sqlstate == INSUFFICIENT_PRIVILEGE:
            logger.error(
                "the API may not use a table: has its migration called `tenancy.protect`? (docs/architecture.md)"
            )
        return await _unexpected_error(request, error)
    logger.warning("the database does not answer: %s", error)
    problem = UnavailableError("The database does not answer. Try again in a few seconds.")
    return problem_response(request, problem.problem(), problem.headers)


def _is_connection_trouble(error: psycopg.Error) -> bool:
    """Whether the server was away (no SQLSTATE, or a class that says so), not whether it refused a statement.

    Classes 08 (connection), 53 (out of resources), 55 (lock not available), 57 (operator intervention) and 40 (rolled
    back: deadlock) of PostgreSQL's appendix A are gone when one tries again.
    """
    state = error.sqlstate
    return state is None or state[:2] in {"08", "40", "53", "55", "57"}


async def _disconnected(request: Request, error: Exception) -> Response:
    """The client hung up in the middle of its body: nobody reads this answer, but the log keeps it apart."""
    return problem_response(request, MalformedError("The connection ended before the body did.").problem())


async def _unexpected_error(request: Request, error: Exception) -> Response:
    # Starlette raises it again after the answer, and the server logs it with its trace.
    problem = RunauditError("Something went wrong inside the service. The log has more under this request_id.")
    logger.error("request %s failed", getattr(request.state, "request_id", ""))
    return problem_response(request, problem.problem())
