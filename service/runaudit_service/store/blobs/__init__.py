"""The blob store: artifacts named by their SHA-256, written once and shared by all who have the same bytes."""

from runaudit_service.store.blobs.base import (
    BUFFER_BYTES,
    SHA256,
    ArtifactTooLargeError,
    Blob,
    BlobDamagedError,
    BlobGoneError,
    BlobStore,
    BlobStoreError,
    BlobWriter,
)
from runaudit_service.store.blobs.bucket import BucketBlobs
from runaudit_service.store.blobs.folder import FolderBlobs
from runaudit_service.store.blobs.opening import open_blobs
from runaudit_service.store.disk import StorageFullError

__all__ = [
    "BUFFER_BYTES",
    "SHA256",
    "ArtifactTooLargeError",
    "Blob",
    "BlobDamagedError",
    "BlobGoneError",
    "BlobStore",
    "BlobStoreError",
    "BlobWriter",
    "BucketBlobs",
    "FolderBlobs",
    "StorageFullError",
    "open_blobs",
]
