"""The calls about webhooks. All need the scope `webhooks:write`, for a URL may be a secret in itself (Slack's are)."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api import pagination
from runaudit_service.api.auth import Caller, key_with
from runaudit_service.api.bodies import documented, read_json
from runaudit_service.api.errors import NotFoundError, responses
from runaudit_service.api.resources import Resources, Shared
from runaudit_service.api.webhooks.repository import WebhookRepository
from runaudit_service.api.webhooks.representations import delivery_bodies, delivery_body
from runaudit_service.api.webhooks.schemas import (
    DeliveryBody,
    DeliveryFilter,
    DeliveryList,
    NewWebhookBody,
    RedeliveryBody,
    RedeliveryRequest,
    WebhookBody,
    WebhookChange,
    WebhookList,
    WebhookRequest,
)
from runaudit_service.api.webhooks.service import Webhook, WebhookService, no_webhook

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

Owner = Annotated[Caller, key_with("webhooks:write")]
_UUID: Final[dict[str, Any]] = {"format": "uuid"}


async def _webhook_id(webhook_id: Annotated[str, Path(json_schema_extra=_UUID)]) -> uuid.UUID:
    try:
        return uuid.UUID(webhook_id)
    except ValueError:
        raise NotFoundError("There is no webhook with this id.", code="webhook_not_found") from None


async def _delivery_id(delivery_id: Annotated[str, Path(json_schema_extra=_UUID)]) -> uuid.UUID:
    try:
        return uuid.UUID(delivery_id)
    except ValueError:
        raise NotFoundError("There is no delivery with this id.", code="delivery_not_found") from None


WebhookId = Annotated[uuid.UUID, Depends(_webhook_id)]
DeliveryId = Annotated[uuid.UUID, Depends(_delivery_id)]


@router.get("", operation_id="list_webhooks", summary="All webhooks", responses=responses(401, 403, 503))
async def list_webhooks(caller: Owner, shared: Shared) -> WebhookList:
    """Without their secrets, oldest first, disabled ones too."""
    async with shared.database.reading() as session:
        found = await WebhookRepository(session, caller.tenant_id).all()
    return WebhookList(items=[_body(Webhook(*row)) for row in found])


@router.post(
    "",
    operation_id="create_webhook",
    summary="Be told of audits",
    status_code=201,
    openapi_extra=documented(WebhookRequest),
    responses=responses(400, 401, 403, 404, 409, 413, 415, 422, 503),
)
async def create_webhook(caller: Owner, shared: Shared, request: Request) -> NewWebhookBody:
    """Messages are signed by the Standard Webhooks specification; the answer shows the secret this once."""
    wanted = await read_json(request, WebhookRequest)
    async with shared.database.transaction() as session:
        webhook = await _service(shared, session, caller).create(wanted)
    return _with_secret(webhook)


@router.patch(
    "/{webhook_id}",
    operation_id="change_webhook",
    summary="Change a webhook",
    openapi_extra=documented(WebhookChange),
    responses=responses(400, 401, 403, 404, 413, 415, 422, 503),
)
async def change_webhook(caller: Owner, webhook_id: WebhookId, shared: Shared, request: Request) -> WebhookBody:
    """What is left out stays. `enabled: true` takes back one that was disabled; what it missed can be redelivered."""
    wanted = await read_json(request, WebhookChange)
    async with shared.database.transaction() as session:
        webhook = await _service(shared, session, caller).change(webhook_id, wanted)
    return _body(webhook)


@router.delete(
    "/{webhook_id}",
    operation_id="delete_webhook",
    summary="Delete a webhook",
    status_code=204,
    responses=responses(401, 403, 404, 503),
)
async def delete_webhook(caller: Owner, webhook_id: WebhookId, shared: Shared) -> None:
    """Its deliveries go with it; nothing more is sent, but for what is on its way at this moment."""
    async with shared.database.transaction() as session:
        await _service(shared, session, caller).delete(webhook_id)


@router.post(
    "/{webhook_id}/ping",
    operation_id="ping_webhook",
    summary="Try a webhook out",
    status_code=202,
    responses=responses(401, 403, 404, 409, 503),
)
async def ping_webhook(caller: Owner, webhook_id: WebhookId, shared: Shared) -> DeliveryBody:
    """Sends an event of the type `ping`, once. Its delivery tells what came back."""
    async with shared.database.transaction() as session:
        delivery = await _service(shared, session, caller).ping(webhook_id)
    return delivery_body(delivery, [])


@router.post(
    "/{webhook_id}/rotate-secret",
    operation_id="rotate_webhook_secret",
    summary="Give a webhook a new secret",
    responses=responses(401, 403, 404, 503),
)
async def rotate_webhook_secret(caller: Owner, webhook_id: WebhookId, shared: Shared) -> NewWebhookBody:
    """The answer shows it this once. For 24 hours each message carries two signatures, with the new and the old one."""
    async with shared.database.transaction() as session:
        webhook = await _service(shared, session, caller).rotate_secret(webhook_id)
    return _with_secret(webhook)


@router.get(
    "/{webhook_id}/deliveries",
    operation_id="list_webhook_deliveries",
    summary="What was delivered",
    responses=responses(401, 403, 404, 422, 503),
)
async def list_webhook_deliveries(
    caller: Owner, webhook_id: WebhookId, shared: Shared, wanted: Annotated[DeliveryFilter, Query()]
) -> DeliveryList:
    """Newest first, with their attempts, a page at a time: pass `next_page_token` as `page_token` until it is empty."""
    filters = wanted.model_dump(mode="json", exclude={"page_size", "page_token"}) | {"webhook": str(webhook_id)}
    size = min(wanted.page_size, pagination.MAX_PAGE_SIZE)
    after = pagination.decode(wanted.page_token, filters, caller.cursor_secret) if wanted.page_token else None
    async with shared.database.reading() as session:
        webhooks = WebhookRepository(session, caller.tenant_id)
        if await webhooks.get(webhook_id) is None:
            raise no_webhook(webhook_id)
        # One more than asked for tells whether there is a next page.
        found = await webhooks.deliveries(webhook_id, wanted, after, size + 1)
        attempts = await webhooks.attempts([delivery.id for delivery in found[:size]])
    token = ""
    if len(found) > size:
        last = found[size - 1]
        token = pagination.encode(pagination.Position(last.created_at, last.id), filters, caller.cursor_secret)
    return DeliveryList(items=delivery_bodies(found[:size], attempts), next_page_token=token)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    operation_id="redeliver",
    summary="Deliver again",
    status_code=202,
    responses=responses(401, 403, 404, 409, 503),
)
async def redeliver(caller: Owner, webhook_id: WebhookId, delivery_id: DeliveryId, shared: Shared) -> DeliveryBody:
    """The same message under the same id, from the beginning of the schedule, whatever came of it before."""
    async with shared.database.transaction() as session:
        delivery = await _service(shared, session, caller).redeliver(webhook_id, delivery_id)
        attempts = await WebhookRepository(session, caller.tenant_id).attempts([delivery_id])
    return delivery_body(delivery, attempts.get(delivery_id, []))


@router.post(
    "/{webhook_id}/redeliver",
    operation_id="redeliver_since",
    summary="Deliver again what failed",
    status_code=202,
    openapi_extra=documented(RedeliveryRequest),
    responses=responses(400, 401, 403, 404, 409, 413, 415, 422, 503),
)
async def redeliver_since(caller: Owner, webhook_id: WebhookId, shared: Shared, request: Request) -> RedeliveryBody:
    """All that failed or was skipped since a moment: what to do once a receiver is mended."""
    wanted = await read_json(request, RedeliveryRequest)
    async with shared.database.transaction() as session:
        count = await _service(shared, session, caller).redeliver_since(webhook_id, wanted.since)
    return RedeliveryBody(redelivered=count)


def _service(shared: Resources, session: AsyncSession, caller: Caller) -> WebhookService:
    return WebhookService(session, caller.tenant_id, shared.settings)


def _body(webhook: Webhook) -> WebhookBody:
    return WebhookBody.model_validate(_fields(webhook))


def _with_secret(webhook: Webhook) -> NewWebhookBody:
    return NewWebhookBody.model_validate(_fields(webhook) | {"secret": webhook.endpoint.secret})


def _fields(webhook: Webhook) -> dict[str, Any]:
    endpoint = webhook.endpoint
    own = {name: getattr(endpoint, name) for name in WebhookBody.model_fields if hasattr(endpoint, name)}
    return own | {"project": webhook.project, "enabled": endpoint.disabled_at is None}
