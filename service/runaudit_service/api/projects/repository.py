"""The rows of projects, for one tenant."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.store.models import Project, Tenant


class ProjectRepository:
    """Projects as one tenant sees them."""

    def __init__(self, session: AsyncSession, tenant_id: uuid.UUID) -> None:
        self._session = session
        self._tenant_id = tenant_id

    async def lock(self) -> None:
        """Let only one transaction at a time change this tenant's projects."""
        await self._session.execute(select(Tenant.id).where(Tenant.id == self._tenant_id).with_for_update())

    async def all(self) -> Sequence[Project]:
        """By name."""
        query = select(Project).where(Project.tenant_id == self._tenant_id).order_by(Project.name)
        return (await self._session.scalars(query)).all()

    async def get(self, project_id: uuid.UUID) -> Project | None:
        """The project, or None if this tenant has none of that id."""
        query = select(Project).where(Project.id == project_id, Project.tenant_id == self._tenant_id)
        return (await self._session.scalars(query)).one_or_none()

    async def named(self, name: str) -> Project | None:
        """The project of that name."""
        query = select(Project).where(Project.name == name, Project.tenant_id == self._tenant_id)
        return (await self._session.scalars(query)).one_or_none()

    async def count(self) -> int:
        """How many there are."""
        query = select(func.count()).select_from(Project).where(Project.tenant_id == self._tenant_id)
        return await self._session.scalar(query) or 0

    async def add(self, project: Project) -> Project:
        """Store a new project."""
        project.tenant_id = self._tenant_id
        self._session.add(project)
        await self._session.flush()
        await self._session.refresh(project)
        return project
