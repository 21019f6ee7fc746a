"""A tenant's titles to artifacts, where no audit is concerned."""

from __future__ import annotations

import uuid

from sqlalchemy import case, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.store.blobs import Blob
from runaudit_service.store.models import Artifact, new_id
from runaudit_service.store.removal import HOLD_BLOB

# A title that an audit uses stays as it is; one that none uses may go some time after the last sign of interest.
_RELEASED_AGAIN = case((Artifact.released_at.is_(None), None), else_=func.now())


class ArtifactRepository:
    """Artifacts as one tenant sees them."""

    def __init__(self, session: AsyncSession, tenant_id: uuid.UUID) -> None:
        self._session = session
        self._tenant_id = tenant_id

    async def hold_blob(self, sha256: str) -> None:
        """Have removals let this blob alone until the transaction ends. Before looking for it, or placing it."""
        await self._session.execute(HOLD_BLOB, {"sha256": sha256})

    async def add_released(self, blob: Blob) -> None:
        """A title for no audit yet; the one that the tenant has already is kept, and kept for longer."""
        statement = insert(Artifact).values(
            id=new_id(), tenant_id=self._tenant_id, sha256=blob.sha256, bytes=blob.bytes, released_at=func.now()
        )
        statement = statement.on_conflict_do_update(
            index_elements=[Artifact.tenant_id, Artifact.sha256], set_={"released_at": _RELEASED_AGAIN}
        )
        await self._session.execute(statement)

    async def touch(self, sha256: str) -> bool:
        """Whether the tenant has this artifact; if no audit uses it, its time begins anew, so that a request that names
        it in a moment finds it."""
        statement = (
            update(Artifact)
            .where(Artifact.tenant_id == self._tenant_id, Artifact.sha256 == sha256)
            .values(released_at=_RELEASED_AGAIN)
            .returning(Artifact.id)
        )
        found = await self._session.scalar(statement, execution_options={"synchronize_session": False})
        return found is not None
