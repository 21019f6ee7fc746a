"""What the `callback_url` of an audit was told: the same as the deliveries of an endpoint, found by their audit."""

from __future__ import annotations

from fastapi import APIRouter

from runaudit_service.api.audits.endpoints import AuditId
from runaudit_service.api.audits.ids import no_audit
from runaudit_service.api.audits.repository import AuditRepository
from runaudit_service.api.errors import responses
from runaudit_service.api.resources import Shared
from runaudit_service.api.webhooks.endpoints import DeliveryId, Owner
from runaudit_service.api.webhooks.repository import WebhookRepository
from runaudit_service.api.webhooks.representations import delivery_bodies, delivery_body
from runaudit_service.api.webhooks.schemas import DeliveryBody, DeliveryList
from runaudit_service.api.webhooks.service import WebhookService

router = APIRouter(prefix="/v1/audits", tags=["webhooks"])


@router.get(
    "/{audit_id}/deliveries",
    operation_id="list_callback_deliveries",
    summary="What an audit's callbacks were told",
    responses=responses(401, 403, 404, 503),
)
async def list_callback_deliveries(caller: Owner, audit_id: AuditId, shared: Shared) -> DeliveryList:
    """Newest first, with their attempts. What endpoints were told of the audit is in their own logs."""
    async with shared.database.reading() as session:
        if await AuditRepository(session, caller.tenant_id).version(audit_id) is None:
            raise no_audit(audit_id)
        webhooks = WebhookRepository(session, caller.tenant_id)
        found = await webhooks.callback_deliveries(audit_id)
        attempts = await webhooks.attempts([delivery.id for delivery in found])
    return DeliveryList(items=delivery_bodies(found, attempts), next_page_token="")


@router.post(
    "/{audit_id}/deliveries/{delivery_id}/redeliver",
    operation_id="redeliver_callback",
    summary="Tell a callback again",
    status_code=202,
    responses=responses(401, 403, 404, 409, 503),
)
async def redeliver_callback(caller: Owner, audit_id: AuditId, delivery_id: DeliveryId, shared: Shared) -> DeliveryBody:
    """The same message under the same id, from the beginning of the schedule, whatever came of it before."""
    async with shared.database.transaction() as session:
        delivery = await WebhookService(session, caller.tenant_id, shared.settings).redeliver_callback(
            audit_id, delivery_id
        )
        attempts = await WebhookRepository(session, caller.tenant_id).attempts([delivery_id])
    return delivery_body(delivery, attempts.get(delivery_id, []))
