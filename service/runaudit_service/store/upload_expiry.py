"""Removes resumable uploads that nobody came back to, and files of uploads that no row names.

An upload's bytes go before its row, so that a kill in between leaves a row that is removed next time. What an upload
has become, an artifact, is not touched.
"""

from __future__ import annotations

import uuid
from typing import Final

from sqlalchemy import Engine, text

from runaudit_service.store.staging import Staging

BATCH: Final = 100
"""uploads that one call removes at most; bounds how long it takes"""

# An upload that a request writes to is not abandoned, whatever its time. Whoever claims one waits for the lock, and
# then finds no row.
_ABANDONED: Final = text(
    """
    SELECT id FROM uploads WHERE expires_at < now() AND (held_until IS NULL OR held_until < now())
    ORDER BY expires_at LIMIT :batch FOR UPDATE SKIP LOCKED
    """
)
_FORGET: Final = text("DELETE FROM uploads WHERE id = ANY(:ids)")
_KNOWN: Final = text("SELECT id FROM uploads WHERE id = ANY(:ids)")


def remove_abandoned_uploads(engine: Engine, staging: Staging, *, stray_seconds: float) -> int:
    """Removes uploads past their time with their bytes, and folders without a row that are older than `stray_seconds`.

    Returns the number of uploads and folders removed. Raises OSError if one can't be; its row then stays too.
    """
    with engine.begin() as connection:
        ids = connection.execute(_ABANDONED, {"batch": BATCH}).scalars().all()
        for upload_id in ids:
            staging.remove(upload_id)
        connection.execute(_FORGET, {"ids": list(ids)})
    strays = _strays(engine, staging, stray_seconds)
    for upload_id in strays:
        staging.remove(upload_id)
    return len(ids) + len(strays)


def _strays(engine: Engine, staging: Staging, seconds: float) -> list[uuid.UUID]:
    old = staging.older_than(seconds)[:BATCH]
    if not old:
        return []
    with engine.connect() as connection:
        known = set(connection.execute(_KNOWN, {"ids": old}).scalars())
    return [upload_id for upload_id in old if upload_id not in known]
