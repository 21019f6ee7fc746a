"""Where the artifacts of a request come from: parts of the body, uploads, digests, URLs, or paths of the data roots."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.audits.schemas import AuditRequest, DataSource
from runaudit_service.api.errors import ConflictError, InvalidRequestError
from runaudit_service.api.multipart import Submission
from runaudit_service.api.uploads.errors import UploadNotFoundError
from runaudit_service.api.uploads.repository import UploadRepository
from runaudit_service.store.address_rule import is_hopeless
from runaudit_service.store.remote_source import parse_source
from runaudit_service.store.settings import Settings
from runaudit_service.store.web_address import UrlNotAllowedError, WebAddress

_DATA_FILES: Final = frozenset({".yaml", ".yml"})


def require_one_source_each(order: AuditRequest, submission: Submission) -> None:
    """Exactly one source of the run, at most one of the data, and only those that are served. InvalidRequestError."""
    named = [name for name in ("artifact_sha256", "upload_id", "artifact_url") if getattr(order, name) is not None]
    if len(named) + ("artifact" in submission.files) != 1:
        raise InvalidRequestError(
            "Exactly one source of the run is needed: a file part `artifact`, or `artifact_url`, `upload_id` or "
            "`artifact_sha256`.",
            code="artifact_ambiguous" if named else "artifact_missing",
            place=f"/{named[-1]}" if named else "/artifact_sha256",
        )
    if "data" in submission.files and order.data is not None:
        raise InvalidRequestError(
            "The data set has two sources: a file part `data`, and `data` of the request.",
            code="data_ambiguous",
            place="/data",
        )
    for name, upload in submission.files.items():
        if upload.writer.bytes == 0:
            raise InvalidRequestError(f"The part {name} is empty.", code="artifact_empty", place=f"/{name}")


def require_fetchable(order: AuditRequest, settings: Settings) -> None:
    """The URLs of the order are such as egress workers fetch; where their names lead, only these find out.

    Raises UrlNotAllowedError (`url_not_allowed`, `source_not_configured`, `address_not_allowed`).
    """
    given = {"/artifact_url": order.artifact_url, "/data/url": order.data.url if order.data else None}
    for place, url in given.items():
        source = parse_source(url, settings, place) if url is not None else None
        if isinstance(source, WebAddress) and is_hopeless(source, settings.fetch_rule):
            raise UrlNotAllowedError(
                f"{source.host} is not a public address at an ordinary port, and no network that is allowed here.",
                code="address_not_allowed",
                place=place,
            )


def names_what_is_here(order: AuditRequest) -> bool:
    """Whether the store will be asked for an artifact that came in before."""
    data = order.data
    named = (order.artifact_sha256, order.upload_id, *(() if data is None else (data.sha256, data.upload_id)))
    return any(name is not None for name in named)


async def with_digests_of_uploads(session: AsyncSession, tenant_id: uuid.UUID, order: AuditRequest) -> AuditRequest:
    """The order with the digest of what was uploaded in place of each upload.

    Raises NotFoundError for an upload that is not this tenant's, and ConflictError for one that is not complete.
    """
    uploads = UploadRepository(session, tenant_id)
    changes: dict[str, object] = {}
    if order.upload_id is not None:
        changes |= {"upload_id": None, "artifact_sha256": await _digest_of(uploads, order.upload_id, "/upload_id")}
    if order.data is not None and order.data.upload_id is not None:
        changes["data"] = DataSource(sha256=await _digest_of(uploads, order.data.upload_id, "/data/upload_id"))
    return order.model_copy(update=changes)


async def _digest_of(uploads: UploadRepository, written: str, place: str) -> str:
    try:
        upload = await uploads.get(uuid.UUID(written))
    except ValueError:
        upload = None
    if upload is None:
        raise UploadNotFoundError("There is no upload with this id.", place=place)
    if upload.digest is None:
        missing = f"{upload.received} of {upload.length} bytes have arrived"
        raise ConflictError(f"The upload is not complete: {missing}.", code="upload_incomplete", place=place)
    return upload.digest


def data_path(written: str, roots: Sequence[Path]) -> str:
    """The real path of a data set on the workers' file system. Blocks; touches nothing outside the roots.

    A relative path is looked for below each root in turn. Raises InvalidRequestError, with the same words for what is
    outside whether it exists there or not.
    """
    inside = [real for root in roots if (real := Path(os.path.realpath(root / written))).is_relative_to(root)]
    if not inside:
        raise InvalidRequestError(
            "A data set may be read by path only below the folders of RUNAUDIT_DATA_ROOTS.",
            code="data_path_not_allowed",
            place="/data/path",
        )
    for real in inside:
        if _is_data(real):
            return str(real)
    raise InvalidRequestError(
        "There is no folder and no data.yaml at this path.", code="data_path_not_found", place="/data/path"
    )


def _is_data(path: Path) -> bool:
    """Whether there is a folder or a data file. What can't be looked at (a name of 300 characters, say) is none."""
    try:
        return path.is_dir() or (path.suffix.lower() in _DATA_FILES and path.is_file())
    except OSError:
        return False
