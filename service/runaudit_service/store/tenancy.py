"""The second wall between tenants: row-level security of PostgreSQL, for what a query forgets.

Every query of the API names its tenant. Beside that, the API works as the role `runaudit_api`, which owns no table and
sees only rows of the tenant that its transaction has set (`runaudit.tenant`); where none is set, it sees nothing. A
table that no migration has handed to `protect` can't be touched by that role at all. Workers, the reaper and migrations
own the tables and see all rows.

For the few questions that are about all tenants (long polls, figures for Prometheus, whose secret signed this hook) the
API may become `runaudit_overview` for one transaction, which sees all rows and changes none.

Tenants are set by `set_config(..., true)`: it ends with the transaction, so nothing of it stays in a pooled connection.
"""

from __future__ import annotations

from typing import Final, Protocol

API_ROLE: Final = "runaudit_api"
OVERVIEW_ROLE: Final = "runaudit_overview"
TENANT_SETTING: Final = "runaudit.tenant"

# A setting that was local to an earlier transaction reads as an empty text. The sub-select is looked at once a query.
TENANT: Final = f"(SELECT NULLIF(current_setting('{TENANT_SETTING}', true), '')::uuid)"
OWN_ROWS: Final = f"tenant_id = {TENANT}"


class Operations(Protocol):
    """What is needed of `alembic.op`."""

    def execute(self, sqltext: str) -> None: ...


def rows_of(parent: str, column: str) -> str:
    """The condition for a table without tenant_id, whose `column` names the row of a protected table that it is of."""
    # OFFSET 0 has the parent looked up row by row. Without it PostgreSQL may answer for all rows at once, by a hash of
    # everything that the tenant has: 50 rows of a tenant with 60,000 audits took 17 ms instead of 0.2.
    return f"EXISTS (SELECT FROM {parent} WHERE {parent}.id = {column} OFFSET 0)"


def protect(operations: Operations, table: str, *, rows: str = OWN_ROWS, rights: str = "ALL") -> None:
    """For migrations, after `op.create_table`: let the API see and write the tenant's own rows, and no others.

    Args:
        operations: alembic.op.
        table: its name.
        rows: which rows belong to the tenant: `OWN_ROWS` for a table with a column tenant_id, else
            `rows_of("audits", "audit_id")` or another condition.
        rights: what the API may do, as in GRANT: `ALL` is SELECT, INSERT, UPDATE and DELETE.

    What it does is part of migrations that have run: add another function rather than change this one.
    """
    granted = "SELECT, INSERT, UPDATE, DELETE" if rights == "ALL" else rights
    for statement in (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY own_rows ON {table} TO {API_ROLE} USING ({rows}) WITH CHECK ({rows})",
        f"CREATE POLICY overview ON {table} FOR SELECT TO {OVERVIEW_ROLE} USING (true)",
        f"GRANT {granted} ON {table} TO {API_ROLE}",
        f"GRANT SELECT ON {table} TO {OVERVIEW_ROLE}",
    ):
        operations.execute(statement)


def unprotect(operations: Operations, table: str) -> None:
    """The way back from `protect`, where the table stays. Dropping a table needs no such step."""
    for statement in (
        f"REVOKE ALL ON {table} FROM {API_ROLE}, {OVERVIEW_ROLE}",
        f"DROP POLICY overview ON {table}",
        f"DROP POLICY own_rows ON {table}",
        f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    ):
        operations.execute(statement)
