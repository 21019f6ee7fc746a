"""The calls about audits."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from contextlib import AsyncExitStack
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, BackgroundTasks, Depends, Path, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.artifacts.refused import taken_back
from runaudit_service.api.audits import representations, sources
from runaudit_service.api.audits.glance import LOOKING, look
from runaudit_service.api.audits.ids import audit_id_of
from runaudit_service.api.audits.repository import AuditRecord
from runaudit_service.api.audits.schemas import AuditBody, AuditRequest, Role
from runaudit_service.api.audits.service import AuditService, Stored, Submitted
from runaudit_service.api.auth import Caller, Writer
from runaudit_service.api.bodies import JSON_TYPE, content_type, parse_json, read_json
from runaudit_service.api.errors import MediaTypeError, responses
from runaudit_service.api.idempotency import Answer, IdempotencyHeader, claimed
from runaudit_service.api.limits.quotas import storage_kept
from runaudit_service.api.multipart import MULTIPART_TYPE, Submission, read_submission
from runaudit_service.api.resources import Resources, Shared
from runaudit_service.api.response_headers import ASK_AGAIN, ETAG, REPLAYED, TRY_AGAIN, location
from runaudit_service.api.webhooks.addresses import require_allowed
from runaudit_service.store.blobs import BUFFER_BYTES

router = APIRouter(prefix="/v1/audits", tags=["audits"])

_AUDIT_HEADERS: Final = location("where the audit is") | ETAG | ASK_AGAIN
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            MULTIPART_TYPE: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "artifact": {
                            "type": "string",
                            "format": "binary",
                            "description": "an archive (zip, tar, tar.gz) with the run folder anywhere inside",
                        },
                        "data": {
                            "type": "string",
                            "format": "binary",
                            "description": "an archive with the data set: data.yaml, images, labels",
                        },
                        "request": {"$ref": "#/components/schemas/AuditRequest"},
                    },
                },
                "encoding": {"request": {"contentType": JSON_TYPE}},
            },
            JSON_TYPE: {"schema": {"$ref": "#/components/schemas/AuditRequest"}},
        },
    }
}


async def _audit_id(audit_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})]) -> uuid.UUID:
    """An id that is no UUID is an id that nothing has."""
    return audit_id_of(audit_id)


AuditId = Annotated[uuid.UUID, Depends(_audit_id)]


@router.post(
    "",
    operation_id="create_audit",
    summary="Audit a training run",
    status_code=202,
    response_model=AuditBody,
    openapi_extra=_BODY,
    responses=responses(
        400,
        401,
        403,
        404,
        409,
        413,
        415,
        422,
        503,
        507,
        answers={
            202: {"description": "Queued", "headers": _AUDIT_HEADERS | REPLAYED},
            200: {
                "description": "The same was audited before: that audit",
                "model": AuditBody,
                "headers": _AUDIT_HEADERS | REPLAYED,
            },
        },
        problems_with={409: TRY_AGAIN},
    ),
)
async def create_audit(
    request: Request,
    caller: Writer,
    shared: Shared,
    background: BackgroundTasks,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Send the run's archive as the file part `artifact`, or name one that you sent before, by its SHA-256 or by the
    upload that it came in by.

    The data set is a file part `data`, or is named in `request`, or lies in the run's archive; without any, only the
    curves are audited. The parts may come in any order.
    """
    async with AsyncExitStack() as stack:
        claim = await stack.enter_async_context(
            claimed(shared.database, shared.direct, caller, "POST /v1/audits", idempotency_key)
        )
        order, submission = await _read(request, shared, stack)
        payload = await _payload_fingerprint(order, submission)
        replayed = claim.replay(payload)
        if replayed is not None:
            return replayed
        path = None
        if order.data is not None and order.data.path is not None:
            path = await asyncio.to_thread(sources.data_path, order.data.path, shared.settings.data_root_dirs)
        secured = await stack.enter_async_context(taken_back(shared))
        stored: dict[Role, Stored] = {}
        for name, upload in submission.files.items():
            secured.append(await upload.writer.digest())
            role = cast("Role", "run" if name == "artifact" else name)
            stored[role] = Stored(await upload.writer.seal(), upload.file_name)
        if sources.names_what_is_here(order):
            # Before the transaction: a store that hangs must not keep the database's connections.
            await shared.blobs.reached()
        limits = await shared.limits.of(caller.tenant_id)
        async with shared.database.transaction() as session:
            async with storage_kept(session, caller.tenant_id, limits):
                order = await sources.with_digests_of_uploads(session, caller.tenant_id, order)
                service = _service(shared, session, caller)
                submitted = await service.plan(order, stored, path, limits)
            for upload in submission.files.values():
                await upload.writer.commit()
            answer = _answer(submitted)
            claim.require_kept(await service.write(submitted, claim.keeping(payload, answer)))
    return _queued(submitted, answer, shared, background)


@router.get(
    "/{audit_id}",
    operation_id="get_audit",
    summary="One audit",
    response_model=AuditBody,
    openapi_extra=LOOKING,
    responses=responses(
        401,
        403,
        404,
        422,
        503,
        answers={
            200: {
                "description": "The audit; a failed one tells why in `error`",
                "headers": ETAG | ASK_AGAIN,
            },
            304: {"description": "Unchanged since the version of If-None-Match", "headers": ETAG | ASK_AGAIN},
        },
    ),
)
async def get_audit(request: Request) -> Response:
    """State, progress and, at the end, the verdict. Poll it with If-None-Match, or wait with `?wait=`."""
    seen = await look(request)
    if representations.matches(request.headers.get("if-none-match"), seen.version, seen.project):
        return Response(status_code=304, headers=seen.headers)
    if seen.whole is None:
        seen = await seen.again()
    return _json(seen.body().model_dump_json(), 200, seen.headers)


@router.post(
    "/{audit_id}/cancel",
    operation_id="cancel_audit",
    summary="Stop an audit",
    status_code=202,
    responses=responses(401, 403, 404, 409, 503),
)
async def cancel_audit(caller: Writer, audit_id: AuditId, shared: Shared) -> AuditBody:
    """One that waits is cancelled at once; one that runs, when its worker next looks, within seconds."""
    async with shared.database.transaction() as session:
        record = await _service(shared, session, caller).cancel(audit_id)
    return representations.body_of(record)


@router.post(
    "/{audit_id}/rerun",
    operation_id="rerun_audit",
    summary="Audit the same again",
    status_code=202,
    response_model=AuditBody,
    responses=responses(401, 403, 404, 503, answers={202: {"description": "Queued", "headers": _AUDIT_HEADERS}}),
)
async def rerun_audit(caller: Writer, audit_id: AuditId, shared: Shared, background: BackgroundTasks) -> Response:
    """A new audit of the same artifacts with the same options; its `rerun_of` names the old one."""
    limits = await shared.limits.of(caller.tenant_id)
    async with shared.database.transaction() as session:
        service = _service(shared, session, caller)
        submitted = await service.plan_again(audit_id, limits)
        await service.write(submitted)
    return _queued(submitted, _answer(submitted), shared, background)


@router.delete(
    "/{audit_id}",
    operation_id="delete_audit",
    summary="Forget an audit",
    status_code=204,
    responses=responses(401, 403, 404, 409, 503),
)
async def delete_audit(caller: Writer, audit_id: AuditId, shared: Shared) -> None:
    """Its report goes with it. 409 while it runs: cancel it first."""
    async with shared.database.transaction() as session:
        await _service(shared, session, caller).delete(audit_id)


async def _read(request: Request, shared: Resources, stack: AsyncExitStack) -> tuple[AuditRequest, Submission]:
    """The order and the files of a request in either form."""
    kind, parameters = content_type(request)
    if kind == MULTIPART_TYPE and "boundary" in parameters:
        limit = shared.settings.max_upload_bytes
        written = request.headers.get("content-length", "")
        announced = int(written) if written.isdecimal() else 0
        # What the writer takes at once, it finds room for at once.
        if announced > BUFFER_BYTES:
            await asyncio.to_thread(shared.blobs.require_room, announced)
        submission = await read_submission(request, parameters["boundary"], shared.blobs, limit, stack)
        order = parse_json(submission.request or b"{}", AuditRequest)
    elif kind == JSON_TYPE:
        submission, order = Submission(), await read_json(request, AuditRequest)
    else:
        raise MediaTypeError(f"Send the run as {MULTIPART_TYPE} with a boundary, or name it as {JSON_TYPE}.")
    sources.require_one_source_each(order, submission)
    sources.require_fetchable(order, shared.settings)
    if order.callback_url is not None:
        require_allowed(order.callback_url, shared.settings, "/callback_url")
    return order, submission


async def _payload_fingerprint(order: AuditRequest, submission: Submission) -> str:
    """What tells two requests apart, whatever their boundaries and the order of their parts."""
    files = {name: await upload.writer.digest() for name, upload in submission.files.items()}
    same = json.dumps([order.model_dump(mode="json"), files], sort_keys=True)
    return hashlib.sha256(same.encode()).hexdigest()


def _service(shared: Resources, session: AsyncSession, caller: Caller) -> AuditService:
    return AuditService(session, caller.tenant_id, shared.blobs, shared.settings.max_attempts)


def _answer(submitted: Submitted) -> Answer:
    record: AuditRecord = submitted.record
    headers = representations.headers_of(record.audit.version, record.project, record.audit.state) | {
        "Location": f"/v1/audits/{record.audit.id}"
    }
    status = 200 if submitted.queue is None else 202
    return Answer(status, headers, representations.body_of(record).model_dump_json())


def _queued(submitted: Submitted, answer: Answer, shared: Resources, background: BackgroundTasks) -> Response:
    """The answer, with the bell to be rung after it: a broker that hangs keeps no client waiting."""
    response = _json(answer.body, answer.status, answer.headers)
    if submitted.queue is not None:
        background.add_task(shared.ring, submitted.queue)
        response.background = background
    return response


def _json(body: str, status: int, headers: Any) -> Response:
    return Response(body, status, headers=dict(headers), media_type=JSON_TYPE)
