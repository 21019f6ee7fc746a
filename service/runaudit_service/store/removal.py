"""Removes artifacts that no audit needs: titles whose audits were deleted, and blobs to which no title is left.

Whoever brings a blob into use and whoever removes one agree by an advisory lock of its digest, held to the end of
their transaction: requests share it (`HOLD_BLOB`, `HOLD_BLOBS`), a removal has it alone, and passes over what it can't
have. So either the request sees the blob gone, and puts it there again or answers that it is not there, or the removal
sees the request's rows. A blob is deleted before the rows that named it are: a kill in between leaves rows that are
removed next time, never an audit without its artifact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, Engine, text

from runaudit_service.store.blobs import BlobStore

BATCH: Final = 100
"""digests that one call looks at; bounds how long it takes"""

_KEY: Final = "hashtextextended('blob ' || :sha256, 0)"
HOLD_BLOB: Final = text(f"SELECT pg_advisory_xact_lock_shared({_KEY})")
"""before a request looks whether a blob is there, or puts it there; at most as long as a blob is deleted"""
HOLD_BLOBS: Final = (
    f"SELECT count(pg_advisory_xact_lock_shared({_KEY.replace(':', '')})) FROM unnest(%(digests)s::text[]) AS sha256"  # noqa: S608
)
"""`HOLD_BLOB` of several, for the driver itself; in one order, so that two requests do not wait for each other"""
HAVE_ALONE: Final = text(f"SELECT pg_try_advisory_xact_lock({_KEY})")

_RELEASED: Final = text(
    """
    SELECT DISTINCT sha256 FROM (
        SELECT sha256 FROM artifacts WHERE released_at < now() - make_interval(secs => :grace)
        ORDER BY released_at LIMIT :batch
    ) AS oldest
    """
)

# Locked before they are judged: a request that gives one a new use waits, or is seen by the next statement.
_LOCK_TITLES: Final = text(
    """
    SELECT id FROM artifacts
    WHERE sha256 = :sha256 AND released_at < now() - make_interval(secs => :grace)
    ORDER BY id FOR UPDATE
    """
)

_KEEP_USED: Final = text(
    """
    UPDATE artifacts SET released_at = NULL
    WHERE id = ANY(:ids) AND EXISTS (SELECT FROM audit_artifacts WHERE artifact_id = artifacts.id)
    RETURNING id
    """
)

_TITLED: Final = text("SELECT EXISTS (SELECT FROM artifacts WHERE sha256 = :sha256 AND NOT id = ANY(:ids))")
_FORGET: Final = text("DELETE FROM artifacts WHERE id = ANY(:ids)")
IS_TITLED: Final = text("SELECT EXISTS (SELECT FROM artifacts WHERE sha256 = :sha256)")
_UNTITLED: Final = text(
    """
    SELECT digest FROM unnest(CAST(:digests AS text[])) AS digest
    WHERE NOT EXISTS (SELECT FROM artifacts WHERE sha256 = digest)
    """
)


def remove_released(engine: Engine, blobs: BlobStore, *, grace_seconds: float) -> int:
    """Removes titles whose last audit was deleted `grace_seconds` ago or earlier, and the blobs that were theirs alone.

    Returns the number of blobs deleted. Raises OSError and BlobStoreError if one can't be; its rows then stay too.
    """
    with engine.connect() as connection:
        digests = connection.execute(_RELEASED, {"grace": grace_seconds, "batch": BATCH}).scalars().all()
    return _remove_each(engine, blobs, digests, grace_seconds)


def remove_untitled(engine: Engine, blobs: BlobStore, prefix: str, *, grace_seconds: float) -> int:
    """Deletes blobs that nobody has a title to: what is left when an API is killed between a blob and its row.

    `prefix` is the part of the store to look through, two hexadecimal digits; blobs younger than `grace_seconds` are
    let alone. Returns the number of blobs deleted. Raises OSError and BlobStoreError if one can't be.
    """
    old = blobs.older_than(prefix, grace_seconds)
    with engine.connect() as connection:
        digests = connection.execute(_UNTITLED, {"digests": old}).scalars().all()
    return _remove_each(engine, blobs, digests[:BATCH], grace_seconds)


def remove_refused(engine: Engine, blobs: BlobStore, sha256: str) -> None:
    """Deletes a blob at once that was secured and then refused, if nobody has a title to it.

    Raises OSError and BlobStoreError if it can't be; `remove_untitled` comes to it in the end.
    """
    with engine.begin() as connection:
        alone = connection.execute(HAVE_ALONE, {"sha256": sha256}).scalar_one()
        if alone and not connection.execute(IS_TITLED, {"sha256": sha256}).scalar_one():
            blobs.remove(sha256)


def _remove_each(engine: Engine, blobs: BlobStore, digests: Sequence[str], grace_seconds: float) -> int:
    """One that can't be deleted keeps none of the others, but for a store that does not answer; its error is raised in
    the end."""
    deleted, failed = 0, None
    for digest in digests:
        try:
            deleted += _remove(engine, blobs, digest, grace_seconds)
        except OSError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return deleted


def _remove(engine: Engine, blobs: BlobStore, sha256: str, grace_seconds: float) -> int:
    with engine.begin() as connection:
        if not connection.execute(HAVE_ALONE, {"sha256": sha256}).scalar_one():
            return 0
        unused = _unused_titles(connection, sha256, grace_seconds)
        last = not connection.execute(_TITLED, {"sha256": sha256, "ids": unused}).scalar_one()
        deleted = blobs.remove(sha256) if last else False
        connection.execute(_FORGET, {"ids": unused})
    return int(deleted)


def _unused_titles(connection: Connection, sha256: str, grace_seconds: float) -> list[object]:
    ids = connection.execute(_LOCK_TITLES, {"sha256": sha256, "grace": grace_seconds}).scalars().all()
    used = set(connection.execute(_KEEP_USED, {"ids": list(ids)}).scalars())
    return [one for one in ids if one not in used]
