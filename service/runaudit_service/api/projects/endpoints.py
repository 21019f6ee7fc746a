"""The calls about projects: so far they can be listed."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import select

from runaudit_service.api.auth import Reader
from runaudit_service.api.errors import responses
from runaudit_service.api.projects.schemas import ProjectBody, ProjectList
from runaudit_service.api.resources import Shared
from runaudit_service.store.models import Project

router = APIRouter(prefix="/v1/projects", tags=["projects"])


@router.get("", operation_id="list_projects", summary="All projects", responses=responses(401, 403, 503))
async def list_projects(caller: Reader, shared: Shared) -> ProjectList:
    """By name. The secret that signs a project's callbacks is never shown here."""
    query = select(Project).where(Project.tenant_id == caller.tenant_id).order_by(Project.name)
    async with shared.database.reading() as session:
        return ProjectList(items=[_body(project) for project in await session.scalars(query)])


def _body(project: Project) -> ProjectBody:
    return ProjectBody.model_validate({name: getattr(project, name) for name in ProjectBody.model_fields})
