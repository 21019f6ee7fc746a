"""Artifacts by s3:// and gs://: one GET, signed by AWS Signature Version 4.

Google Cloud Storage takes the same signature with an HMAC key (its XML API), so both are one fetcher.
Source: AWS, "Create a signed AWS API request"; Google, "V4 signing process with your own program".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from runaudit_service.store.remote_source import BucketObject
from runaudit_service.store.settings import Settings
from runaudit_service.store.web_address import WebAddress
from runaudit_worker.fetching.download import Downloader
from runaudit_worker.fetching.fetcher import Sink, Terms

_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_SERVICE: Final = "s3"


@dataclass(frozen=True)
class Buckets:
    """Where the buckets of one scheme are, and by which key they are read; without a key they are public."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)

    @classmethod
    def of(cls, scheme: str, settings: Settings) -> Buckets:
        """Those that the settings name for `s3` or `gs`."""
        if scheme == "gs":
            secret = settings.fetch_gs_secret_key
            return cls(
                settings.fetch_gs_endpoint,
                "auto",
                settings.fetch_gs_access_key,
                secret.get_secret_value() if secret else "",
            )
        secret = settings.fetch_s3_secret_key
        region = settings.fetch_s3_region
        return cls(
            settings.fetch_s3_endpoint or f"https://s3.{region}.amazonaws.com",
            region,
            settings.fetch_s3_access_key,
            secret.get_secret_value() if secret else "",
        )

    def address(self, source: BucketObject) -> WebAddress:
        """The object's URL, with the bucket in its path."""
        path = quote(f"/{source.bucket}/{source.key}", safe="/-_.~")
        return WebAddress.parse(self.endpoint.rstrip("/") + path, schemes=("https", "http"))

    def headers(self, address: WebAddress, now: datetime) -> Mapping[str, str]:
        """What signs a GET of `address` at `now`."""
        if not self.access_key:
            return {}
        moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        signed = {"host": address.authority, "x-amz-content-sha256": _EMPTY, "x-amz-date": moment}
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        request = f"GET\n{address.target}\n\n{lines}\n{names}\n{_EMPTY}"
        scope = f"{moment[:8]}/{self.region}/{_SERVICE}/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        signature = self._sign(scope, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}")
        return {
            "X-Amz-Date": moment,
            "X-Amz-Content-Sha256": _EMPTY,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}",
        }

    def _sign(self, scope: str, text: str) -> str:
        key = f"AWS4{self.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class BucketFetcher:
    """Fetches objects of the buckets that the operator named."""

    def __init__(self, downloader: Downloader, buckets: Buckets) -> None:
        self._downloader = downloader
        self._buckets = buckets

    def fetch(self, source: BucketObject, sink: Sink, terms: Terms) -> None:
        address = self._buckets.address(source)
        headers = self._buckets.headers(address, datetime.now(UTC))
        self._downloader.file(address, sink, terms, headers=headers, own=True)
