"""API keys: `ra_<lookup>_<secret><checksum>`, shown once, kept as a hash.

The lookup part finds the row, the secret has 256 random bits, and the checksum (CRC-32 in base 62) lets a scanner tell
a leaked key from a look-alike without asking anyone. A fast hash is right for a secret of 256 random bits: there is
nothing to guess, and a slow one would let strangers buy our time (research/security.md D, research/service.md A5).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, get_args

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from runaudit_service.store import signing
from runaudit_service.store.models import ApiKey, Project, Tenant, new_id

Scope = Literal["audits:read", "audits:write", "webhooks:write", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
DEFAULT_NAME: Final = "default"

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_LOOKUP_LENGTH: Final = 12  # 71 bits: no two of a billion keys share one
_SECRET_LENGTH: Final = 43  # 62**43 > 2**256
_CHECKSUM_LENGTH: Final = 6  # 62**6 > 2**32
_FORM: Final = re.compile(
    rf"ra_(?P<lookup>[0-9A-Za-z]{{{_LOOKUP_LENGTH}}})_[0-9A-Za-z]{{{_SECRET_LENGTH}}}(?P<checksum>[0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})",
    re.ASCII,
)
# Compared with when no row has the lookup part, so that an unknown key takes as long as a wrong one.
_DUMMY_HASH: Final = hashlib.sha256(b"no key hashes to this on purpose").hexdigest()


@dataclass(frozen=True)
class NewKey:
    """A key just made: `text` is shown to its owner once, the rest is stored."""

    text: str
    lookup: str
    secret_hash: str


@dataclass(frozen=True)
class StoredKey:
    """Of a row of `api_keys`, what tells whether a key is good and for what."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    scopes: Sequence[str]
    secret_hash: str
    previous_hash: str | None
    previous_expires_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


def generate() -> NewKey:
    """A new random key."""
    return rotated(_random(_LOOKUP_LENGTH))


def hash_of(text: str) -> str:
    """What is stored of a key: the SHA-256 of its text, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def lookup_of(text: str) -> str | None:
    """The lookup part of a well-formed key, None for anything else."""
    form = _FORM.fullmatch(text)
    if form is None or _checksum(text[:-_CHECKSUM_LENGTH]) != form["checksum"]:
        return None
    return form["lookup"]


def rotated(lookup: str) -> NewKey:
    """A new secret for the key with this lookup part."""
    unchecked = f"ra_{lookup}_{_random(_SECRET_LENGTH)}"
    text = unchecked + _checksum(unchecked)
    return NewKey(text, lookup, hash_of(text))


def is_valid(text: str, key: ApiKey | StoredKey | None, now: datetime) -> bool:
    """Whether `text` is this key, and the key neither revoked nor expired. The comparisons take constant time.

    After a rotation the secret before is this key as well, until its own end.
    """
    given = hash_of(text).encode()
    same = hmac.compare_digest(given, (key.secret_hash if key else _DUMMY_HASH).encode())
    before = hmac.compare_digest(given, ((key and key.previous_hash) or _DUMMY_HASH).encode())
    if key is None or not is_active(key, now):
        return False
    return same or (before and key.previous_expires_at is not None and key.previous_expires_at > now)


def is_active(key: ApiKey | StoredKey, now: datetime) -> bool:
    """Neither revoked nor expired."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def ensure_default(session: Session) -> str | None:
    """Make sure that there is a tenant, a project and a key to begin with.

    Creates the tenant and the project `default`, and, if that tenant never had a key, a first one with all scopes.
    Returns the text of that key, this once; None if there was one before. Flushes; the caller commits.
    """
    tenant = ensure_tenant(session, DEFAULT_NAME)
    if session.scalar(select(func.count()).select_from(ApiKey).where(ApiKey.tenant_id == tenant.id)):
        return None
    return add_key(session, tenant, "first key", SCOPES)


def ensure_tenant(session: Session, name: str) -> Tenant:
    """The tenant of this name with its project `default`, made if it is not there. Flushes; the caller commits."""
    session.execute(insert(Tenant).values(id=new_id(), name=name).on_conflict_do_nothing())
    # The lock makes two servers that start together on one database agree on who makes the key.
    tenant = session.scalars(select(Tenant).where(Tenant.name == name).with_for_update()).one()
    project = insert(Project).values(
        id=new_id(), tenant_id=tenant.id, name=DEFAULT_NAME, signing_secret=signing.new_secret()
    )
    session.execute(project.on_conflict_do_nothing())
    return tenant


def add_key(session: Session, tenant: Tenant, name: str, scopes: Sequence[Scope]) -> str:
    """A new key of the tenant; its text, this once. Flushes; the caller commits."""
    key = generate()
    row = ApiKey(
        tenant_id=tenant.id,
        name=name,
        lookup=key.lookup,
        secret_hash=key.secret_hash,
        scopes=list(scopes),
        created_at=datetime.now(UTC),
    )
    session.add(row)
    session.flush()
    return key.text


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(text: str) -> str:
    value = zlib.crc32(text.encode())
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        value, digit = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
