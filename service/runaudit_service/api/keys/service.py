"""What happens to API keys: made, revoked. Flushes only; the endpoint commits."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.errors import ConflictError, InvalidRequestError, NotFoundError
from runaudit_service.api.keys.repository import KeyRepository
from runaudit_service.api.keys.schemas import KeyRequest
from runaudit_service.store import keys
from runaudit_service.store.models import ApiKey

# The list of keys is one page; more keys than this are a program's mistake.
MAX_ACTIVE_KEYS: Final = 200


class KeyService:
    """The keys of one tenant, inside the transaction of `session`."""

    def __init__(self, session: AsyncSession, tenant_id: uuid.UUID) -> None:
        self._session = session
        self._keys = KeyRepository(session, tenant_id)

    async def create(self, wanted: KeyRequest) -> tuple[ApiKey, str]:
        """A new key and its text. Raises InvalidRequestError and ConflictError."""
        now = datetime.now(UTC)
        if wanted.expires_at is not None and wanted.expires_at <= now:
            raise InvalidRequestError("The key would have expired already.", place="/expires_at")
        await self._keys.lock()
        if sum(keys.is_active(key, now) for key in await self._keys.all()) >= MAX_ACTIVE_KEYS:
            raise ConflictError(f"There are {MAX_ACTIVE_KEYS} keys already. Revoke some.", code="too_many_keys")
        new = keys.generate()
        scopes = [scope for scope in keys.SCOPES if scope in wanted.scopes]
        row = ApiKey(
            name=wanted.name,
            lookup=new.lookup,
            secret_hash=new.secret_hash,
            scopes=list(scopes),
            expires_at=wanted.expires_at,
        )
        return await self._keys.add(row), new.text

    async def revoke(self, key_id: uuid.UUID) -> None:
        """End a key. Raises NotFoundError, and ConflictError for the last key that could make others."""
        await self._keys.lock()
        now = datetime.now(UTC)
        rows = await self._keys.all()
        key = next((row for row in rows if row.id == key_id), None)
        if key is None:
            raise NotFoundError(f"There is no key {key_id}.", code="key_not_found")
        others = [row for row in rows if row.id != key_id and "admin" in row.scopes and row.expires_at is None]
        if "admin" in key.scopes and not any(keys.is_active(row, now) for row in others):
            raise ConflictError(
                "This is the last key with the scope admin that does not expire. Make another first.",
                code="last_admin_key",
            )
        if key.revoked_at is None:
            key.revoked_at = now
        await self._session.flush()
