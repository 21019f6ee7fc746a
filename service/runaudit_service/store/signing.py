"""Signatures of webhooks by the Standard Webhooks specification: HMAC-SHA256 with a `whsec_` secret, version `v1`."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32  # the specification asks for 24 to 64


def new_secret() -> str:
    """A new random secret, as both sides keep it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(message_id: str, timestamp: int, body: bytes, signing: Iterable[str]) -> dict[str, str]:
    """The three headers of a message. Several secrets give several signatures: a receiver needs to know one of them.

    Args:
        message_id: the same for all attempts; has no dot.
        timestamp: of this attempt, in seconds since 1970.
        body: exactly what is sent.
        signing: the secrets, the current one first.
    """
    content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, content) for secret in signing),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()
