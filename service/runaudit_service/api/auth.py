"""Who calls: a bearer key becomes a caller with a tenant and scopes, before anything of the body is read."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import select, text, update

from runaudit_service.api.database import Database, act_for
from runaudit_service.api.errors import AuthenticationError, ScopeError
from runaudit_service.api.resources import Shared
from runaudit_service.store import keys, log_context
from runaudit_service.store.models import ApiKey

# `last_used_at` tells a person whether a key is in use; a write a minute is enough for that.
LAST_USED_RESOLUTION: Final = timedelta(minutes=1)
# A function of the database (migration 0005): no tenant is known yet, so row-level security would hide every key.
_FIND_KEY: Final = select(ApiKey).from_statement(text("SELECT * FROM find_api_key(:lookup)"))

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


def requires(scope: keys.Scope) -> Callable[..., Awaitable[Caller]]:
    """Lets only keys with this scope pass. Raises AuthenticationError, ScopeError and RateLimitedError."""

    async def authenticate(
        request: Request, shared: Shared, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
    ) -> Caller:
        if credentials is None:
            raise AuthenticationError("Send the header `Authorization: Bearer ra_...` with an API key.")
        caller = await _caller(shared.database, credentials.credentials)
        limits = await shared.limits.of(caller.tenant_id)
        # The middleware gives these to the answer, whatever it will be.
        request.state.rate_headers = await shared.rate.admit(caller.tenant_id, limits.requests_per_minute)
        if scope not in caller.scopes:
            raise ScopeError(f"This call needs a key with the scope {scope}.")
        return caller

    return authenticate


def key_with(scope: keys.Scope) -> Any:
    """The dependency on a key with this scope, which the API's document tells as well."""
    return Security(requires(scope), scopes=[scope])


Reader = Annotated[Caller, key_with("audits:read")]
Writer = Annotated[Caller, key_with("audits:write")]
Administrator = Annotated[Caller, key_with("admin")]


async def _caller(database: Database, credential: str) -> Caller:
    """The caller; the transactions of this request are its tenant's from now on."""
    now = datetime.now(UTC)
    lookup = keys.lookup_of(credential)
    async with database.reading() as session:
        key = (await session.scalars(_FIND_KEY, {"lookup": lookup or ""})).one_or_none()
    if not keys.is_valid(credential, key, now) or key is None:
        raise AuthenticationError("This API key is unknown, revoked or expired.")
    act_for(key.tenant_id)
    log_context.note(tenant_id=key.tenant_id)
    if key.last_used_at is None or now - key.last_used_at > LAST_USED_RESOLUTION:
        async with database.transaction() as session:
            await session.execute(update(ApiKey).where(ApiKey.id == key.id).values(last_used_at=now))
    # The stored hash is a secret of the service that every replica has; a token made under one key fits only that key.
    return Caller(key.id, key.tenant_id, frozenset(key.scopes), bytes.fromhex(key.secret_hash))
