"""What happens to API keys: made, rotated, revoked. Flushes only; the endpoint commits."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.auth import Caller
from runaudit_service.api.errors import ConflictError, InvalidRequestError, NotFoundError, ScopeError
from runaudit_service.api.keys.repository import KeyRepository
from runaudit_service.api.keys.schemas import KeyRequest
from runaudit_service.store import keys
from runaudit_service.store.models import ApiKey

# The list of keys is one page; more keys than this are a program's mistake.
MAX_ACTIVE_KEYS: Final = 200


class KeyService:
    """The keys of the caller's tenant, inside the transaction of `session`."""

    def __init__(self, session: AsyncSession, caller: Caller) -> None:
        self._session = session
        self._caller = caller
        self._keys = KeyRepository(session, caller.tenant_id)

    async def create(self, wanted: KeyRequest) -> tuple[ApiKey, str]:
        """A new key and its text. Raises InvalidRequestError, ScopeError and ConflictError."""
        now = datetime.now(UTC)
        self._require_scopes(wanted.scopes, "give")
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

    async def rotate(self, key_id: uuid.UUID, grace_seconds: int) -> tuple[ApiKey, str]:
        """Give a key a new secret; the present one works `grace_seconds` longer, one from before that ends now.

        Raises NotFoundError, ScopeError (whoever gets the secret gets what the key may do), and ConflictError for a
        key that is revoked or expired.
        """
        now = datetime.now(UTC)
        key, _ = await self._find(key_id)
        self._require_scopes(key.scopes, "take over")
        if not keys.is_active(key, now):
            raise ConflictError("The key is revoked or expired. Make a new one.", code="key_not_active")
        new = keys.rotated(key.lookup)
        grace = timedelta(seconds=grace_seconds)
        key.previous_hash, key.previous_expires_at = (key.secret_hash, now + grace) if grace_seconds else (None, None)
        key.secret_hash = new.secret_hash
        await self._session.flush()
        return key, new.text

    async def revoke(self, key_id: uuid.UUID) -> None:
        """End a key. Raises NotFoundError, and ConflictError for the last key that could make others."""
        now = datetime.now(UTC)
        key, rows = await self._find(key_id)
        others = [row for row in rows if row.id != key_id and "admin" in row.scopes and row.expires_at is None]
        if "admin" in key.scopes and not any(keys.is_active(row, now) for row in others):
            raise ConflictError(
                "This is the last key with the scope admin that does not expire. Make another first.",
                code="last_admin_key",
            )
        if key.revoked_at is None:
            key.revoked_at = now
        await self._session.flush()

    async def _find(self, key_id: uuid.UUID) -> tuple[ApiKey, Sequence[ApiKey]]:
        """The key and all of its tenant's, which nobody else changes until the transaction ends."""
        await self._keys.lock()
        rows = await self._keys.all()
        key = next((row for row in rows if row.id == key_id), None)
        if key is None:
            raise NotFoundError(f"There is no key {key_id}.", code="key_not_found")
        return key, rows

    def _require_scopes(self, scopes: Iterable[str], verb: str) -> None:
        missing = sorted(set(scopes) - self._caller.scopes)
        if missing:
            raise ScopeError(f"A key can {verb} only scopes that it has itself; it lacks {', '.join(missing)}.")
