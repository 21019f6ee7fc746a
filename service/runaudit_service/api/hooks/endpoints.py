"""The calls of other systems: MLflow's signed webhooks, and JSON with a bearer key."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, BackgroundTasks, Depends, Header, Query, Request, Security
from fastapi.responses import Response
from fastapi.security import APIKeyHeader
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.audits import sources
from runaudit_service.api.audits.schemas import AuditRequest
from runaudit_service.api.audits.service import AuditService, Submitted
from runaudit_service.api.auth import Writer
from runaudit_service.api.bodies import JSON_TYPE, documented, parse_json, read_json, require_json_size
from runaudit_service.api.database import act_for
from runaudit_service.api.errors import BodyTimeoutError, responses
from runaudit_service.api.hooks import signature
from runaudit_service.api.hooks.orders import is_test, order_of_event, order_of_version
from runaudit_service.api.hooks.repository import HookRepository, Receiver, receiver
from runaudit_service.api.hooks.schemas import GenericEvent, HookBody, MlflowEvent, ModelVersionCreated
from runaudit_service.api.idempotency import Answer, IdempotencyHeader, claimed
from runaudit_service.api.multipart import Submission
from runaudit_service.api.resources import Resources, Shared
from runaudit_service.api.response_headers import REPLAYED, TRY_AGAIN, location
from runaudit_service.api.webhooks.addresses import require_allowed

router = APIRouter(prefix="/v1/hooks", tags=["hooks"])

_MLFLOW_SIGNATURE: Final = APIKeyHeader(
    name=signature.SIGNATURE_HEADER,
    scheme_name="MlflowSignature",
    description="`v1,` and the HMAC-SHA256 of `delivery id.timestamp.body` in base64, by the project's signing secret",
    auto_error=False,
)
_ANSWERS: Final[dict[int, dict[str, Any]]] = {
    202: {"description": "An audit is queued", "headers": location("where the audit is")},
    200: {
        "description": "The same came before, or there is nothing to audit",
        "model": HookBody,
        "headers": location("where the audit is, if there is one"),
    },
}
_REPLAYED_ANSWERS: Final = {status: one | {"headers": one["headers"] | REPLAYED} for status, one in _ANSWERS.items()}


@dataclass(frozen=True)
class Signed:
    """The headers of a signed message. Id and time have their form, and the time is about now."""

    signature: str | None
    delivery_id: str
    timestamp: str


def _signed(
    given: Annotated[str | None, Security(_MLFLOW_SIGNATURE)] = None,
    delivery: Annotated[str | None, Header(alias=signature.DELIVERY_HEADER)] = None,
    timestamp: Annotated[str | None, Header(alias=signature.TIMESTAMP_HEADER)] = None,
) -> Signed:
    """Raises SignatureError, before anything of the body is read."""
    return Signed(given, *signature.require_recent(delivery, timestamp, time.time()))


@router.post(
    "/mlflow",
    operation_id="receive_mlflow",
    summary="MLflow tells of a model version",
    status_code=202,
    response_model=HookBody,
    openapi_extra=documented(MlflowEvent),
    responses=responses(400, 401, 413, 422, 429, 503, answers=_ANSWERS),
)
async def receive_mlflow(
    request: Request,
    shared: Shared,
    background: BackgroundTasks,
    signed: Annotated[Signed, Depends(_signed)],
    project: Annotated[
        uuid.UUID | None, Query(description="the id of the project to audit in; without it, the project `default`")
    ] = None,
) -> Response:
    """Audits the run behind a new model version, and tags the version with the verdict when the audit has ended.

    The address of a webhook in MLflow (3.3 or later) for the event `model_version.created`; its secret is the project's
    signing secret. A message that comes again leads to no second audit. Other events are taken and ignored.
    """
    body = await _read(request, shared.settings.body_idle_seconds)
    async with shared.database.overview() as session:
        found = await receiver(session, project)
    signature.require_signed(signed.signature, signed.delivery_id, signed.timestamp, body, _secrets(shared, found))
    assert found is not None  # noqa: S101 - there is no signature by the secret of no project
    act_for(found.tenant_id)
    limits = await shared.limits.of(found.tenant_id)
    request.state.rate_headers = await shared.rate.admit(found.tenant_id, limits.requests_per_minute)
    event = parse_json(body, MlflowEvent)
    if (event.entity, event.action) != ("model_version", "created"):
        return _answer(HookBody(outcome="ignored", audit_id=None, detail="Only new model versions are audited."))
    version = parse_json(body, ModelVersionCreated).data
    if is_test(version):
        return _answer(HookBody(outcome="ignored", audit_id=None, detail="The signature of this test is right."))
    order = order_of_version(version, found.name)
    path = await _checked(shared, order)
    async with shared.database.transaction() as session:
        hooks = HookRepository(session, found)
        if not await hooks.is_first(signed.delivery_id):
            audit_id = await hooks.audit_of(signed.delivery_id)
            return _answer(HookBody(outcome="repeated", audit_id=audit_id, detail="This message came before."))
        submitted = await _submitted(shared, session, found.tenant_id, order, path)
        audit_id = submitted.record.audit.id
        await hooks.led_to(signed.delivery_id, audit_id)
        await hooks.await_verdict(audit_id, version)
    detail = f"Audit of version {version.version} of {version.name}."
    return _queued(submitted, _body_of(submitted, detail), shared, background)


@router.post(
    "/generic",
    operation_id="receive_event",
    summary="Any system asks for an audit",
    status_code=202,
    response_model=HookBody,
    openapi_extra=documented(GenericEvent),
    responses=responses(
        *(400, 401, 403, 404, 409, 413, 415, 422, 429, 503), answers=_REPLAYED_ANSWERS, problems_with={409: TRY_AGAIN}
    ),
)
async def receive_event(
    request: Request,
    caller: Writer,
    shared: Shared,
    background: BackgroundTasks,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """For senders whose JSON can't be made to measure, such as automations of Weights & Biases.

    Takes the keys of a request for an audit that name a source by URL or digest; other plain values become labels. What
    can be written freely should rather post to `/v1/audits`.
    """
    async with claimed(shared.database, shared.direct, caller, "POST /v1/hooks/generic", idempotency_key) as claim:
        order = order_of_event(await read_json(request, GenericEvent))
        payload = hashlib.sha256(order.model_dump_json().encode()).hexdigest()
        replayed = claim.replay(payload)
        if replayed is not None:
            return replayed
        path = await _checked(shared, order)
        async with shared.database.transaction() as session:
            submitted = await _submitted(shared, session, caller.tenant_id, order, path)
            body = _body_of(submitted, "An audit of what the message names.")
            place = {"Location": f"/v1/audits/{body.audit_id}"}
            await claim.keep(session, payload, Answer(_status(submitted), place, body.model_dump_json()))
    return _queued(submitted, body, shared, background)


def _secrets(shared: Resources, found: Receiver | None) -> tuple[str, ...]:
    """What may have signed a message for this project: its own secrets, and the setting's where it is the default."""
    if found is None:
        return ()
    configured = shared.settings.mlflow_webhook_secret
    own = (configured.get_secret_value(),) if configured is not None and found.is_default else ()
    # Whoever leaves a secret empty has none, not one that everybody knows.
    return tuple(secret for secret in own + found.secrets if secret)


async def _checked(shared: Resources, order: AuditRequest) -> str | None:
    """The path of the data set, if it has one; refuses sources that this service does not take."""
    sources.require_one_source_each(order, Submission())
    sources.require_fetchable(order, shared.settings)
    if order.callback_url is not None:
        require_allowed(order.callback_url, shared.settings, "/callback_url")
    if order.data is None or order.data.path is None:
        return None
    return await asyncio.to_thread(sources.data_path, order.data.path, shared.settings.data_root_dirs)


async def _submitted(
    shared: Resources, session: AsyncSession, tenant_id: uuid.UUID, order: AuditRequest, path: str | None
) -> Submitted:
    """The audit that the order asks for, as `POST /v1/audits` makes it."""
    order = await sources.with_digests_of_uploads(session, tenant_id, order)
    service = AuditService(session, tenant_id, shared.blobs, shared.settings.max_attempts)
    submitted = await service.plan(order, {}, path, await shared.limits.of(tenant_id))
    await service.write(submitted)
    return submitted


def _body_of(submitted: Submitted, detail: str) -> HookBody:
    outcome: Literal["queued", "repeated"] = "repeated" if submitted.queue is None else "queued"
    return HookBody(outcome=outcome, audit_id=submitted.record.audit.id, detail=detail)


def _status(submitted: Submitted) -> int:
    return 200 if submitted.queue is None else 202


def _queued(submitted: Submitted, body: HookBody, shared: Resources, background: BackgroundTasks) -> Response:
    """The answer, with the bell to be rung after it."""
    response = _answer(body, _status(submitted))
    response.headers["Location"] = f"/v1/audits/{body.audit_id}"
    if submitted.queue is not None:
        background.add_task(shared.ring, submitted.queue)
        response.background = background
    return response


def _answer(body: HookBody, status: int = 200) -> Response:
    return Response(body.model_dump_json(), status, media_type=JSON_TYPE)


async def _read(request: Request, seconds: float) -> bytes:
    """The body as it was signed, byte by byte. Nobody is known yet, so all of it has the time of a pause in others.

    Raises BodyTooLargeError and BodyTimeoutError.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                require_json_size(len(body))
    except TimeoutError:
        raise BodyTimeoutError("The message did not come in time, whole.") from None
    return bytes(body)
