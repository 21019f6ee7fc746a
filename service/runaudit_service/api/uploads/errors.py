"""What can be wrong with a request about a resumable upload."""

from __future__ import annotations

from typing import Final

from runaudit_service.api.errors import RETRY_SECONDS, ApiError, ConflictError, InvalidRequestError, NotFoundError
from runaudit_service.store.upload_rows import Upload

OFFSET_HEADER: Final = "Upload-Offset"
LENGTH_HEADER: Final = "Upload-Length"
COMPLETE_HEADER: Final = "Upload-Complete"


def state_headers(upload: Upload) -> dict[str, str]:
    """How far an upload has come, in the words of draft-ietf-httpbis-resumable-upload: bytes, and a boolean."""
    return {
        OFFSET_HEADER: str(upload.received),
        LENGTH_HEADER: str(upload.length),
        COMPLETE_HEADER: "?1" if upload.digest is not None else "?0",
    }


class UploadNotFoundError(NotFoundError):
    code = "upload_not_found"


class UploadOffsetError(ConflictError):
    """Bytes from another offset than the first that is missing; Upload-Offset names that one."""

    code = "upload_offset_mismatch"
    title = "The upload is at another offset"

    def __init__(self, upload: Upload) -> None:
        super().__init__(f"The next byte of this upload is number {upload.received}.", place=f"header:{OFFSET_HEADER}")
        self.headers = state_headers(upload)


class UploadBusyError(ConflictError):
    """Another request writes to the upload, or did and was not heard to end."""

    code = "upload_busy"
    title = "Another request writes to this upload"

    def __init__(self, upload: Upload | None = None) -> None:
        super().__init__("Another request writes to this upload. Ask for its offset in a few seconds, and go on there.")
        self.headers = {"Retry-After": str(RETRY_SECONDS)} | (state_headers(upload) if upload is not None else {})


class UploadElsewhereError(ApiError):
    """What has arrived lies on the disk of another host, which this one does not share."""

    code = "upload_elsewhere"
    status = 503
    title = "Another host has this upload"

    def __init__(self, upload: Upload) -> None:
        super().__init__("Another host of this service has what was sent before. Try again: the next may be that one.")
        self.headers = {"Retry-After": str(RETRY_SECONDS)} | state_headers(upload)


class UploadTooLongError(ApiError):
    """More bytes than the upload was announced with."""

    code = "upload_too_long"
    status = 413
    title = "More bytes than were announced"

    def __init__(self, upload: Upload) -> None:
        super().__init__(f"This upload was announced with {upload.length} bytes, and more are being sent.")


class UploadDigestError(InvalidRequestError):
    """What came in has not the digest that was announced: it is not kept."""

    code = "upload_digest_mismatch"
    title = "The bytes are not those that were announced"

    def __init__(self, announced: str, digest: str) -> None:
        super().__init__(
            f"The bytes have the SHA-256 {digest}, and {announced} was announced. The upload is deleted; begin again.",
            place="/sha256",
        )
