"""What happens to projects: made, changed, their secrets rotated. Flushes only; the endpoint commits."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from runaudit.diagnostics.policy import Policy
from runaudit_service.api.errors import ConflictError, NotFoundError
from runaudit_service.api.projects.repository import ProjectRepository
from runaudit_service.api.projects.schemas import ProjectChange, ProjectRequest
from runaudit_service.store import signing
from runaudit_service.store.models import Project

# The list of projects is one page; more projects than this are a program's mistake.
MAX_PROJECTS: Final = 1000
PREVIOUS_SECRET_GRACE: Final = timedelta(hours=24)
"""how long callbacks carry two signatures after a rotation, so that a receiver has the time to change"""


class ProjectService:
    """The projects of one tenant, inside the transaction of `session`."""

    def __init__(self, session: AsyncSession, tenant_id: uuid.UUID) -> None:
        self._session = session
        self._projects = ProjectRepository(session, tenant_id)

    async def create(self, wanted: ProjectRequest) -> Project:
        """A new project. Raises ConflictError if there is one of that name, or too many."""
        await self._projects.lock()
        await self._require_free(wanted.name)
        if await self._projects.count() >= MAX_PROJECTS:
            raise ConflictError(f"There are {MAX_PROJECTS} projects already.", code="too_many_projects")
        return await self._projects.add(
            Project(
                name=wanted.name,
                default_policy=_stored(wanted.default_policy),
                retention_days=wanted.retention_days,
                signing_secret=signing.new_secret(),
            )
        )

    async def change(self, project_id: uuid.UUID, wanted: ProjectChange) -> Project:
        """Change what the request names. Raises NotFoundError, and ConflictError for a name that is taken."""
        await self._projects.lock()
        project = await self._get(project_id)
        if wanted.name is not None and wanted.name != project.name:
            await self._require_free(wanted.name)
            project.name = wanted.name
        if "default_policy" in wanted.model_fields_set:
            project.default_policy = _stored(wanted.default_policy)
        if "retention_days" in wanted.model_fields_set:
            project.retention_days = wanted.retention_days
        await self._session.flush()
        return project

    async def rotate_secret(self, project_id: uuid.UUID) -> Project:
        """Give the project a new secret; the present one signs beside it for PREVIOUS_SECRET_GRACE.

        Raises NotFoundError.
        """
        await self._projects.lock()
        project = await self._get(project_id)
        project.previous_signing_secret = project.signing_secret
        project.previous_signing_secret_expires_at = datetime.now(UTC) + PREVIOUS_SECRET_GRACE
        project.signing_secret = signing.new_secret()
        await self._session.flush()
        return project

    async def _get(self, project_id: uuid.UUID) -> Project:
        project = await self._projects.get(project_id)
        if project is None:
            raise no_project(project_id)
        return project

    async def _require_free(self, name: str) -> None:
        if await self._projects.named(name) is not None:
            raise ConflictError(f"There is a project {name!r} already.", code="project_exists", place="/name")


def no_project(project_id: object) -> NotFoundError:
    """The error of an id that no project of this tenant has."""
    return NotFoundError(f"There is no project {project_id}.", code="project_not_found")


def _stored(policy: Policy | None) -> dict[str, Any]:
    return policy.model_dump(mode="json", exclude_defaults=True) if policy else {}
