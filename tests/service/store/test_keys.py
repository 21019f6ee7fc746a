"""API keys: their form, their check, and the first one."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from runaudit_service.store import keys
from runaudit_service.store.database import sync_engine
from runaudit_service.store.models import ApiKey, Project, Tenant

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def row(new: keys.NewKey, **fields: datetime) -> ApiKey:
    return ApiKey(name="k", lookup=new.lookup, secret_hash=new.secret_hash, scopes=[], **fields)


def test_a_key_has_its_form_and_is_found_by_its_lookup() -> None:
    new = keys.generate()
    assert re.fullmatch(r"ra_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", new.text)
    assert keys.lookup_of(new.text) == new.lookup
    assert len(new.secret_hash) == 64
    assert new.secret_hash not in new.text
    assert len({keys.generate().text for _ in range(100)}) == 100


def test_any_changed_character_is_seen_by_the_checksum() -> None:
    text = keys.generate().text
    for index in range(3, len(text)):
        changed = text[:index] + ("x" if text[index] != "x" else "y") + text[index + 1 :]
        assert keys.lookup_of(changed) is None


@pytest.mark.parametrize("text", ["", "ra_", "ra__", "Bearer x", "ra_" + "0" * 12 + "_" + "0" * 48, "é" * 65, "ra_\0"])
def test_other_texts_are_no_keys(text: str) -> None:
    assert keys.lookup_of(text) is None
    assert not keys.is_valid(text, None, NOW)


def test_only_the_right_active_key_is_valid() -> None:
    new, other = keys.generate(), keys.generate()
    assert keys.is_valid(new.text, row(new), NOW)
    assert not keys.is_valid(new.text, row(other), NOW)
    assert not keys.is_valid(new.text, None, NOW)
    assert not keys.is_valid(new.text, row(new, revoked_at=NOW), NOW)
    assert not keys.is_valid(new.text, row(new, expires_at=NOW), NOW)
    assert keys.is_valid(new.text, row(new, expires_at=NOW + timedelta(seconds=1)), NOW)


@pytest.fixture
def engine(fresh_postgres_url: str) -> Iterator[Engine]:
    made = sync_engine(fresh_postgres_url)
    yield made
    made.dispose()


def test_the_first_key_is_made_once(engine: Engine) -> None:
    def ensure() -> str | None:
        with Session(engine) as session:
            text = keys.ensure_default(session)
            session.commit()
            return text

    made: list[str | None] = []
    threads = [threading.Thread(target=lambda: made.append(ensure())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = [text for text in made if text is not None]
    assert (len(made), len(texts)) == (4, 1)
    assert ensure() is None
    with Session(engine) as session:
        key = session.scalars(select(ApiKey)).one()
        assert keys.is_valid(texts[0], key, datetime.now(UTC))
        assert key.scopes == list(keys.SCOPES)
        assert session.scalars(select(Tenant.name)).all() == ["default"]
        assert session.scalars(select(Project.name)).all() == ["default"]
        key.revoked_at = NOW
        session.commit()
    assert ensure() is None, "a key that someone revoked must not come back as another"
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(ApiKey)) == 1
