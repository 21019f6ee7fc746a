"""The calls about API keys."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from runaudit_service.api.auth import Administrator
from runaudit_service.api.bodies import documented, read_json
from runaudit_service.api.errors import NotFoundError, responses
from runaudit_service.api.keys.repository import KeyRepository
from runaudit_service.api.keys.schemas import KeyBody, KeyList, KeyRequest, NewKeyBody, RotationRequest
from runaudit_service.api.keys.service import KeyService
from runaudit_service.api.resources import Shared
from runaudit_service.store.models import ApiKey

router = APIRouter(prefix="/v1/keys", tags=["keys"])


async def _key_id(key_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})]) -> uuid.UUID:
    try:
        return uuid.UUID(key_id)
    except ValueError:
        raise NotFoundError("There is no key with this id.", code="key_not_found") from None


@router.get("", operation_id="list_keys", summary="All API keys", responses=responses(401, 403, 503))
async def list_keys(caller: Administrator, shared: Shared) -> KeyList:
    """Without their secrets, oldest first, revoked ones too."""
    async with shared.database.reading() as session:
        return KeyList(items=[_body(key) for key in await KeyRepository(session, caller.tenant_id).all()])


@router.post(
    "",
    operation_id="create_key",
    summary="Make an API key",
    status_code=201,
    openapi_extra=documented(KeyRequest),
    responses=responses(400, 401, 403, 409, 413, 415, 422, 503),
)
async def create_key(caller: Administrator, shared: Shared, request: Request) -> NewKeyBody:
    """The answer shows the key this once. A key can give only scopes that it has itself."""
    wanted = await read_json(request, KeyRequest)
    async with shared.database.transaction() as session:
        key, text = await KeyService(session, caller).create(wanted)
    return NewKeyBody(**_body(key).model_dump(), key=text)


@router.post(
    "/{key_id}/rotate",
    operation_id="rotate_key",
    summary="Give an API key a new secret",
    openapi_extra=documented(RotationRequest),
    responses=responses(400, 401, 403, 404, 409, 413, 415, 422, 503),
)
async def rotate_key(
    caller: Administrator, key_id: Annotated[uuid.UUID, Depends(_key_id)], shared: Shared, request: Request
) -> NewKeyBody:
    """The answer shows the key with its new secret this once. The secret before goes on working for the grace period;
    one from an earlier rotation stops now."""
    wanted = await read_json(request, RotationRequest)
    async with shared.database.transaction() as session:
        key, text = await KeyService(session, caller).rotate(key_id, wanted.grace_seconds)
    return NewKeyBody(**_body(key).model_dump(), key=text)


@router.delete(
    "/{key_id}",
    operation_id="revoke_key",
    summary="Revoke an API key",
    status_code=204,
    responses=responses(401, 403, 404, 409, 503),
)
async def revoke_key(caller: Administrator, key_id: Annotated[uuid.UUID, Depends(_key_id)], shared: Shared) -> None:
    """It stops working at once. The last key that could make others stays."""
    async with shared.database.transaction() as session:
        await KeyService(session, caller).revoke(key_id)


def _body(key: ApiKey) -> KeyBody:
    return KeyBody.model_validate(
        {name: getattr(key, name) for name in KeyBody.model_fields},
    )
