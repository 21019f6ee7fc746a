"""Blobs as objects of a bucket of an S3-compatible store, under PREFIX/ab/abcd..., as a folder has them.

The requests are made by obstore (Rust's object_store): signatures of version 4, keys from the environment or the
machine's role, multipart uploads, retries with back-off. An object appears whole or not at all, and one that is written
twice is replaced by the same bytes, so no two writers need to agree. A multipart upload that dies with its process
leaves parts that only the bucket's own lifecycle rule removes (docs/deployment.md).
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from runaudit.errors import CancelledError
from runaudit_service.store.blobs.base import (
    ABANDONED_SECONDS,
    SHA256,
    BlobDamagedError,
    BlobGoneError,
    BlobStore,
    BlobStoreError,
    Spooled,
    require_digest,
)
from runaudit_service.store.blobs.copies import Copies
from runaudit_service.store.bucket_address import BucketAddress, BucketKey
from runaudit_service.store.disk import StorageFullError, full_disk_told

PART_BYTES: Final = 8 << 20
"""of one request of a transfer: it bounds the memory that one takes, and what is sent again after a fault"""
_PARTS_AT_ONCE: Final = 2
"""of one transfer; one part is read while the other is sent"""
_CHUNK_BYTES: Final = 1 << 20
"""of what is read at a time"""
_MOST_PARTS: Final = 9_000
"""S3 has 10,000 at most"""
_THREADS: Final = 16
"""requests of one process to the bucket at a time; what else waits in threads does not wait behind them"""


@dataclass(frozen=True)
class Patience:
    """How long one kind of request is waited for, in seconds."""

    connect: float
    request: float
    """from its start to the end of its answer"""
    retrying: float
    """from the first try to the start of the last"""
    silence: float | None = None
    """of an answer that has begun"""
    retries: int = 2


# Questions have to be answered soon, for transactions wait for them: after 11 s at most they are given up.
ASKING: Final = Patience(connect=2, request=5, retrying=6)
# A part of 8 MiB in a minute is 140 KB/s, a tenth of what the slowest links between servers have.
SENDING: Final = Patience(connect=5, request=60, retrying=120, retries=5)
# One answer is a whole artifact.
READING: Final = Patience(connect=5, request=24 * 3600, retrying=120, silence=30, retries=5)

if TYPE_CHECKING:
    from obstore import Bytes
    from obstore.store import ClientConfig, S3Config

_STATUS: Final = re.compile(r"status code: (\d{3})")
_QUERY: Final = re.compile(r"\?\S*")
"""of URLs in errors: that of a role's token request holds the token"""
_LONGEST_REASON: Final = 400


class BucketBlobs(BlobStore):
    """Blobs in the bucket of `address`, opened with `key` or, without one, as AWS' own tools find theirs."""

    look_again_seconds: ClassVar[float] = 60.0
    has_what_is_secured: ClassVar[bool] = True

    def __init__(
        self,
        address: BucketAddress,
        key: BucketKey | None,
        *,
        spool: Path,
        copies: Copies,
        reserve_bytes: int = 0,
        asking: Patience = ASKING,
    ) -> None:
        super().__init__(spool, reserve_bytes)
        self.executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="bucket")
        self._copies = copies
        self._asking = _client(address, key, asking)
        self._sending = _client(address, key, SENDING)
        self._reading = _client(address, key, READING)

    def size(self, sha256: str) -> int | None:
        with _told("could not be asked for an artifact"):
            try:
                return obstore.head(self._asking, _name(sha256))["size"]
            except FileNotFoundError:
                return None

    def remove(self, sha256: str) -> bool:
        there = self.holds(sha256)
        # Asked for also where it seems not to be there: this tells a bucket that is gone.
        with _told("could not delete an artifact"):
            obstore.delete(self._asking, _name(sha256))
        return there

    def older_than(self, prefix: str, seconds: float) -> list[str]:
        limit = datetime.now(UTC) - timedelta(seconds=seconds)
        with _told("could not be listed"):
            found = [item for chunk in obstore.list(self._asking, prefix, chunk_size=1000) for item in chunk]
        names = {item["path"].rpartition("/")[2]: item["last_modified"] for item in found}
        return [name for name, modified in names.items() if SHA256.fullmatch(name) and modified <= limit]

    @contextmanager
    def opened(self, sha256: str, should_stop: Callable[[], bool]) -> Iterator[Path]:
        require_digest(sha256)
        with self._copies.use(sha256, lambda file: self._fetch(sha256, file, should_stop), should_stop) as path:
            yield path

    def keep_copies_only(self) -> None:
        self._copies.keep_only(self.holds)

    def remove_abandoned(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        return super().remove_abandoned(older_than_seconds) + self._copies.remove_half_made()

    def secure(self, spooled: Spooled) -> None:
        """Send the blob, also where it seems to be there: its size does not tell that it is whole, and whoever hands in
        again what was damaged mends it. It may still be removed until someone has a title to it."""
        # Sending is tried for far longer than anyone should wait to hear that the store is away.
        self.require_answer()
        blob = spooled.blob
        part = max(PART_BYTES, -(-blob.bytes // _MOST_PARTS))
        with _told("could not take an artifact"):
            try:
                obstore.put(
                    self._sending,
                    _name(blob.sha256),
                    spooled.path if blob.bytes else b"",
                    chunk_size=part,
                    max_concurrency=_PARTS_AT_ONCE,
                )
            except (BaseError, FileNotFoundError):
                # The answer to the last request may have been lost, with the object whole and in its place.
                if self.size(blob.sha256) != blob.bytes:
                    raise

    def place(self, spooled: Spooled) -> None:
        if self.size(spooled.blob.sha256) != spooled.blob.bytes:
            self.secure(spooled)

    def check(self) -> None:
        name, content = f"check/{uuid.uuid4().hex}", b"runaudit doctor"
        with _told("could not be written, read and listed"):
            obstore.put(self._asking, name, content)
            try:
                seen = bytes(obstore.get(self._asking, name).bytes())
                listed = [item for chunk in obstore.list(self._asking, "check") for item in chunk]
            finally:
                obstore.delete(self._asking, name)
        if seen != content or not any(item["path"] == name for item in listed):
            raise BlobStoreError("The artifact store does not give back what it was given.")

    def _fetch(self, sha256: str, file: Path, should_stop: Callable[[], bool]) -> None:
        """Bring the blob into a new file, some MiB at a time. Raises as `opened`."""
        size = self.size(sha256)
        if size is None:
            self._require_bucket()
            raise BlobGoneError(sha256)
        self._copies.make_room(size)
        digest = hashlib.sha256()
        with full_disk_told(), file.open("xb") as stream:
            for chunk in self._chunks(sha256):
                if should_stop():
                    raise CancelledError("The audit was cancelled while its artifact was fetched from the store.")
                digest.update(chunk)
                stream.write(chunk)
        if digest.hexdigest() != sha256:
            raise BlobDamagedError(sha256)

    def _chunks(self, sha256: str) -> Iterator[Bytes]:
        with _told("could not hand out an artifact"):
            yield from obstore.get(self._reading, _name(sha256)).stream(min_chunk_size=_CHUNK_BYTES)

    def _require_bucket(self) -> None:
        """The answer to HEAD does not tell an object that is gone from a bucket that is. Raises BlobStoreError."""
        with _told("could not be listed"):
            next(iter(obstore.list(self._asking, "check", chunk_size=1)), None)


def _client(address: BucketAddress, key: BucketKey | None, patience: Patience) -> S3Store:
    # Not every compatible store has the call that deletes many.
    config: S3Config = {"region": address.region, "disable_bulk_delete": True}
    if address.endpoint:
        config["endpoint"] = address.endpoint
    if key is not None:
        config["access_key_id"], config["secret_access_key"] = key.access_key, key.secret_key
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=patience.connect),
        "timeout": timedelta(seconds=patience.request),
        "allow_http": address.endpoint.startswith("http://"),
    }
    if patience.silence is not None:
        client["read_timeout"] = timedelta(seconds=patience.silence)
    return S3Store(
        address.bucket,
        prefix=address.prefix or None,
        config=config,
        client_options=client,
        retry_config={"max_retries": patience.retries, "retry_timeout": timedelta(seconds=patience.retrying)},
    )


def _name(sha256: str) -> str:
    require_digest(sha256)
    return f"{sha256[:2]}/{sha256}"


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn obstore's errors into ours. The cause is a sentence without the query of any URL."""
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        reason = _QUERY.sub("?...", str(error).partition("\n")[0])[:_LONGEST_REASON]
        status = _STATUS.search(reason)
        if status is not None and status[1] == "507":
            raise StorageFullError("The artifact store is full. Free space, or try again later.") from None
        raise BlobStoreError(f"The artifact store {what}. Try again in a few seconds.") from ConnectionError(reason)
