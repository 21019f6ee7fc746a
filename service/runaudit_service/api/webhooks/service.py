"""What happens to webhooks: made, changed, tried out, sent again. Flushes only; the endpoint commits."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.errors import ConflictError, NotFoundError
from runaudit_service.api.webhooks.addresses import require_allowed
from runaudit_service.api.webhooks.repository import WebhookRepository
from runaudit_service.api.webhooks.schemas import WebhookChange, WebhookRequest
from runaudit_service.store import signing
from runaudit_service.store.models import Project, new_id
from runaudit_service.store.settings import Settings
from runaudit_service.store.webhooks import PING, WebhookDelivery, WebhookEndpoint

# Each event of an audit writes a row for each; more endpoints than this are a program's mistake.
MAX_WEBHOOKS: Final = 100
PREVIOUS_SECRET_GRACE: Final = timedelta(hours=24)
"""how long messages carry a signature with the secret before a rotation as well"""


@dataclass(frozen=True)
class Webhook:
    """An endpoint with what its answer needs from other tables."""

    endpoint: WebhookEndpoint
    project: str | None


class WebhookService:
    """The webhooks of one tenant, inside the transaction of `session`."""

    def __init__(self, session: AsyncSession, tenant_id: uuid.UUID, settings: Settings) -> None:
        self._session = session
        self._settings = settings
        self._webhooks = WebhookRepository(session, tenant_id)

    async def create(self, wanted: WebhookRequest) -> Webhook:
        """A new endpoint with a secret. Raises UrlNotAllowedError, NotFoundError (the project) and ConflictError."""
        require_allowed(wanted.url, self._settings, "/url")
        project = await self._project(wanted.project)
        await self._webhooks.lock()
        if len(await self._webhooks.all()) >= MAX_WEBHOOKS:
            raise ConflictError(f"There are {MAX_WEBHOOKS} webhooks already. Delete some.", code="too_many_webhooks")
        endpoint = WebhookEndpoint(
            url=wanted.url,
            events=list(wanted.events),
            format=wanted.format,
            project_id=project.id if project else None,
            secret=signing.new_secret(),
        )
        await self._webhooks.add(endpoint)
        return Webhook(endpoint, wanted.project)

    async def change(self, webhook_id: uuid.UUID, wanted: WebhookChange) -> Webhook:
        """Change what is named, and enable or disable it. Raises UrlNotAllowedError and NotFoundError."""
        webhook = await self._get(webhook_id)
        endpoint, project, named = webhook.endpoint, webhook.project, wanted.model_fields_set
        if "url" in named:
            require_allowed(wanted.url, self._settings, "/url")
            endpoint.url = wanted.url
        if "events" in named:
            endpoint.events = list(wanted.events)
        if "format" in named:
            endpoint.format = wanted.format
        if "project" in named:
            found = await self._project(wanted.project)
            endpoint.project_id, project = (found.id, found.name) if found else (None, None)
        if "enabled" in named:
            await self._set_enabled(endpoint, wanted.enabled)
        await self._session.flush()
        return Webhook(endpoint, project)

    async def delete(self, webhook_id: uuid.UUID) -> None:
        """Remove it, with its deliveries. Raises NotFoundError."""
        await self._webhooks.delete((await self._get(webhook_id)).endpoint)

    async def rotate_secret(self, webhook_id: uuid.UUID) -> Webhook:
        """Give it a new secret; the one before signs too, for PREVIOUS_SECRET_GRACE. Raises NotFoundError."""
        webhook = await self._get(webhook_id)
        endpoint = webhook.endpoint
        endpoint.previous_secret, endpoint.secret = endpoint.secret, signing.new_secret()
        endpoint.previous_secret_expires_at = datetime.now(UTC) + PREVIOUS_SECRET_GRACE
        await self._session.flush()
        return webhook

    async def ping(self, webhook_id: uuid.UUID) -> WebhookDelivery:
        """A message that says nothing, to try it out: sent once. Raises NotFoundError, ConflictError if disabled."""
        endpoint = await self._enabled(webhook_id)
        delivery = WebhookDelivery(
            id=new_id(),
            endpoint_id=endpoint.id,
            message_id=f"msg_{new_id().hex}",
            type=PING,
            target=str(endpoint.id),
            occurred_at=datetime.now(UTC),
            next_attempt_at=datetime.now(UTC),
            snapshot={"webhook_id": str(endpoint.id)},
        )
        await self._webhooks.add_delivery(delivery)
        return delivery

    async def redeliver(self, webhook_id: uuid.UUID, delivery_id: uuid.UUID) -> WebhookDelivery:
        """Send it again, whatever came of it before. Raises NotFoundError and ConflictError."""
        await self._enabled(webhook_id)
        return await self._again(delivery_id, await self._webhooks.delivery(webhook_id, delivery_id))

    async def redeliver_callback(self, audit_id: uuid.UUID, delivery_id: uuid.UUID) -> WebhookDelivery:
        """The same for a callback of an audit. Raises NotFoundError and ConflictError."""
        return await self._again(delivery_id, await self._webhooks.callback_delivery(audit_id, delivery_id))

    async def redeliver_since(self, webhook_id: uuid.UUID, since: datetime) -> int:
        """Send all again that failed or was skipped since. Raises NotFoundError and ConflictError."""
        await self._enabled(webhook_id)
        return await self._webhooks.send_again_since(webhook_id, since)

    async def _again(self, delivery_id: uuid.UUID, delivery: WebhookDelivery | None) -> WebhookDelivery:
        if delivery is None:
            raise NotFoundError(f"There is no delivery {delivery_id}.", code="delivery_not_found")
        if delivery.state == "sending":
            raise ConflictError("The delivery is being sent at this moment.", code="delivery_being_sent")
        await self._webhooks.send_again(delivery)
        return delivery

    async def _get(self, webhook_id: uuid.UUID) -> Webhook:
        found = await self._webhooks.get(webhook_id, lock=True)
        if found is None:
            raise no_webhook(webhook_id)
        return Webhook(*found)

    async def _enabled(self, webhook_id: uuid.UUID) -> WebhookEndpoint:
        endpoint = (await self._get(webhook_id)).endpoint
        if endpoint.disabled_at is not None:
            raise ConflictError(
                'The webhook is disabled. Enable it first: PATCH it with {"enabled": true}.', code="webhook_disabled"
            )
        return endpoint

    async def _set_enabled(self, endpoint: WebhookEndpoint, enabled: bool) -> None:
        if enabled:
            endpoint.disabled_at = endpoint.disabled_reason = endpoint.failing_since = None
        elif endpoint.disabled_at is None:
            endpoint.disabled_at, endpoint.disabled_reason = datetime.now(UTC), "disabled over the API"
            await self._session.flush()
            await self._webhooks.skip_waiting(endpoint.id)

    async def _project(self, name: str | None) -> Project | None:
        if name is None:
            return None
        project = await self._webhooks.project(name)
        if project is None:
            raise NotFoundError(f"There is no project {name!r}.", code="project_not_found", place="/project")
        return project


def no_webhook(webhook_id: uuid.UUID) -> NotFoundError:
    """Also for another tenant's."""
    return NotFoundError(f"There is no webhook {webhook_id}.", code="webhook_not_found")
