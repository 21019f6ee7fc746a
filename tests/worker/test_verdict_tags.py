"""Verdicts that go back to MLflow: once an audit has ended, as tags, and again until they are there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from runaudit_service.store import model_versions, queue
from runaudit_service.store.database import sync_engine
from runaudit_service.store.hook_rows import ModelVersionVerdict
from runaudit_service.store.models import Audit
from runaudit_service.store.settings import Settings
from runaudit_worker.verdict_tags import HEADLINE_CHARACTERS, tell_model_versions
from tests.worker import rows
from tests.worker.webhooks.receiver import Received, Receiver, Reply, receiving

SET_TAG = "/mlflow/api/2.0/mlflow/model-versions/set-tag"


@pytest.fixture
def engine(fresh_postgres_url: str) -> Iterator[Engine]:
    made = sync_engine(fresh_postgres_url)
    yield made
    made.dispose()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def version(engine: Engine) -> UUID:
    """A model version that waits for an audit, which waits for a worker."""
    audit_id = rows.submit(engine).audit_id
    with Session(engine) as session:
        tenant_id = session.get_one(Audit, audit_id).tenant_id
        session.add(ModelVersionVerdict(tenant_id=tenant_id, audit_id=audit_id, model="m/ä", model_version="7"))
        session.commit()
    return audit_id


def claimed(engine: Engine) -> queue.Claim:
    claim = queue.claim(engine, ["cpu"], "worker", 60)
    assert claim is not None
    return claim


def succeed(engine: Engine, headline: str = "The learning rate is too high.") -> None:
    result = queue.Result("fail", headline, ["learning_rate"], "ultralytics", "1", "{}")
    assert queue.succeed(engine, claimed(engine), result)


def waiting(engine: Engine) -> tuple[str, int, str | None]:
    with Session(engine) as session:
        row = session.query(ModelVersionVerdict).one()
        return row.state, row.attempts, row.last_error


def tell(engine: Engine, receiver: Receiver, tmp_path: Path, until: Callable[[], bool], seconds: float = 10) -> None:
    """Run the teller until something is so."""
    settings = Settings(
        data_dir=tmp_path,
        mlflow_tracking_uri=receiver.url("/mlflow/"),
        mlflow_tracking_token=SecretStr("t0ken"),
        public_url="https://audits.example.org",
    )

    async def run() -> None:
        telling = asyncio.create_task(tell_model_versions(settings, engine))
        try:
            async with asyncio.timeout(seconds):
                while not until():
                    await asyncio.sleep(0.02)
        finally:
            telling.cancel()
            await asyncio.wait([telling])

    asyncio.run(run())


def tags(receiver: Receiver) -> dict[str, str]:
    bodies = [json.loads(one.body) for one in receiver.at(SET_TAG)]
    assert all((body["name"], body["version"]) == ("m/ä", "7") for body in bodies)
    return {body["key"]: body["value"] for body in bodies}


def test_a_verdict_goes_back_once_the_audit_has_ended(engine: Engine, receiver: Receiver, tmp_path: Path) -> None:
    audit_id = version(engine)
    assert model_versions.claim(engine, 8, 60) == []
    succeed(engine)
    tell(engine, receiver, tmp_path, lambda: waiting(engine)[0] == "succeeded")
    assert tags(receiver) == {
        "runaudit.verdict": "fail",
        "runaudit.headline": "The learning rate is too high.",
        "runaudit.audit": str(audit_id),
        "runaudit.url": f"https://audits.example.org/v1/audits/{audit_id}/report?format=html",
    }
    assert {one.headers["authorization"] for one in receiver.received} == {"Bearer t0ken"}
    assert waiting(engine) == ("succeeded", 1, None)
    assert model_versions.claim(engine, 8, 60) == []


def test_a_failed_audit_has_no_verdict_and_says_why(engine: Engine, receiver: Receiver, tmp_path: Path) -> None:
    version(engine)
    assert queue.fail(engine, claimed(engine), {"code": "run_not_found", "detail": "No run was found. " + "x" * 9000})
    tell(engine, receiver, tmp_path, lambda: waiting(engine)[0] == "succeeded")
    told = tags(receiver)
    assert told["runaudit.verdict"] == "inconclusive"
    assert told["runaudit.headline"].startswith("The audit failed: No run was found. ")
    assert len(told["runaudit.headline"]) == HEADLINE_CHARACTERS


@pytest.mark.parametrize("status", [500, 429, 403, 302])
def test_what_fails_is_tried_again(engine: Engine, receiver: Receiver, tmp_path: Path, status: int) -> None:
    version(engine)
    succeed(engine)
    receiver.replies[SET_TAG] = Reply(status)
    tell(engine, receiver, tmp_path, lambda: waiting(engine)[1] == 1)
    assert waiting(engine) == ("waiting", 1, f"status {status}")
    assert len(receiver.received) == 1
    receiver.replies[SET_TAG] = Reply(200)
    with engine.begin() as connection:
        wait = connection.execute(text("SELECT next_attempt_at - now() FROM model_version_verdicts")).scalar_one()
        assert 3 < wait.total_seconds() <= 6
        connection.execute(text("UPDATE model_version_verdicts SET next_attempt_at = now()"))
    tell(engine, receiver, tmp_path, lambda: waiting(engine)[0] == "succeeded")
    assert len(tags(receiver)) == 4


def test_a_version_that_was_deleted_is_given_up(engine: Engine, receiver: Receiver, tmp_path: Path) -> None:
    version(engine)
    succeed(engine)
    receiver.replies[SET_TAG] = Reply(404, body=b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}')
    tell(engine, receiver, tmp_path, lambda: waiting(engine)[0] == "failed")
    assert waiting(engine) == ("failed", 1, "gone")


def test_a_teller_that_lost_its_lease_moves_nothing(engine: Engine) -> None:
    version(engine)
    succeed(engine)
    first = model_versions.claim(engine, 8, -1)
    second = model_versions.claim(engine, 8, 60)
    assert len(first) == len(second) == 1 and second[0].fence > first[0].fence
    model_versions.fail(engine, first[0], "late")
    assert waiting(engine) == ("waiting", 0, None)
    model_versions.succeed(engine, second[0])
    assert waiting(engine) == ("succeeded", 1, None)


def test_tags_that_were_half_set_are_set_again(engine: Engine, receiver: Receiver, tmp_path: Path) -> None:
    """The second call fails once, as if MLflow went away in between."""
    version(engine)
    succeed(engine)
    calls: list[Received] = []

    def answer(one: Received) -> Reply:
        calls.append(one)
        return Reply(503 if len(calls) == 2 else 200)

    receiver.replies[SET_TAG] = answer
    tell(engine, receiver, tmp_path, lambda: waiting(engine)[1] == 1)
    with engine.begin() as connection:
        connection.execute(text("UPDATE model_version_verdicts SET next_attempt_at = now()"))
    tell(engine, receiver, tmp_path, lambda: waiting(engine)[0] == "succeeded")
    assert len(calls) == 6 and len(tags(receiver)) == 4
