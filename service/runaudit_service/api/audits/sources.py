"""Where the artifacts of a request come from: parts of the body, digests, or paths below the data roots."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from runaudit_service.api.audits.schemas import AuditRequest
from runaudit_service.api.errors import InvalidRequestError
from runaudit_service.api.multipart import Submission

_DATA_FILES: Final = frozenset({".yaml", ".yml"})


def require_one_source_each(order: AuditRequest, submission: Submission) -> None:
    """Exactly one source of the run, at most one of the data, and only those that are served. InvalidRequestError."""
    _require_served(order)
    if ("artifact" in submission.files) == (order.artifact_sha256 is not None):
        raise InvalidRequestError(
            "Exactly one source of the run is needed: a file part `artifact`, or `artifact_sha256`.",
            code="artifact_ambiguous" if order.artifact_sha256 is not None else "artifact_missing",
            place="/artifact_sha256",
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
        if real.is_dir() or (real.suffix.lower() in _DATA_FILES and real.is_file()):
            return str(real)
    raise InvalidRequestError(
        "There is no folder and no data.yaml at this path.", code="data_path_not_found", place="/data/path"
    )


def _require_served(order: AuditRequest) -> None:
    given = {
        "/artifact_url": order.artifact_url,
        "/upload_id": order.upload_id,
        "/data/url": order.data.url if order.data else None,
        "/data/upload_id": order.data.upload_id if order.data else None,
    }
    for place, value in given.items():
        if value is not None:
            raise InvalidRequestError(
                "This version takes artifacts as parts of the request or by digest, and data also by path.",
                code="source_not_supported_yet",
                place=place,
            )
