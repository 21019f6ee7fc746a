"""A second wall between tenants: row-level security, and the roles that the API works as (see store/tenancy.py).

Revision: 0005, after 0004.
"""

from __future__ import annotations

from alembic import op

from runaudit_service.store import tenancy

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Roles belong to the whole server, so another database of it may have made them, or be making them at this moment.
# NOINHERIT: only one who becomes runaudit_overview sees what it sees. The owner must be able to become both.
ROLES = """
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['runaudit_overview', 'runaudit_api'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'this database user may not create the role %: '
                        'see "Tenants" in docs/deployment.md', wanted;
            END;
        END IF;
    END LOOP;
    IF NOT pg_has_role('runaudit_api', 'runaudit_overview', 'MEMBER') THEN
        GRANT runaudit_overview TO runaudit_api;
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        BEGIN
            EXECUTE format('GRANT runaudit_api TO %I', current_user);
        EXCEPTION WHEN insufficient_privilege THEN
            -- An administrator made the roles; membership is all that is needed.
            IF NOT pg_has_role(current_user, 'runaudit_api', 'MEMBER') THEN RAISE; END IF;
        END;
    END IF;
END $$
"""

# A key has to be found before anyone knows whose it is. Whoever knows the lookup part of a key learns its row, no more.
FIND_KEY = """
CREATE FUNCTION find_api_key(wanted text) RETURNS SETOF api_keys
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS 'SELECT * FROM api_keys WHERE lookup = wanted'
"""

OWN = ("projects", "api_keys", "artifacts", "audits", "audit_terms", "events")
OF_AUDITS = ("audit_artifacts", "jobs", "reports")


def upgrade() -> None:
    op.execute(ROLES)
    op.execute("GRANT USAGE ON SCHEMA public TO runaudit_api, runaudit_overview")
    op.execute("GRANT SELECT ON alembic_version TO runaudit_api, runaudit_overview")
    # Keys are changed under a lock of their tenant's row, which needs the right to update it.
    tenancy.protect(op, "tenants", rows=f"id = {tenancy.TENANT}", rights="SELECT, UPDATE")
    for table in OWN:
        tenancy.protect(op, table)
    for table in OF_AUDITS:
        tenancy.protect(op, table, rows=tenancy.rows_of("audits", "audit_id"))
    tenancy.protect(op, "idempotency_keys", rows=tenancy.rows_of("api_keys", "api_key_id"))
    op.execute(FIND_KEY)
    op.execute("REVOKE ALL ON FUNCTION find_api_key(text) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION find_api_key(text) TO runaudit_api")


def downgrade() -> None:
    """The roles stay: other databases of the same server may use them."""
    op.execute("DROP FUNCTION find_api_key(text)")
    for table in ("idempotency_keys", *OF_AUDITS, *OWN, "tenants"):
        tenancy.unprotect(op, table)
    op.execute("REVOKE ALL ON alembic_version FROM runaudit_api, runaudit_overview")
    op.execute("REVOKE ALL ON SCHEMA public FROM runaudit_api, runaudit_overview")
