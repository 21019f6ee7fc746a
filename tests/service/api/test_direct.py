"""Statements straight on the driver: keys that end are refused at once, the second wall stands, dead connections go."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, text

from runaudit_service.api.app import create_app
from runaudit_service.api.direct import DirectStatements, seen_by
from runaudit_service.store import keys
from runaudit_service.store.settings import Settings
from tests.service.clients import Api, code_of
from tests.service.conftest import Owner


def reads_of(api: Api) -> DirectStatements:
    direct = api.app.state.resources.direct
    assert isinstance(direct, DirectStatements)
    return direct


ENDS: Final[dict[str, dict[str, Any]]] = {
    "revoked": {"revoked_at": datetime.now(UTC)},
    "expired": {"expires_at": datetime.now(UTC) - timedelta(seconds=1)},
    "rotated": {"secret_hash": keys.hash_of("another")},
}


@pytest.mark.parametrize("end", ENDS)
def test_a_key_that_ends_between_two_polls_is_refused_by_every_replica(
    settings: Settings, runner: asyncio.Runner, api: Api, owner: Owner, engine: Engine, end: str
) -> None:
    with Api(create_app(settings), runner, owner.key) as replica:
        place = api.submit().headers["Location"]
        tag = {"If-None-Match": api.get(place).headers["ETag"]}
        for one in (api, replica):
            assert [one.get(place, headers=tag).status_code, one.get(place).status_code] == [304, 200]
        column, value = next(iter(ENDS[end].items()))
        with engine.begin() as connection:
            connection.execute(
                text(f"UPDATE api_keys SET {column} = :value WHERE tenant_id = :tenant"),
                {"value": value, "tenant": owner.tenant.id},
            )
        for one in (api, replica):
            for headers in (tag, {}):
                answer = one.get(place, headers=headers)
                assert (answer.status_code, code_of(answer)) == (401, "unauthenticated")


def test_row_level_security_holds_for_what_forgets_its_tenant(
    api: Api, owner: Owner, new_owner: Callable[..., Owner]
) -> None:
    api.submit()
    statement = f"SELECT seen.* FROM {seen_by('%(tenant)s', 'SELECT count(*) FROM audits')}"
    direct = reads_of(api)

    def counted(tenant: uuid.UUID | None) -> Any:
        return api.run(direct.row(statement, {"tenant": tenant}))

    assert [counted(owner.tenant.id), counted(new_owner().tenant.id), counted(None)] == [(1,), (0,), (0,)]
    # Nothing of a tenant stays on the connection.
    assert api.run(direct.row("SELECT count(*) FROM audits", {})) == (0,)


def test_a_connection_that_died_is_replaced(api: Api, engine: Engine) -> None:
    place = api.submit().headers["Location"]
    own = api.run(reads_of(api).row("SELECT pg_backend_pid()", {}))
    assert own is not None
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": own[0]})
    assert api.get(place).status_code == 200
    assert api.run(reads_of(api).row("SELECT pg_backend_pid()", {})) != own


def test_a_statement_that_was_given_up_leaves_no_connection_in_the_middle_of_it(api: Api) -> None:
    direct = reads_of(api)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await direct.row("SELECT pg_sleep(60)", {})

    api.run(give_up())
    assert api.run(direct.row("SELECT 1", {})) == (1,)


def test_more_calls_than_connections_wait_for_each_other(app: FastAPI, api: Api) -> None:
    place = api.submit().headers["Location"]

    async def together() -> list[int]:
        answers = await asyncio.gather(*(api.http.get(place) for _ in range(40)))
        return [answer.status_code for answer in answers]

    assert api.run(together()) == [200] * 40
