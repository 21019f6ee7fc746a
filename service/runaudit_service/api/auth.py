"""Who calls: a bearer key becomes a caller with a tenant and scopes, before anything of the body is read."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, LiteralString

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import update

from runaudit_service.api.database import act_for
from runaudit_service.api.direct import seen_by
from runaudit_service.api.errors import AuthenticationError, ScopeError
from runaudit_service.api.resources import Resources, Shared
from runaudit_service.store import keys, log_context
from runaudit_service.store.models import ApiKey

# `last_used_at` tells a person whether a key is in use; a write a minute is enough for that.
LAST_USED_RESOLUTION: Final = timedelta(minutes=1)
# A function of the database (migration 0005): no tenant is known yet, so row-level security would hide every key. The
# columns are those of StoredKey, in its order.
_KEY: Final = (
    "key.id, key.tenant_id, key.scopes, key.secret_hash, key.previous_hash, key.previous_expires_at, key.expires_at, "
    "key.revoked_at, key.last_used_at"
)
_OF_LOOKUP: Final = "find_api_key(%(lookup)s) AS key"
_FIND_KEY: Final[LiteralString] = f"SELECT {_KEY} FROM {_OF_LOOKUP}"  # noqa: S608 - constants
_KEY_COLUMNS: Final = len(fields(keys.StoredKey))

bearer = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="ra_...",
    description="An API key of this service. Each call names the scope that the key needs: `audits:read`, "
    "`audits:write`, `webhooks:write` or `admin`. `POST /v1/keys` makes keys.",
    auto_error=False,
)


@dataclass(frozen=True)
class Caller:
    """The key that a request came with. `cursor_secret` signs page tokens: the service's, one per key, never sent."""

    key_id: uuid.UUID
    tenant_id: uuid.UUID
    scopes: frozenset[str]
    cursor_secret: bytes


Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


def with_key(select: LiteralString) -> LiteralString:
    """A statement for `admitted`: what finds a key, and the row of `select` as its tenant sees it (see `seen_by`)."""
    return f"SELECT {_KEY}, seen.* FROM {_OF_LOOKUP} CROSS JOIN {seen_by('key.tenant_id', select)}"  # noqa: S608


async def admitted(
    request: Request,
    shared: Resources,
    credentials: HTTPAuthorizationCredentials | None,
    scope: keys.Scope,
    statement: LiteralString = _FIND_KEY,
    **parameters: Any,
) -> tuple[Caller, tuple[Any, ...]]:
    """The caller, if it may do what needs this scope, and the row that `statement` (of `with_key`) saw beside the key.

    The transactions of this request are the caller's tenant's from now on. The key is looked at anew for each request,
    so that one that was revoked, expired or rotated away stops working at once, on every replica. Raises
    AuthenticationError, ScopeError and RateLimitedError.
    """
    if credentials is None:
        raise AuthenticationError("Send the header `Authorization: Bearer ra_...` with an API key.")
    now = datetime.now(UTC)
    lookup = keys.lookup_of(credentials.credentials)
    row = await shared.direct.row(statement, {"lookup": lookup or "", **parameters})
    key = None if row is None else keys.StoredKey(*row[:_KEY_COLUMNS])
    if not keys.is_valid(credentials.credentials, key, now) or key is None or row is None:
        raise AuthenticationError("This API key is unknown, revoked or expired.")
    act_for(key.tenant_id)
    log_context.note(tenant_id=key.tenant_id)
    if key.last_used_at is None or now - key.last_used_at > LAST_USED_RESOLUTION:
        async with shared.database.transaction() as session:
            await session.execute(update(ApiKey).where(ApiKey.id == key.id).values(last_used_at=now))
    limits = await shared.limits.of(key.tenant_id)
    # The middleware gives these to the answer, whatever it will be.
    request.state.rate_headers = await shared.rate.admit(key.tenant_id, limits.requests_per_minute)
    if scope not in key.scopes:
        raise ScopeError(f"This call needs a key with the scope {scope}.")
    # The stored hash is a secret of the service that every replica has; a token made under one key fits only that key.
    return Caller(key.id, key.tenant_id, frozenset(key.scopes), bytes.fromhex(key.secret_hash)), row[_KEY_COLUMNS:]


def requires(scope: keys.Scope) -> Callable[..., Awaitable[Caller]]:
    """Lets only keys with this scope pass. Raises AuthenticationError, ScopeError and RateLimitedError."""

    async def authenticate(request: Request, shared: Shared, credentials: Credentials) -> Caller:
        caller, _ = await admitted(request, shared, credentials, scope)
        return caller

    return authenticate


def key_with(scope: keys.Scope) -> Any:
    """The dependency on a key with this scope, which the API's document tells as well."""
    return Security(requires(scope), scopes=[scope])


Reader = Annotated[Caller, key_with("audits:read")]
Writer = Annotated[Caller, key_with("audits:write")]
Administrator = Annotated[Caller, key_with("admin")]
