"""Whether an artifact need be sent at all."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path
from fastapi.responses import Response

from runaudit_service.api.artifacts.repository import ArtifactRepository
from runaudit_service.api.auth import Writer
from runaudit_service.api.errors import NotFoundError, responses
from runaudit_service.api.resources import Shared
from runaudit_service.api.response_headers import DIGEST_TAG
from runaudit_service.store.blobs import SHA256

router = APIRouter(prefix="/v1/artifacts", tags=["uploads"])

_DIGEST: Final = {"pattern": f"^{SHA256.pattern}$"}


@router.head(
    "/{sha256}",
    operation_id="has_artifact",
    summary="Whether this artifact is here already",
    response_class=Response,
    responses=responses(
        401, 403, 404, 503, answers={200: {"description": "It is: name it by its digest", "headers": DIGEST_TAG}}
    ),
)
async def has_artifact(
    caller: Writer, shared: Shared, sha256: Annotated[str, Path(json_schema_extra=_DIGEST)]
) -> Response:
    """200 if this tenant has sent an artifact of this SHA-256 and it is still here; else 404. It then stays long enough
    to be named in `POST /v1/audits`."""
    # Looked for before the transaction, too: a store that hangs must not keep the database's connections.
    if SHA256.fullmatch(sha256) is not None and await shared.blobs.look(sha256):
        async with shared.database.transaction() as session:
            artifacts = ArtifactRepository(session, caller.tenant_id)
            await artifacts.hold_blob(sha256)
            if await artifacts.touch(sha256) and await shared.blobs.look(sha256):
                return Response(status_code=200, headers={"ETag": f'"{sha256}"'})
    raise NotFoundError(f"There is no artifact {sha256[:64]}.", code="artifact_not_found")
