"""A delivery as clients see it, whoever was told."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from runaudit_service.api.webhooks.schemas import AttemptBody, DeliveryBody
from runaudit_service.store.webhooks import WebhookAttempt, WebhookDelivery


def delivery_body(delivery: WebhookDelivery, attempts: Sequence[WebhookAttempt]) -> DeliveryBody:
    """The body of a delivery with these of its attempts."""
    own = {name: getattr(delivery, name) for name in DeliveryBody.model_fields if name not in ("attempt", "attempts")}
    if delivery.state == "sending":
        # That is the end of the lease, which is nobody's business.
        own["next_attempt_at"] = None
    told = [
        AttemptBody.model_validate({name: getattr(one, name) for name in AttemptBody.model_fields}) for one in attempts
    ]
    return DeliveryBody.model_validate(own | {"attempt": delivery.attempts, "attempts": told})


def delivery_bodies(
    deliveries: Sequence[WebhookDelivery], attempts: Mapping[uuid.UUID, Sequence[WebhookAttempt]]
) -> list[DeliveryBody]:
    """Their bodies, with those attempts that are of them."""
    return [delivery_body(delivery, attempts.get(delivery.id, [])) for delivery in deliveries]
