"""The headers of answers that clients act on, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any, Final

Headers = dict[str, dict[str, Any]]


def _header(kind: str, said: str) -> dict[str, Any]:
    return {"schema": {"type": kind}, "description": said}


ETAG: Final[Headers] = {"ETag": _header("string", "the version, for If-None-Match and If-Match")}
DIGEST_TAG: Final[Headers] = {"ETag": _header("string", "the artifact's SHA-256")}
TRY_AGAIN: Final[Headers] = {"Retry-After": _header("integer", "seconds until it is worth trying again")}
ASK_AGAIN: Final[Headers] = {"Retry-After": _header("integer", "seconds; absent once the audit has ended")}
REPLAYED: Final[Headers] = {
    "Idempotency-Replayed": _header("string", "`true` where this is the answer to an earlier request of the same key")
}
CHALLENGE: Final[Headers] = {"WWW-Authenticate": _header("string", "that a key is needed, as `Bearer`")}


def location(said: str) -> Headers:
    """Where the thing is that was made."""
    return {"Location": _header("string", said)}
