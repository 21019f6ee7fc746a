"""The blob store that the settings name."""

from __future__ import annotations

from runaudit_service.store.blobs.base import BlobStore
from runaudit_service.store.blobs.bucket import BucketBlobs
from runaudit_service.store.blobs.copies import Copies
from runaudit_service.store.blobs.folder import FolderBlobs
from runaudit_service.store.settings import Settings


def open_blobs(settings: Settings) -> BlobStore:
    """The store of a process. Opening it reaches nothing yet."""
    reserve = settings.disk_reserve_bytes
    address = settings.bucket
    if address is None:
        return FolderBlobs(settings.blob_dir, reserve)
    copies = Copies(settings.blob_cache, settings.blob_cache_bytes, reserve)
    spool = settings.blob_dir / "incoming"
    return BucketBlobs(address, settings.bucket_key, spool=spool, copies=copies, reserve_bytes=reserve)
