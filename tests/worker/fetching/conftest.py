"""An egress worker on a database of its own, and servers of the outside for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from runaudit_service.store.bell import Bell
from runaudit_service.store.models import AuditArtifact, Job
from runaudit_service.store.settings import Settings
from runaudit_worker.workshop import Workshop
from tests.worker import rows
from tests.worker.outside import Authority
from tests.worker.workplace import Workplace

SECRET = "s3cr3t-token"
"""in every URL of these tests: it may be seen nowhere"""


@dataclass
class Egress:
    """A workshop that fetches, called in the test's own process."""

    engine: Engine
    bell: Bell
    settings: Settings
    workshop: Workshop = field(init=False)

    def __post_init__(self) -> None:
        self.workshop = Workshop(self.engine, self.bell, self.settings)

    def submit(self, url: str, data_url: str | None = None, *, max_attempts: int = 3) -> rows.Submitted:
        """An audit whose artifacts are to be fetched, as the API writes it."""
        submitted = rows.submit(self.engine, max_attempts=max_attempts)
        urls = {"run": url} | ({"data": data_url} if data_url else {})
        with Session(self.engine) as session:
            session.execute(text("DELETE FROM audit_artifacts WHERE audit_id = :id"), {"id": submitted.audit_id})
            for role, one in urls.items():
                session.add(AuditArtifact(audit_id=submitted.audit_id, role=role, url=one))
            session.execute(
                text("UPDATE jobs SET kind = 'fetch', queue = 'egress' WHERE id = :id"), {"id": submitted.job_id}
            )
            session.execute(
                text("UPDATE audits SET state = 'fetching', progress_stage = 'fetching' WHERE id = :id"),
                {"id": submitted.audit_id},
            )
            session.commit()
        return submitted

    def work(self) -> bool:
        """Answer one bell of the egress queue."""
        return self.workshop.answer_bell("egress")

    def outcome(self, url: str, data_url: str | None = None) -> dict[str, Any]:
        """Fetch once, and the problem with which the audit then failed; none if it did not."""
        submitted = self.submit(url, data_url)
        assert self.work()
        audit = rows.audit_of(self.engine, submitted)
        problem = audit.error or {}
        assert (audit.state == "failed") == bool(problem)
        assert SECRET not in str(problem)
        return problem

    def uses(self, submitted: rows.Submitted) -> dict[str, AuditArtifact]:
        with Session(self.engine, expire_on_commit=False) as session:
            found = session.scalars(select(AuditArtifact).where(AuditArtifact.audit_id == submitted.audit_id))
            return {use.role: use for use in found}

    def jobs(self, audit_id: UUID) -> list[Job]:
        with Session(self.engine, expire_on_commit=False) as session:
            return list(session.scalars(select(Job).where(Job.audit_id == audit_id).order_by(Job.created_at, Job.id)))

    def due_now(self) -> None:
        """Let no time pass until the next attempt."""
        with self.engine.begin() as connection:
            connection.execute(text("UPDATE jobs SET run_after = now() WHERE state = 'queued'"))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder: Path = tmp_path_factory.mktemp("authority")
    return Authority.make(folder, "127.0.0.1", "localhost")


@pytest.fixture
def fetch_settings(workplace: Workplace, authority: Authority) -> dict[str, Any]:
    return {
        "database_url": workplace.database_url,
        "broker_url": workplace.broker_url,
        "data_dir": workplace.data_dir,
        "lease_seconds": 5,
        "fetch_allow_cidrs": "127.0.0.1",
        "fetch_ca_file": authority.pem,
        "fetch_s3_buckets": "models, runs",
        "fetch_s3_access_key": "AKIDEXAMPLE",
        "fetch_s3_secret_key": SecretStr("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        "max_upload_bytes": 200_000,
    }


@pytest.fixture
def egress(workplace: Workplace, fetch_settings: dict[str, Any]) -> Iterator[Egress]:
    bell = Bell(workplace.broker_url)
    yield Egress(workplace.engine, bell, Settings(**fetch_settings))
    bell.close()
