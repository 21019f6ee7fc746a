"""The calls about resumable uploads."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.responses import Response

from runaudit_service.api.auth import Writer
from runaudit_service.api.bodies import documented, read_json
from runaudit_service.api.errors import responses
from runaudit_service.api.limits.quotas import storage_kept
from runaudit_service.api.resources import Shared
from runaudit_service.api.response_headers import TRY_AGAIN, location
from runaudit_service.api.uploads.errors import (
    COMPLETE_HEADER,
    LENGTH_HEADER,
    OFFSET_HEADER,
    UploadElsewhereError,
    UploadNotFoundError,
    UploadTooLongError,
    state_headers,
)
from runaudit_service.api.uploads.holding import held
from runaudit_service.api.uploads.receiving import receive
from runaudit_service.api.uploads.repository import UploadRepository
from runaudit_service.api.uploads.schemas import UploadBody, UploadRequest
from runaudit_service.api.uploads.sealing import seal
from runaudit_service.store.blobs import ArtifactTooLargeError

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])

LARGEST_OFFSET: Final = 2**63 - 1
"""what the database can hold, far beyond any upload"""
_STATE: Final[dict[str, Any]] = {
    OFFSET_HEADER: {"schema": {"type": "integer"}, "description": "bytes that have arrived and will not be lost"},
    LENGTH_HEADER: {"schema": {"type": "integer"}, "description": "bytes of the whole artifact"},
    COMPLETE_HEADER: {"schema": {"type": "string"}, "description": "`?1` once it can be audited, else `?0`"},
}
_BYTES: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


async def _upload_id(upload_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})]) -> uuid.UUID:
    """An id that is no UUID is an id that nothing has."""
    try:
        return uuid.UUID(upload_id)
    except ValueError:
        raise UploadNotFoundError("There is no upload with this id.") from None


UploadId = Annotated[uuid.UUID, Depends(_upload_id)]


@router.post(
    "",
    operation_id="create_upload",
    summary="Begin a resumable upload",
    status_code=201,
    response_model=UploadBody,
    openapi_extra=documented(UploadRequest),
    responses=responses(
        400,
        401,
        403,
        408,
        413,
        415,
        422,
        503,
        507,
        answers={
            201: {
                "description": "Begun",
                "headers": location("where to send the bytes") | _STATE,
            }
        },
    ),
)
async def create_upload(request: Request, caller: Writer, shared: Shared) -> Response:
    """For artifacts that are too large to be sent again when a connection breaks.

    Send the bytes by PATCH, then name the upload in `POST /v1/audits`. One that nobody comes back to is deleted.
    """
    wanted = await read_json(request, UploadRequest)
    limit = shared.settings.max_upload_bytes
    if wanted.length > limit:
        raise ArtifactTooLargeError(f"An artifact may have {limit} bytes at most (RUNAUDIT_MAX_UPLOAD_BYTES).")
    await asyncio.to_thread(shared.staging.require_room, wanted.length)
    limits = await shared.limits.of(caller.tenant_id)
    async with shared.database.transaction() as session, storage_kept(session, caller.tenant_id, limits):
        repository = UploadRepository(session, caller.tenant_id)
        upload = await repository.add(wanted.length, wanted.sha256, shared.settings.upload_expiry_seconds)
    body = UploadBody(id=upload.id, offset=0).model_dump_json()
    headers = {"Location": f"/v1/uploads/{upload.id}"} | state_headers(upload)
    return Response(body, 201, headers=headers, media_type="application/json")


@router.head(
    "/{upload_id}",
    operation_id="get_upload_offset",
    summary="How far an upload has come",
    response_class=Response,
    responses=responses(
        401, 403, 404, 503, answers={200: {"description": "Go on at Upload-Offset", "headers": _STATE}}
    ),
)
async def get_upload_offset(caller: Writer, upload_id: UploadId, shared: Shared) -> Response:
    """What is told here has arrived for good: send the bytes that follow it."""
    async with shared.database.reading() as session:
        upload = await UploadRepository(session, caller.tenant_id).get(upload_id)
    if upload is None:
        raise UploadNotFoundError(f"There is no upload {upload_id}.")
    return Response(status_code=200, headers=state_headers(upload))


@router.patch(
    "/{upload_id}",
    operation_id="append_to_upload",
    summary="Send bytes of an upload",
    status_code=204,
    response_class=Response,
    openapi_extra=_BYTES,
    responses=responses(
        400,
        401,
        403,
        404,
        408,
        409,
        413,
        422,
        503,
        507,
        answers={204: {"description": "Written; more may follow, or it is complete", "headers": _STATE}},
        problems_with={409: _STATE | TRY_AGAIN, 413: _STATE, 503: _STATE | TRY_AGAIN},
    ),
)
async def append_to_upload(
    request: Request,
    caller: Writer,
    upload_id: UploadId,
    shared: Shared,
    upload_offset: Annotated[
        int, Header(ge=0, le=LARGEST_OFFSET, description="the number of the first byte of this body, from 0")
    ],
) -> Response:
    """Send all that is missing, or some of it. If the connection breaks, HEAD tells how much has arrived.

    One request at a time: of two, one gets 409. With the last byte the artifact is checked against its digest, and can
    be audited.
    """
    settings, tenant_id = shared.settings, caller.tenant_id
    async with held(shared.database, tenant_id, upload_id, upload_offset) as hold:
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and upload_offset + int(announced) > hold.upload.length:
            raise UploadTooLongError(hold.upload)
        # Before anything is taken: pieces on two hosts that share no disk could never be put together.
        if hold.upload.received and not await asyncio.to_thread(shared.staging.has, upload_id):
            raise UploadElsewhereError(hold.upload)
        last = await receive(request.stream(), hold, shared.staging, settings.upload_expiry_seconds)
        if hold.upload.received == hold.upload.length:
            await seal(shared.database, tenant_id, hold, last, blobs=shared.blobs, staging=shared.staging)
    return Response(status_code=204, headers=state_headers(hold.upload))
