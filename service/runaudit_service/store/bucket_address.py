"""The URL of the bucket that keeps the blobs: s3://bucket/prefix?endpoint=https://host:port&region=name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX: Final = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_REGION: Final = re.compile(r"[A-Za-z0-9-]+")
_OPTIONS: Final = frozenset({"endpoint", "region"})


@dataclass(frozen=True)
class BucketAddress:
    """Where blobs are kept that are kept in a bucket. An `endpoint` that is empty is AWS' own for the region."""

    bucket: str
    prefix: str
    endpoint: str
    region: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read the URL. Raises ValueError, with a sentence that does not repeat it."""
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        prefix = parts.path.strip("/")
        if parts.scheme != "s3" or _BUCKET.fullmatch(parts.netloc) is None or parts.fragment:
            raise ValueError("must be s3://bucket/prefix; keys are named elsewhere, never in the URL")
        if prefix and (_PREFIX.fullmatch(prefix) is None or {".", ".."} & set(prefix.split("/"))):
            raise ValueError("the prefix has letters, digits and ._- between slashes")
        if set(options) - _OPTIONS:
            raise ValueError("after the prefix only ?endpoint= and &region= may follow")
        region = options.get("region", "us-east-1")
        if _REGION.fullmatch(region) is None:
            raise ValueError("the region is a name such as eu-central-1")
        return cls(parts.netloc, prefix, _endpoint(options.get("endpoint", "")), region)


@dataclass(frozen=True, repr=False)
class BucketKey:
    """What a bucket is opened with."""

    access_key: str
    secret_key: str


def _endpoint(written: str) -> str:
    if not written:
        return ""
    parts = urlsplit(written)
    try:
        known_port = parts.port is None or parts.port > 0
    except ValueError:
        known_port = False
    plain = not (parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"))
    if parts.scheme not in {"http", "https"} or not parts.hostname or not known_port or not plain:
        raise ValueError("the endpoint is https://host or http://host, with a port or without, and nothing more")
    return f"{parts.scheme}://{parts.netloc}"
