"""Where an artifact may be fetched from: URLs of https, of buckets and of MLflow, checked before anything is stored.

    https://host/path/run.zip
    s3://bucket/key, gs://bucket/key
    runs:/<run id>[/path], mlflow-artifacts:/path

Each may end with `#sha256=<64 hexadecimal digits>`, which the fetched bytes must then have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import unquote

from runaudit_service.store.settings import Settings
from runaudit_service.store.web_address import MAX_CHARACTERS, UrlNotAllowedError, WebAddress

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_UNSAFE: Final = re.compile(r"[^\x21-\x7e]|[\\\"<>^`{|}]")
_BUCKET: Final = re.compile(r"(?P<scheme>s3|gs)://(?P<bucket>[a-z0-9][a-z0-9._-]{1,221}[a-z0-9])/(?P<key>.+)")
_MLFLOW_RUN: Final = re.compile(r"runs:/(?P<run>[A-Za-z0-9_-]{1,64})(?:/(?P<path>.*))?")
_MLFLOW_PROXIED: Final = re.compile(r"mlflow-artifacts:(?:///?|/)(?P<path>[^/].*)")
_DIGEST: Final = re.compile(r"sha256=([0-9a-f]{64})")


@dataclass(frozen=True)
class BucketObject:
    """An object of a bucket. `key` is plain text, not escaped."""

    scheme: Literal["s3", "gs"]
    bucket: str
    key: str = field(repr=False)
    sha256: str | None = None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}"


@dataclass(frozen=True)
class MlflowArtifacts:
    """A file or folder of an MLflow tracking server: of a run, or, without one, of the server's artifact root.

    `path` is plain text, relative, with `/`; empty: all of the run.
    """

    run_id: str | None
    path: str = field(repr=False)
    sha256: str | None = None

    def __str__(self) -> str:
        return f"runs:/{self.run_id}" if self.run_id else "mlflow-artifacts:"


RemoteSource = WebAddress | BucketObject | MlflowArtifacts


def parse_source(url: str, settings: Settings, place: str | None = None) -> RemoteSource:
    """Read where an artifact is to be fetched from, and refuse what this service is not set up for.

    Raises:
        UrlNotAllowedError: `url_not_allowed`; `source_not_configured` for a bucket or an MLflow server that the
            settings do not name.
    """
    if len(url) > MAX_CHARACTERS or _UNSAFE.search(url):
        raise UrlNotAllowedError(
            f"A URL has at most {MAX_CHARACTERS} characters, all of them printable ASCII; escape others with %.",
            place=place,
        )
    found = _SCHEME.match(url)
    scheme = found[1].lower() if found else ""
    if scheme in {"s3", "gs"}:
        return _bucket_object(url, settings, place)
    if scheme in {"runs", "mlflow-artifacts"}:
        return _mlflow(url, settings, place)
    schemes = ("https", "http") if settings.fetch_allow_http else ("https",)
    if scheme not in {"https", "http"}:
        raise UrlNotAllowedError(
            f"Artifacts are fetched from URLs of {', '.join(schemes)}, s3, gs, runs and mlflow-artifacts.", place=place
        )
    return WebAddress.parse(url, schemes=schemes, digest=True, place=place)


def pinned_digest(url: str) -> str | None:
    """The digest that a URL names in its fragment: what is fetched from it is then known before it is."""
    found = _DIGEST.fullmatch(url.partition("#")[2].lower())
    return found[1] if found else None


def file_name(source: RemoteSource) -> str | None:
    """The name that the artifact has where it comes from, if it has one that an archive would have."""
    path = source.target.partition("?")[0] if isinstance(source, WebAddress) else ""
    name = unquote(path if isinstance(source, WebAddress) else getattr(source, "key", "")).rpartition("/")[2]
    return name if re.fullmatch(r"[\w. ()+-]{1,200}\.(zip|tar|tgz|tar\.gz)", name, re.ASCII) else None


def _bucket_object(url: str, settings: Settings, place: str | None) -> BucketObject:
    plain, digest = _without_digest(url, place)
    found = _BUCKET.fullmatch(plain)
    key = _plain_path(found["key"]) if found else None
    if found is None or key is None:
        raise UrlNotAllowedError("A bucket's object is named as s3://bucket/key or gs://bucket/key.", place=place)
    scheme: Literal["s3", "gs"] = "s3" if found["scheme"] == "s3" else "gs"
    allowed = settings.fetch_s3_buckets if scheme == "s3" else settings.fetch_gs_buckets
    if found["bucket"] not in {name.strip() for name in allowed.split(",")}:
        raise _not_configured(
            f"This service fetches nothing from that bucket (RUNAUDIT_FETCH_{scheme.upper()}_BUCKETS).", place
        )
    return BucketObject(scheme, found["bucket"], key, digest)


def _mlflow(url: str, settings: Settings, place: str | None) -> MlflowArtifacts:
    plain, digest = _without_digest(url, place)
    found = _MLFLOW_RUN.fullmatch(plain) or _MLFLOW_PROXIED.fullmatch(plain)
    path = _plain_path((found["path"] or "").rstrip("/")) if found else None
    if found is None or path is None:
        raise UrlNotAllowedError(
            "Artifacts of MLflow are named as runs:/<run id>/<path> or mlflow-artifacts:/<path>.", place=place
        )
    if not settings.mlflow_tracking_uri:
        raise _not_configured("This service knows no MLflow tracking server (RUNAUDIT_MLFLOW_TRACKING_URI).", place)
    return MlflowArtifacts(found.groupdict().get("run"), path, digest)


def _without_digest(url: str, place: str | None) -> tuple[str, str | None]:
    plain, mark, fragment = url.partition("#")
    digest = _DIGEST.fullmatch(fragment.lower())
    if mark and digest is None:
        raise UrlNotAllowedError("A fragment is `#sha256=` with 64 hexadecimal digits.", place=place)
    return plain, digest[1] if digest else None


def _plain_path(escaped: str) -> str | None:
    """The path unescaped; None where it climbs, is absolute, or holds what no name has."""
    try:
        path = unquote(escaped, errors="strict")
    except UnicodeDecodeError:
        return None
    if not path:
        return path
    if "\\" in path or not path.isprintable() or any(part in {"", ".", ".."} for part in path.split("/")):
        return None
    return path


def _not_configured(detail: str, place: str | None) -> UrlNotAllowedError:
    return UrlNotAllowedError(detail, code="source_not_configured", place=place)
