"""An audit's id as a path has it, and what is said where no audit has it."""

from __future__ import annotations

import uuid

from runaudit_service.api.errors import NotFoundError


def no_audit(audit_id: uuid.UUID | None) -> NotFoundError:
    """`audit_id` is None where what was written is no UUID, which is an id that nothing has."""
    which = "with this id" if audit_id is None else audit_id
    return NotFoundError(f"There is no audit {which}.", code="audit_not_found")


def uuid_of(written: str) -> uuid.UUID | None:
    """None where it is no UUID."""
    try:
        return uuid.UUID(written)
    except ValueError:
        return None


def audit_id_of(written: str) -> uuid.UUID:
    """Raises NotFoundError where it is no UUID."""
    known = uuid_of(written)
    if known is None:
        raise no_audit(None)
    return known
