"""Rates, quotas and room: what a tenant may do at most, whichever replica it asks, and how it is told."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from runaudit_service.api.app import create_app
from runaudit_service.api.limits.rate import RateLimitedError, RateLimiter
from runaudit_service.store import limits
from runaudit_service.store.disk import free_bytes
from runaudit_service.store.limit_rows import TenantLimits
from runaudit_service.store.models import Tenant, new_id
from runaudit_service.store.settings import Settings
from runaudit_service.store.settings import settings as process_settings
from runaudit_service.store.tenants import URL_FILE
from tests.bucket_server import ACCESS_KEY, SECRET_KEY, BucketServer
from tests.service.clients import Api, code_of
from tests.service.conftest import Owner

RATE = re.compile(r'"requests";r=(?P<left>\d+);t=(?P<seconds>\d+)')


@pytest.fixture
def limited(engine: Engine, owner: Owner) -> Callable[..., None]:
    """Gives the owner's tenant limits of its own."""

    def limit(**own: int) -> None:
        with Session(engine) as session:
            session.merge(TenantLimits(tenant_id=owner.tenant.id, **own))
            session.commit()

    return limit


@pytest.fixture
def replica(settings: Settings, runner: asyncio.Runner, owner: Owner) -> Iterator[Callable[..., Api]]:
    """Further replicas of the API, with other settings."""
    begun = []

    def start(**changes: Any) -> Api:
        api = Api(create_app(settings.model_copy(update=changes)), runner, owner.key)
        begun.append(api.__enter__())
        return api

    yield start
    for api in begun:
        api.__exit__(None, None, None)


def test_an_answer_tells_what_is_left(api: Api) -> None:
    answer = api.get("/v1/projects")
    assert answer.headers["RateLimit-Policy"] == '"requests";q=60000;w=60'
    told = RATE.fullmatch(answer.headers["RateLimit"])
    assert told is not None and 59_000 < int(told["left"]) < 60_000 and 0 < int(told["seconds"]) <= 60
    assert "RateLimit" not in api.get("/healthz").headers


def test_a_tenant_over_its_rate_is_told_when_to_come_back(
    replica: Callable[..., Api], limited: Callable[..., None], client_of: Callable[[str | None], Api], new_owner: Any
) -> None:
    limited(requests_per_minute=6)
    first, second = replica(), replica()
    answers = [(first if turn % 2 else second).get("/v1/projects") for turn in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 6 + [429] * 2
    assert [int(RATE.fullmatch(answer.headers["RateLimit"])["left"]) for answer in answers] == [5, 4, 3, 2, 1, 0, 0, 0]  # type: ignore[index]
    assert code_of(answers[-1]) == "rate_limited"
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 10
    assert client_of(new_owner().key).get("/v1/projects").status_code == 200


def test_the_bucket_fills_again(valkey_url: str, runner: asyncio.Runner) -> None:
    async def asked() -> tuple[int, float]:
        limiter, tenant, given = RateLimiter(valkey_url), new_id(), 0
        try:
            while True:
                await limiter.admit(tenant, 120)
                given += 1
        except RateLimitedError:
            started = time.monotonic()
        while True:
            try:
                await limiter.admit(tenant, 120)
            except RateLimitedError:
                await asyncio.sleep(0.01)
            else:
                await limiter.close()
                return given, time.monotonic() - started

    given, seconds = runner.run(asked())
    assert 120 <= given <= 123
    assert 0.1 < seconds < 3, "two a second flow in"


def test_replicas_together_give_no_more_than_there_is(valkey_url: str, runner: asyncio.Runner) -> None:
    async def asked() -> int:
        replicas, tenant = [RateLimiter(valkey_url) for _ in range(3)], new_id()
        answers = await asyncio.gather(
            *(replicas[turn % 3].admit(tenant, 3000) for turn in range(4000)), return_exceptions=True
        )
        for one in replicas:
            await one.close()
        return sum(isinstance(answer, dict) for answer in answers)

    started = time.monotonic()
    given = runner.run(asked())
    flowed_in = 50 * (time.monotonic() - started)
    # What a replica has in its hand is given out by it alone.
    assert 3000 - 3 * 5 <= given <= 3000 + flowed_in + 1


def test_without_its_broker_the_service_counts_nothing_and_works(replica: Callable[..., Api]) -> None:
    answer = replica(broker_url="redis://127.0.0.1:1/0").get("/v1/projects")
    assert (answer.status_code, "RateLimit" in answer.headers) == (200, False)


def test_zero_is_no_limit(replica: Callable[..., Api]) -> None:
    assert "RateLimit" not in replica(requests_per_minute=0).get("/v1/projects").headers


def test_no_more_audits_wait_than_may(api: Api, limited: Callable[..., None]) -> None:
    limited(max_queued_audits=2)
    first = api.submit(b"first")
    assert [first.status_code, api.submit(b"second").status_code] == [202, 202]
    refused = api.submit(b"third")
    assert (refused.status_code, code_of(refused)) == (429, "queued_audits_quota")
    assert int(refused.headers["Retry-After"]) > 0
    assert api.submit(b"first").status_code == 200, "what is there already adds nothing"
    assert code_of(api.post(f"/v1/audits/{first.json()['id']}/rerun")) == "queued_audits_quota"
    api.post(f"/v1/audits/{first.json()['id']}/cancel")
    assert api.submit(b"third").status_code == 202


def test_no_more_is_stored_than_may(api: Api, limited: Callable[..., None]) -> None:
    limited(max_stored_bytes=1000)
    assert api.submit(b"a" * 600).status_code == 202
    refused = api.submit(b"b" * 600)
    assert (refused.status_code, code_of(refused)) == (507, "storage_quota")
    assert api.submit(b"a" * 600, force=True).status_code == 202
    assert api.post("/v1/uploads", json={"length": 300}).status_code == 201
    assert code_of(api.post("/v1/uploads", json={"length": 101})) == "storage_quota"
    assert api.submit(b"c" * 100).status_code == 202


def test_nothing_of_what_was_refused_stays_in_a_bucket(
    replica: Callable[..., Api], limited: Callable[..., None], bucket_server: BucketServer, tmp_path: Path
) -> None:
    """It is sent there before the transaction that may refuse it; a tenant would else store what it may not."""
    limited(max_stored_bytes=1000)
    api = replica(
        blob_url=bucket_server.url(tmp_path.name), blob_access_key=ACCESS_KEY, blob_secret_key=SecretStr(SECRET_KEY)
    )
    kept = api.submit(b"kept")
    assert kept.status_code == 202
    here = [kept.json()["artifacts"][0]["sha256"]]
    for content, order, code in (
        (b"large" * 300, {}, "storage_quota"),
        (b"other", {"project": "nowhere"}, "project_not_found"),
        (b"kept", {"project": "nowhere"}, "project_not_found"),
    ):
        assert code_of(api.submit(content, **order)) == code
        assert bucket_server.objects(tmp_path.name) == here


def test_the_last_room_is_given_once_to_requests_of_one_moment(api: Api, limited: Callable[..., None]) -> None:
    limited(max_stored_bytes=1000)

    async def at_once() -> list[int]:
        parts = [{"artifact": ("run.zip", bytes([number]) * 600)} for number in range(4)]
        answers = await asyncio.gather(
            *(api.http.post("/v1/audits", files=part) for part in parts),
            *(api.http.post("/v1/uploads", json={"length": 600}) for _ in range(4)),
        )
        return sorted(answer.status_code for answer in answers)

    first, *others = api.run(at_once())
    assert (first in {201, 202}, others) == (True, [507] * 7)


def test_a_reserve_of_the_disk_stays_free(replica: Callable[..., Api], settings: Settings, tmp_path: Path) -> None:
    """Uploads are refused before they begin, and those of unknown length as soon as the reserve is reached."""
    short = replica(disk_reserve_bytes=2 * free_bytes(tmp_path))
    for answer in (short.post("/v1/uploads", json={"length": 5}), short.submit(b"a")):
        assert (answer.status_code, code_of(answer)) == (507, "storage_full")
    roomy = replica()
    place = roomy.post("/v1/uploads", json={"length": 5}).headers["Location"]
    refused = short.request("PATCH", place, content=b"12345", headers={"Upload-Offset": "0"})
    assert (refused.status_code, code_of(refused)) == (507, "storage_full")
    answer = roomy.request("PATCH", place, content=b"12345", headers={"Upload-Offset": "0"})
    assert answer.status_code == 204
    just_enough = replica(disk_reserve_bytes=free_bytes(tmp_path) - 64 * 2**20)
    assert code_of(just_enough.post("/v1/uploads", json={"length": 10 * 2**40})) == "artifact_too_large"


def test_the_operator_changes_the_limits_of_one_tenant(
    engine: Engine, owner: Owner, postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNAUDIT_DATABASE_URL", postgres_url)
    process_settings.cache_clear()
    try:
        assert limits.main([owner.tenant.name]) == 0
        assert "requests_per_minute 60000 (the setting)" in capsys.readouterr().out
        assert limits.main([owner.tenant.name, "--requests-per-minute", "5", "--max-stored-bytes", "0"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "requests_per_minute 5",
            "max_queued_audits 10000 (the setting)",
            "max_stored_bytes 0",
        ]
        limits.main([owner.tenant.name, "--requests-per-minute", "default"])
        with Session(engine) as session:
            row = session.get(TenantLimits, owner.tenant.id)
            assert row is not None and (row.requests_per_minute, row.max_stored_bytes) == (None, 0)
        for wrong in ([owner.tenant.name, "--max-queued-audits", "-3"], ["nobody"]):
            with pytest.raises(SystemExit) as ended:
                limits.main(wrong)
            assert ended.value.code == 2
    finally:
        process_settings.cache_clear()


def test_the_operator_of_a_service_that_runs_here_need_not_name_its_database(
    owner: Owner, postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNAUDIT_DATABASE_URL", "")
    monkeypatch.setenv("RUNAUDIT_DATA_DIR", str(tmp_path))
    process_settings.cache_clear()
    try:
        with pytest.raises(SystemExit):
            limits.main([owner.tenant.name])
        assert "RUNAUDIT_DATA_DIR" in capsys.readouterr().err
        (tmp_path / URL_FILE).parent.mkdir()
        (tmp_path / URL_FILE).write_text(postgres_url + "\n")
        assert limits.main([owner.tenant.name, "--max-queued-audits", "3"]) == 0
        assert "max_queued_audits 3" in capsys.readouterr().out.splitlines()
    finally:
        process_settings.cache_clear()


def test_a_bucket_of_nobody_is_forgotten(valkey_url: str, runner: asyncio.Runner) -> None:
    async def asked() -> None:
        limiter = RateLimiter(valkey_url)
        await limiter.admit(tenant, 100)
        await limiter.close()

    tenant = new_id()
    runner.run(asked())
    with Redis.from_url(valkey_url) as broker:
        assert 0 < broker.pttl(f"runaudit:rate:{tenant}") <= 60_000


def test_the_limits_go_with_their_tenant(engine: Engine) -> None:
    with Session(engine) as session:
        tenant = Tenant(id=new_id(), name="leaving")
        session.add(tenant)
        session.flush()
        session.add(TenantLimits(tenant_id=tenant.id, max_queued_audits=1))
        session.flush()
        session.delete(tenant)
        session.commit()
        assert session.get(TenantLimits, tenant.id) is None
