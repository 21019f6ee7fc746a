"""JSON bodies, read after the caller is known, within a limit."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header

from runaudit_service.api.errors import BodyTooLargeError, MediaTypeError, invalid_body

JSON_TYPE: Final = "application/json"
# Room for an `environment` with a log tail; far below what would hurt.
MAX_JSON_BYTES: Final = 1 << 20

Model = TypeVar("Model", bound=BaseModel)


def content_type(request: Request) -> tuple[str, dict[str, str]]:
    """The media type of the body, in lower case, and its parameters."""
    kind, parameters = parse_options_header(request.headers.get("content-type", ""))
    return kind.decode("latin-1").lower(), {
        name.decode("latin-1"): value.decode("latin-1") for name, value in parameters.items()
    }


async def read_json(request: Request, model: type[Model]) -> Model:
    """The body as `model`. Raises MediaTypeError, BodyTooLargeError, MalformedError and InvalidRequestError."""
    kind, _ = content_type(request)
    if kind != JSON_TYPE:
        raise MediaTypeError(f"Send the body as {JSON_TYPE}, not as {kind or 'something without a content type'}.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        require_json_size(len(body))
    return parse_json(bytes(body), model)


def require_json_size(size: int) -> None:
    """Raises BodyTooLargeError over the limit."""
    if size > MAX_JSON_BYTES:
        raise BodyTooLargeError(f"JSON of a request may have {MAX_JSON_BYTES} bytes at most.")


def parse_json(body: bytes, model: type[Model]) -> Model:
    """The JSON text as `model`. Raises MalformedError (no JSON) and InvalidRequestError (not what is asked for)."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid_body(error) from None


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of an endpoint that reads its body with `read_json`."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {JSON_TYPE: {"schema": schema}}}}
