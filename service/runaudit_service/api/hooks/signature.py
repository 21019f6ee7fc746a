"""MLflow's signature of webhooks: HMAC-SHA256 over `delivery id.timestamp.body`, as its webhooks' page describes it.

https://mlflow.org/docs/latest/ml/webhooks/: the headers X-MLflow-Signature (`v1,<base64>`), X-MLflow-Delivery-Id and
X-MLflow-Timestamp (seconds since 1970). The secret is the text that the webhook was created with, as it stands.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets as random
from collections.abc import Iterable
from typing import Final

from runaudit_service.api.errors import AuthenticationError

SIGNATURE_HEADER: Final = "X-MLflow-Signature"
DELIVERY_HEADER: Final = "X-MLflow-Delivery-Id"
TIMESTAMP_HEADER: Final = "X-MLflow-Timestamp"
TOLERANCE_SECONDS: Final = 300
"""how old a message may be, or how far ahead its sender's clock (that of the Standard Webhooks libraries)"""

# Neither may have a dot: with one, the same signed text could be cut into id, time and body in another place.
_DELIVERY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_NOBODYS: Final = random.token_hex(32)
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


class SignatureError(AuthenticationError):
    """A hook that is not signed as it should be."""

    code = "signature_invalid"
    title = "A valid signature is needed"
    headers = {}


def sign(secret: str, delivery_id: str, timestamp: str, body: bytes) -> str:
    """The value of X-MLflow-Signature."""
    content = b".".join((delivery_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(secret.encode(), content, "sha256")).decode()


def require_recent(delivery_id: str | None, timestamp: str | None, now: float) -> tuple[str, str]:
    """The two headers that are signed with the body, if they have their form and the time is about `now`.

    Raises SignatureError.
    """
    if delivery_id is None or timestamp is None:
        raise SignatureError(f"Send {SIGNATURE_HEADER}, {DELIVERY_HEADER} and {TIMESTAMP_HEADER}, as MLflow does.")
    if not _DELIVERY_ID.fullmatch(delivery_id) or not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureError(f"{DELIVERY_HEADER} or {TIMESTAMP_HEADER} has not the form that MLflow gives it.")
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise SignatureError(f"The message is more than {TOLERANCE_SECONDS} seconds old, or the clocks disagree.")
    return delivery_id, timestamp


def require_signed(
    signature: str | None, delivery_id: str, timestamp: str, body: bytes, secrets: Iterable[str]
) -> None:
    """Raises SignatureError unless one of the secrets made one of the signatures, compared in constant time."""
    given = [one.encode("utf-8", "replace") for one in (signature or "").split()]
    # Without any secret it takes as long to say no as with a wrong one; nothing can match what nobody was told.
    known = list(secrets) or [_NOBODYS]
    made = [sign(secret, delivery_id, timestamp, body).encode() for secret in known]
    if not any(hmac.compare_digest(one, other) for one in made for other in given):
        raise SignatureError("The signature was not made with this project's secret.")
