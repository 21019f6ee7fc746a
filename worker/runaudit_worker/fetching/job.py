"""A job of kind `fetch`: every artifact of an audit that is still a URL becomes a blob of the store."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine

from runaudit.errors import CancelledError
from runaudit_service.store import fetched
from runaudit_service.store.blobs import Blob, BlobStore, BlobStoreError
from runaudit_service.store.queue import Claim
from runaudit_service.store.remote_source import (
    BucketObject,
    MlflowArtifacts,
    RemoteSource,
    file_name,
    parse_source,
)
from runaudit_service.store.removal import remove_refused
from runaudit_service.store.room import StorageQuotaError
from runaudit_service.store.settings import Settings
from runaudit_service.store.web_address import UrlNotAllowedError, WebAddress
from runaudit_worker.fetching.bucket import BucketFetcher, Buckets
from runaudit_worker.fetching.download import Downloader
from runaudit_worker.fetching.fetcher import BlobSink, Sink, Terms
from runaudit_worker.fetching.mlflow import MlflowFetcher
from runaudit_worker.fetching.web import WebFetcher
from runaudit_worker.guarded import EgressError, EgressFailedError, EgressRefusedError, resolve
from runaudit_worker.guarded.addresses import Resolver

_log = logging.getLogger(__name__)

STAGE: Final = "fetching"
FIRST_RETRY_SECONDS: Final = 5.0
"""pause before the second attempt; each further one is four times as long: a server that restarts needs a minute"""
_PLACES: Final = {"run": "/artifact_url", "data": "/data/url"}


@dataclass(frozen=True)
class Fetched:
    """How far fetching is, in bytes; what `Heartbeat.report` takes."""

    done: int
    total: int
    stage: str = STAGE


class Fetching:
    """What an egress worker does with its jobs."""

    def __init__(self, engine: Engine, blobs: BlobStore, settings: Settings, resolver: Resolver = resolve) -> None:
        self._engine = engine
        self._blobs = blobs
        self._settings = settings
        downloader = Downloader(settings, resolver)
        self._web = WebFetcher(downloader)
        self._s3 = BucketFetcher(downloader, Buckets.of("s3", settings))
        self._gs = BucketFetcher(downloader, Buckets.of("gs", settings))
        self._mlflow = MlflowFetcher(downloader, settings)

    def fetch_all(self, claim: Claim, report: Callable[[Fetched], None], should_stop: Callable[[], bool]) -> None:
        """Fetch what is still to be fetched, one artifact after the other; each is kept as soon as it is whole.

        Raises:
            UrlNotAllowedError, EgressRefusedError, ArtifactTooLargeError, StorageQuotaError: it would end the same
                again.
            EgressFailedError, StorageFullError, BlobStoreError: it may not.
            CancelledError: `should_stop` said so, or the job was lost.
        """
        # The run before the data: if it is not there, the data need not be fetched.
        for role in sorted(claim.inputs, reverse=True):
            url = claim.inputs[role].url
            if url is not None:
                end = time.monotonic() + self._settings.fetch_seconds
                with _place_told(role):
                    self._fetch(claim, role, url, Terms(end, self._settings.max_upload_bytes, should_stop), report)

    def _fetch(self, claim: Claim, role: str, url: str, terms: Terms, report: Callable[[Fetched], None]) -> None:
        source = parse_source(url, self._settings)
        self._blobs.require_answer()
        with BlobSink(self._blobs, terms.max_bytes, lambda done, total: report(Fetched(done, total))) as sink:
            self._bring(source, sink, terms)
            blob = sink.blob()
            if blob.bytes == 0:
                raise EgressRefusedError(f"What {source} sent is empty.", code="artifact_empty")
            if source.sha256 not in {None, blob.sha256}:
                raise EgressRefusedError(
                    f"What {source} sent has the digest {blob.sha256}, not the one that the URL names.",
                    code="digest_mismatch",
                )
            sink.seal()
            try:
                kept = fetched.put_in_place(
                    self._engine,
                    claim,
                    role=role,
                    blob=blob,
                    file_name=file_name(source),
                    place=sink.place,
                    max_stored_bytes=self._settings.max_stored_bytes,
                )
            except StorageQuotaError:
                self._take_back(blob)
                raise
        if not kept:
            raise CancelledError("The job was lost while the artifact was fetched.")

    def _take_back(self, blob: Blob) -> None:
        """A tenant would else store what it may not, for as long as what has no title is kept."""
        if self._blobs.has_what_is_secured:
            try:
                remove_refused(self._engine, self._blobs, blob.sha256)
            except (OSError, BlobStoreError) as error:
                _log.warning("a refused artifact stays for now: %s", error.__cause__ or error)

    def _bring(self, source: RemoteSource, sink: Sink, terms: Terms) -> None:
        match source:
            case WebAddress():
                self._web.fetch(source, sink, terms)
            case BucketObject(scheme="s3"):
                self._s3.fetch(source, sink, terms)
            case BucketObject():
                self._gs.fetch(source, sink, terms)
            case MlflowArtifacts():
                self._mlflow.fetch(source, sink, terms)


def pause_before_retry(error: EgressFailedError, attempt: int) -> float:
    """Seconds until fetching is tried again whose attempt (from 1) ended with `error`: no sooner than the server asks.

    With up to a tenth more, so that what failed together does not come back together.
    """
    pause: float = max(error.retry_after or 0.0, FIRST_RETRY_SECONDS * 4 ** (attempt - 1))
    return pause * random.uniform(1.0, 1.1)  # noqa: S311  # no secret


@contextmanager
def _place_told(role: str) -> Iterator[None]:
    """Say in an error which URL of the request it is about."""
    try:
        yield
    except (EgressError, UrlNotAllowedError) as error:
        error.place = _PLACES[role]
        raise
