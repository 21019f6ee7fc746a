"""What a page of history costs, by filter, by depth, and by how many audits there are.

Fills one database with 5,000 audits and one with many (`--audits`, 5,000,000 unless told otherwise) of 20 tenants, of
which one has 60 of 100, and times pages of 50 as the API reads them. Target: the same cost at any depth, and at most
twice what it costs with 5,000. Five million take 16 GB of disk, and several minutes to fill.

    python -m benchmarks.history --audits 1000000

Rare things are there as well, as many of them among few audits as among many, so that the same page is compared: a
cause that 50 audits have (of 5,000,000: one in 100,000), a label that one has, one that none has, and two filters that
are both common and never fit the same audit.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import psycopg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from benchmarks.embedded_database import embedded_database
from runaudit.causes import CAUSES
from runaudit_service.api.audits.history import AuditHistory, Page
from runaudit_service.api.audits.schemas import AuditSelection
from runaudit_service.api.pagination import Position
from runaudit_service.embedded.postgres import Postgres
from runaudit_service.store import migrate
from runaudit_service.store.database import async_engine
from runaudit_service.store.tenancy import API_ROLE, TENANT_SETTING

FEW: Final = 5_000
TENANTS: Final = 20
PAGE_SIZE: Final = 50
DEPTHS: Final = (0.0, 0.5, 0.99)
TARGET: Final = 2.0
YEARS: Final = 3

# Verdicts and causes as they might fall: most audits find something, the first causes of the catalogue most often.
_FILL: Final = """
INSERT INTO tenants (id, name) SELECT uuidv7(), 'tenant ' || n FROM generate_series(1, %(tenants)s) AS n;
INSERT INTO projects (id, tenant_id, name)
    SELECT uuidv7(), id, 'project ' || n FROM tenants, generate_series(1, 5) AS n;
CREATE TEMPORARY TABLE places AS
    SELECT row_number() OVER (ORDER BY projects.name, tenants.name) - 1 AS place, projects.id AS project_id,
        tenant_id, tenants.name = 'tenant 1' AS largest, projects.name AS project
    FROM projects JOIN tenants ON tenants.id = tenant_id;
CREATE TEMPORARY TABLE made AS
    SELECT n,
        now() - make_interval(secs => (%(audits)s - n) * %(seconds)s::double precision / %(audits)s) AS created_at,
        CASE WHEN random() < 0.6 THEN 0 ELSE 1 + floor(random() * 19)::int END AS tenant,
        floor(5 * random() ^ 2)::int AS project,
        (ARRAY['pass','warn','fail','fail','fail','inconclusive'])[1 + floor(random() * 6)::int] AS verdict,
        (ARRAY['ultralytics','ultralytics','ultralytics','yolov5'])[1 + floor(random() * 4)::int] AS framework,
        CASE WHEN random() < 0.02 THEN 'failed' ELSE 'succeeded' END AS state,
        ARRAY(SELECT DISTINCT (%(causes)s::text[])[1 + floor(19 * random() ^ 2)::int]
              FROM generate_series(1, floor(random() * 3)::int + (n - n)::int)) AS causes,
        (ARRAY['main','main','dev','release'])[1 + floor(random() * 4)::int] AS branch
    FROM generate_series(1, %(audits)s) AS n;
INSERT INTO audits (id, tenant_id, project_id, run_name, state, verdict, headline, causes, framework, labels,
        fingerprint, auditor_version, created_at, started_at, ended_at, progress_stage, attempt, version)
    SELECT uuidv7(created_at - now()), places.tenant_id, places.project_id, 'yolo11n-' || n, state,
        CASE state WHEN 'succeeded' THEN verdict END,
        CASE state WHEN 'succeeded' THEN 'The learning rate made training diverge at epoch 3.' END,
        CASE WHEN state = 'failed' THEN '{}'
             WHEN n %% (%(audits)s / 50) = 77 THEN causes || %(rare)s::text ELSE causes END,
        CASE state WHEN 'succeeded' THEN framework END,
        jsonb_build_object('branch', branch, 'gpu', CASE framework WHEN 'yolov5' THEN 'T4' ELSE 'H100' END)
            || CASE WHEN n = %(audits)s / 2 THEN '{"note": "look at this"}'::jsonb ELSE '{}' END,
        md5(n::text) || md5(n::text), '0.1.0', created_at, created_at, created_at + interval '40 s', state, 1, 9
    FROM made JOIN places ON places.place = made.project * %(tenants)s + made.tenant;
INSERT INTO audit_terms (tenant_id, term, created_at, audit_id)
    SELECT tenant_id, 'cause:' || cause, created_at, id FROM audits, unnest(causes) AS cause
    UNION ALL SELECT tenant_id, 'label:' || key || ':' || value, created_at, id FROM audits, jsonb_each_text(labels);
INSERT INTO artifacts (id, tenant_id, sha256, bytes) SELECT uuidv7(), id, repeat('0', 64), 5242880 FROM tenants;
INSERT INTO audit_artifacts (audit_id, role, artifact_id)
    SELECT audits.id, 'run', artifacts.id FROM audits JOIN artifacts ON artifacts.tenant_id = audits.tenant_id;
"""
_LARGEST: Final = "SELECT tenant_id FROM audits GROUP BY tenant_id ORDER BY count(*) DESC LIMIT 1"
RARE_CAUSE: Final = CAUSES[-1]

FILTERS: Final[dict[str, dict[str, Any]]] = {
    "everything": {},
    "everything, oldest first": {"sort": "created_at"},
    "project": {"project": ["project 1"]},
    "three projects": {"project": ["project 1", "project 2", "project 3"]},
    "verdict fail": {"verdict": ["fail"]},
    "state failed": {"state": ["failed"]},
    "framework yolov5": {"framework": ["yolov5"]},
    "a frequent cause": {"cause": [CAUSES[0]]},
    "three causes": {"cause": [CAUSES[0], CAUSES[3], CAUSES[15]]},
    "a cause of 50 audits": {"cause": [RARE_CAUSE]},
    "label branch:main": {"label": ["branch:main"]},
    "a label of one audit": {"label": ["note:look at this"]},
    "a label of none": {"label": ["branch:nobody"]},
    "project and verdict": {"project": ["project 1"], "verdict": ["warn"]},
    "cause, verdict, label": {"cause": [CAUSES[2]], "verdict": ["fail"], "label": ["branch:dev"]},
    "rare cause and verdict": {"cause": [RARE_CAUSE], "verdict": ["fail"]},
    "two that exclude each other": {"framework": ["yolov5"], "label": ["gpu:H100"]},
}


@dataclass(frozen=True)
class Measured:
    """A page at one depth: the least that it cost in milliseconds, and how many audits it holds."""

    milliseconds: float
    audits: int


def fill(url: str, audits: int) -> None:
    """Write the rows without their indexes and foreign keys, and the indexes after them, which is many times faster."""
    values = {
        "audits": audits,
        "tenants": TENANTS,
        "seconds": YEARS * 365 * 86400,
        "causes": [*CAUSES],
        "rare": RARE_CAUSE,
    }
    tables = "'audits', 'audit_terms', 'audit_artifacts'"
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(
            "SET session_replication_role = replica; SET maintenance_work_mem = '1GB'; SET work_mem = '256MB'"
        )
        plain = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' "
            f"AND tablename IN ({tables}) AND indexname NOT LIKE 'pk_%'"
        ).fetchall()
        for name, _ in plain:
            connection.execute(f'DROP INDEX "{name}"')  # type: ignore[arg-type]
        connection.execute(_FILL, values)
        for _, definition in plain:
            connection.execute(definition)  # type: ignore[arg-type]
        connection.execute("VACUUM (ANALYZE)")


async def measure(sizes: Sequence[tuple[AsyncEngine, UUID]], rounds: int) -> list[dict[tuple[str, float], Measured]]:
    """Every filter at every depth, of each database in turn, so that what else the machine does hits them alike."""
    measured: list[dict[tuple[str, float], Measured]] = [{} for _ in sizes]
    ends = [await _ends(engine, tenant_id) for engine, tenant_id in sizes]
    for name, wanted in FILTERS.items():
        selection = AuditSelection.model_validate(wanted)
        for depth in DEPTHS:
            share = depth if selection.ascending else 1 - depth
            for _ in range(rounds):
                for (engine, tenant_id), (oldest, newest), costs in zip(sizes, ends, measured, strict=True):
                    after = Position(oldest + (newest - oldest) * share, UUID(int=2**127)) if depth else None
                    begun = time.perf_counter()
                    page = await _page(engine, tenant_id, selection, after)
                    took = (time.perf_counter() - begun) * 1000
                    best = costs.get((name, depth))
                    costs[name, depth] = Measured(min(took, best.milliseconds if best else took), len(page.records))
    return measured


async def _page(engine: AsyncEngine, tenant_id: UUID, selection: AuditSelection, after: Position | None) -> Page:
    async with AsyncSession(engine) as session:
        connection = await session.connection()
        await connection.exec_driver_sql(f"SELECT set_config('{TENANT_SETTING}', %s, true)", (str(tenant_id),))
        return await AuditHistory(session, tenant_id).page(selection, after, PAGE_SIZE)


async def _ends(engine: AsyncEngine, tenant_id: UUID) -> tuple[datetime, datetime]:
    ends = []
    for sort in ("created_at", "-created_at"):
        page = await _page(engine, tenant_id, AuditSelection.model_validate({"sort": sort}), None)
        ends.append(page.records[0].audit.created_at)
    return ends[0], ends[1]


async def explain(engine: AsyncEngine, tenant_id: UUID, name: str, depth: float) -> str:
    """The plans of a page's statements, as PostgreSQL carries them out."""
    statements: list[tuple[str, Any]] = []

    def keep(_c: Any, _u: Any, statement: str, parameters: Any, _x: Any, _m: bool) -> None:
        statements.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", keep)
    oldest, newest = await _ends(engine, tenant_id)
    statements.clear()
    selection = AuditSelection.model_validate(FILTERS[name])
    await _page(
        engine, tenant_id, selection, Position(oldest + (newest - oldest) * (1 - depth), UUID(int=0)) if depth else None
    )
    event.remove(engine.sync_engine, "before_cursor_execute", keep)
    lines = []
    async with engine.connect() as connection:
        for statement, parameters in statements:
            if "set_config" in statement:
                await connection.exec_driver_sql(statement, parameters)
            elif statement.startswith("SELECT"):
                plan = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)
                lines += ["", *(row[0] for row in plan)]
    return "\n".join(lines)


async def _both(server: Postgres, names: Sequence[str], options: argparse.Namespace) -> None:
    sizes = []
    for name in names:
        with psycopg.connect(server.url(name)) as connection:
            (tenant_id,) = connection.execute(_LARGEST).fetchone() or (None,)
        sizes.append((async_engine(server.url(name), pool_size=1, role=API_ROLE), tenant_id))
    # The first round fills the caches, as those of a service that runs are; the least of all rounds is taken.
    few, many = await measure(sizes, options.rounds)
    (_, _), (engine, tenant_id) = sizes
    print(f"{'filter':30} {'depth':>5} {'few':>9} {'many':>9} {'ratio':>6} {'to first page':>13}  audits on the page")
    slow = []
    for (name, depth), page in many.items():
        ratio = page.milliseconds / few[name, depth].milliseconds
        deep = page.milliseconds / many[name, 0.0].milliseconds
        print(
            f"{name:30} {depth:5.0%} {few[name, depth].milliseconds:6.2f} ms {page.milliseconds:6.2f} ms {ratio:6.2f} "
            f"{deep:13.2f}  {page.audits}"
        )
        if ratio > TARGET:
            slow.append((name, depth))
    print(f"pages that cost more than {TARGET:g} times what they cost with {FEW} audits: {len(slow)} of {len(many)}")
    for name, depth in slow if options.explain else ():
        print(f"\n{name} at {depth:.0%}:", await explain(engine, tenant_id, name, depth))
    for engine, _ in sizes:
        await engine.dispose()


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--explain", action="store_true", help="show the plans of pages that miss the target")
    options = parser.parse_args()
    names = {"few": FEW, "many": options.audits}
    with embedded_database(options=("shared_buffers=512MB", "synchronous_commit=off", "max_wal_size=8GB")) as server:
        for name, audits in names.items():
            server.create_database(name)
            migrate.upgrade(server.url(name))
            begun = time.perf_counter()
            fill(server.url(name), audits)
            print(f"{audits} audits filled in {time.perf_counter() - begun:.0f} s")
        asyncio.run(_both(server, [*names], options))


if __name__ == "__main__":
    main()
