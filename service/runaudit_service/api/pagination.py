"""Keyset pages: a page token names the last row seen, signed, and fits only the filters it was made with."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from runaudit_service.api.errors import InvalidRequestError

DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 200
_VERSION: Final = 1
_MAC_BYTES: Final = 32


@dataclass(frozen=True)
class Position:
    """The row after which a page begins."""

    created_at: datetime
    id: uuid.UUID


def encode(position: Position, filters: dict[str, Any], secret: bytes) -> str:
    """A token for the page after `position`, url-safe text."""
    payload = json.dumps(
        [_VERSION, position.created_at.isoformat(), str(position.id), _digest(filters)], separators=(",", ":")
    ).encode()
    return base64.urlsafe_b64encode(_mac(payload, secret) + payload).decode().rstrip("=")


def decode(token: str, filters: dict[str, Any], secret: bytes) -> Position:
    """The position in a token. Raises InvalidRequestError unless it was made here, with this key and these filters."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _refused("is damaged") from None
    mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(payload, secret)):
        raise _refused("was not made for this API key")
    version, created_at, row, digest = json.loads(payload)
    if version != _VERSION or digest != _digest(filters):
        raise _refused("was made with other filters or another sort order")
    return Position(datetime.fromisoformat(created_at), uuid.UUID(row))


def _mac(payload: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, b"page token\0" + payload, "sha256")


def _digest(filters: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(filters, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _refused(reason: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"The page token {reason}. Begin again without one.", code="page_token_invalid", place="?page_token"
    )
