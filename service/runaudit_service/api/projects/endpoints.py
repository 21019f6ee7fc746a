"""The calls about projects."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from runaudit_service.api.auth import Administrator, Reader
from runaudit_service.api.bodies import documented, read_json
from runaudit_service.api.errors import responses
from runaudit_service.api.projects.repository import ProjectRepository
from runaudit_service.api.projects.schemas import (
    NewSecretBody,
    ProjectBody,
    ProjectChange,
    ProjectList,
    ProjectRequest,
)
from runaudit_service.api.projects.service import ProjectService, no_project
from runaudit_service.api.resources import Shared
from runaudit_service.store.models import Project

router = APIRouter(prefix="/v1/projects", tags=["projects"])


async def _project_id(project_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})]) -> uuid.UUID:
    try:
        return uuid.UUID(project_id)
    except ValueError:
        raise no_project("with this id") from None


ProjectId = Annotated[uuid.UUID, Depends(_project_id)]


@router.get("", operation_id="list_projects", summary="All projects", responses=responses(401, 403, 503))
async def list_projects(caller: Reader, shared: Shared) -> ProjectList:
    """By name. The secret that signs a project's callbacks is never shown here."""
    async with shared.database.reading() as session:
        return ProjectList(items=[_body(row) for row in await ProjectRepository(session, caller.tenant_id).all()])


@router.post(
    "",
    operation_id="create_project",
    summary="Make a project",
    status_code=201,
    openapi_extra=documented(ProjectRequest),
    responses=responses(400, 401, 403, 409, 413, 415, 422, 503),
)
async def create_project(caller: Administrator, shared: Shared, request: Request) -> NewSecretBody:
    """The answer shows the secret that signs the project's callbacks, this once."""
    wanted = await read_json(request, ProjectRequest)
    async with shared.database.transaction() as session:
        project = await ProjectService(session, caller.tenant_id).create(wanted)
    return _with_secret(project)


@router.patch(
    "/{project_id}",
    operation_id="change_project",
    summary="Change a project",
    openapi_extra=documented(ProjectChange),
    responses=responses(400, 401, 403, 404, 409, 413, 415, 422, 503),
)
async def change_project(caller: Administrator, project_id: ProjectId, shared: Shared, request: Request) -> ProjectBody:
    """What is left out stays as it is. A policy is for audits that come from now on."""
    wanted = await read_json(request, ProjectChange)
    async with shared.database.transaction() as session:
        project = await ProjectService(session, caller.tenant_id).change(project_id, wanted)
    return _body(project)


@router.post(
    "/{project_id}/rotate-secret",
    operation_id="rotate_project_secret",
    summary="Give a project a new signing secret",
    responses=responses(401, 403, 404, 503),
)
async def rotate_project_secret(caller: Administrator, project_id: ProjectId, shared: Shared) -> NewSecretBody:
    """The answer shows it this once. For a day callbacks carry two signatures, by the new secret and the one before."""
    async with shared.database.transaction() as session:
        project = await ProjectService(session, caller.tenant_id).rotate_secret(project_id)
    return _with_secret(project)


def _body(project: Project) -> ProjectBody:
    return ProjectBody.model_validate({name: getattr(project, name) for name in ProjectBody.model_fields})


def _with_secret(project: Project) -> NewSecretBody:
    return NewSecretBody(
        **_body(project).model_dump(),
        signing_secret=project.signing_secret or "",
        previous_expires_at=project.previous_signing_secret_expires_at,
    )
