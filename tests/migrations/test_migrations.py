"""The migrations: they make what the models say, go down and up with rows in the tables, and only ever once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.orm import Session

from runaudit_service.store import migrate
from runaudit_service.store.database import sync_engine
from runaudit_service.store.hook_rows import HookDelivery, ModelVersionVerdict
from runaudit_service.store.limit_rows import TenantLimits
from runaudit_service.store.models import (
    ApiKey,
    Artifact,
    Audit,
    AuditArtifact,
    AuditTerm,
    Base,
    Event,
    IdempotencyKey,
    Job,
    Project,
    ReportRow,
    Tenant,
)
from runaudit_service.store.upload_rows import Upload, UploadPart
from runaudit_service.store.webhooks import WebhookAttempt, WebhookCallback, WebhookDelivery, WebhookEndpoint

ROOT = Path(__file__).parents[2]
CREATED_AT = datetime(2026, 11, 24, tzinfo=UTC)
TERMS = ("cause:overfitting", "label:branch:main")


@pytest.fixture
def engine(empty_postgres_url: str) -> Iterator[Engine]:
    made = sync_engine(empty_postgres_url)
    yield made
    made.dispose()


def revisions() -> list[str]:
    """From the first to the newest."""
    scripts = ScriptDirectory.from_config(migrate.configuration())
    return [script.revision for script in scripts.walk_revisions()][::-1]


def fill(engine: Engine) -> None:
    """A row in every table."""
    with Session(engine) as session:
        tenant = Tenant(name="t")
        session.add(tenant)
        session.flush()
        project = Project(tenant_id=tenant.id, name="p", default_policy={"min_map50": 0.5})
        key = ApiKey(tenant_id=tenant.id, name="k", lookup="l", secret_hash="h", scopes=["admin"])
        artifact = Artifact(tenant_id=tenant.id, sha256="0" * 64, bytes=2**40, file_name="run.zip")
        session.add_all([project, key, artifact])
        session.flush()
        audit = Audit(
            tenant_id=tenant.id,
            project_id=project.id,
            fingerprint="f",
            auditor_version="1",
            created_at=CREATED_AT,
            causes=["overfitting"],
            labels={"branch": "main"},
        )
        session.add(audit)
        session.flush()
        session.add_all(
            [
                AuditArtifact(audit_id=audit.id, role="run", artifact_id=artifact.id),
                Job(audit_id=audit.id, kind="audit", queue="gpu"),
                ReportRow(audit_id=audit.id, schema_version="1", body={"verdict": "pass"}, fence=1),
                Event(tenant_id=tenant.id, audit_id=audit.id, type="audit.queued"),
                *(
                    AuditTerm(tenant_id=tenant.id, term=term, created_at=CREATED_AT, audit_id=audit.id)
                    for term in TERMS
                ),
                IdempotencyKey(api_key_id=key.id, operation="POST /", key="1", expires_at=text("now()")),
                Upload(id=audit.id, tenant_id=tenant.id, length=2, received=1, expires_at=CREATED_AT),
                TenantLimits(tenant_id=tenant.id, requests_per_minute=60),
                HookDelivery(project_id=project.id, delivery_id="1", tenant_id=tenant.id, audit_id=audit.id),
                ModelVersionVerdict(tenant_id=tenant.id, audit_id=audit.id, model="m", model_version="1"),
                WebhookCallback(audit_id=audit.id, url="https://example.com/callback"),
                WebhookEndpoint(tenant_id=tenant.id, url="https://example.com/", events=["audit.queued"], secret="s"),
            ]
        )
        session.commit()
        # The event's trigger wrote a delivery to each.
        session.add(UploadPart(upload_id=audit.id, start=0, bytes=1, holder=audit.id))
        delivery = session.scalars(select(WebhookDelivery).where(WebhookDelivery.endpoint_id.is_not(None))).one()
        attempt = WebhookAttempt(tenant_id=tenant.id, delivery_id=delivery.id, started_at=CREATED_AT, seconds=0.1)
        session.add(attempt)
        session.commit()


def counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {
            table.name: connection.execute(text(f"SELECT count(*) FROM {table.name}")).scalar_one()
            for table in Base.metadata.sorted_tables
        }


def test_there_is_one_head() -> None:
    assert ScriptDirectory.from_config(migrate.configuration()).get_heads() == [migrate.head_revision()]


def test_models_and_migrations_agree(empty_postgres_url: str, engine: Engine) -> None:
    assert migrate.differences(engine)
    migrate.upgrade(empty_postgres_url)
    assert migrate.differences(engine) == []


def test_the_migrated_schema_is_the_models_to_the_letter(
    empty_postgres_url: str, engine: Engine, fresh_postgres_url: str
) -> None:
    """Alembic does not compare check constraints and partial indexes; PostgreSQL's own words for them do."""
    Base.metadata.create_all(engine)
    migrated = sync_engine(fresh_postgres_url)
    query = text(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version' "
        # The trigger of webhooks, which no model has.
        "AND contype <> 't' "
        "UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes "
        "WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1, 2, 3"
    )
    with engine.connect() as ours, migrated.connect() as theirs:
        made = [tuple(row) for row in ours.execute(query)]
        assert made == [tuple(row) for row in theirs.execute(query)]
    assert len(made) > 40
    migrated.dispose()


def test_up_and_down_with_rows_in_the_tables(empty_postgres_url: str, engine: Engine) -> None:
    migrate.upgrade(empty_postgres_url)
    fill(engine)
    before = counts(engine)
    assert all(before.values())
    migrate.upgrade(empty_postgres_url)
    assert counts(engine) == before
    engine.dispose()
    for revision in [*revisions()[:-1][::-1], migrate.BASE]:
        migrate.downgrade(empty_postgres_url, revision)
        assert not migrate.at_head(engine)
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    for revision in revisions():
        migrate.upgrade(empty_postgres_url, revision)
    assert migrate.at_head(engine)
    fill(engine)


def test_artifacts_that_no_audit_uses_are_released_when_the_column_comes(
    empty_postgres_url: str, engine: Engine
) -> None:
    migrate.upgrade(empty_postgres_url)
    fill(engine)
    with Session(engine) as session:
        tenant = session.scalars(select(Tenant)).one()
        session.add(Artifact(tenant_id=tenant.id, sha256="1" * 64, bytes=1))
        session.commit()
    engine.dispose()
    migrate.downgrade(empty_postgres_url, "0002")
    migrate.upgrade(empty_postgres_url)
    with Session(engine) as session:
        released = {row.sha256[0]: row.released_at is not None for row in session.scalars(select(Artifact))}
    assert released == {"0": False, "1": True}


def test_the_terms_of_audits_are_found_when_their_table_comes(empty_postgres_url: str, engine: Engine) -> None:
    migrate.upgrade(empty_postgres_url)
    fill(engine)
    engine.dispose()
    migrate.downgrade(empty_postgres_url, "0003")
    migrate.upgrade(empty_postgres_url)
    with Session(engine) as session:
        rows = session.scalars(select(AuditTerm).order_by(AuditTerm.term)).all()
    assert tuple(row.term for row in rows) == TERMS
    assert {row.created_at for row in rows} == {CREATED_AT}


def test_a_failed_migration_leaves_nothing(empty_postgres_url: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE reports (in_the_way int)"))
    with pytest.raises(Exception, match="reports"):
        migrate.upgrade(empty_postgres_url)
    assert inspect(engine).get_table_names() == ["reports"]


def test_servers_that_start_together_migrate_once(empty_postgres_url: str, engine: Engine) -> None:
    failures: list[BaseException] = []

    def start() -> None:
        program = f"from runaudit_service.store import migrate; migrate.upgrade({empty_postgres_url!r})"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        if done.returncode:
            failures.append(AssertionError(done.stderr))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert migrate.at_head(engine)


@pytest.mark.slow  # builds a wheel
def test_the_wheel_brings_packages_and_migrations(tmp_path: Path) -> None:
    """What an installed Runaudit needs is in the wheel: every package of the tree, and the migrations."""
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    tree.mkdir()
    for folder in ("runaudit", "service", "worker", "migrations"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree / name)
    program = (
        "import sys; from setuptools import build_meta; "
        "sys.stderr.write('WHEEL ' + build_meta.build_wheel(sys.argv[1]) + '\\n')"
    )
    built = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=tree, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    target = tmp_path / "installed"
    shutil.unpack_archive(next(tmp_path.glob("*.whl")), target, format="zip")
    for source in ("runaudit", "service/runaudit_service", "worker/runaudit_worker"):
        written = {path.relative_to(tree / source) for path in (tree / source).rglob("*.py")}
        packed = {path.relative_to(target / Path(source).name) for path in (target / Path(source).name).rglob("*.py")}
        assert written <= packed, f"not in the wheel: {sorted(map(str, written - packed))}"
    look = (
        "import json; from runaudit_service.store import migrate; "
        "print(json.dumps([str(migrate.script_folder()), migrate.head_revision()]))"
    )
    told = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(target)!r}); {look}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    folder, head = json.loads(told.stdout)
    assert (Path(folder), head) == (target / "runaudit_service" / "migrations", migrate.head_revision())
