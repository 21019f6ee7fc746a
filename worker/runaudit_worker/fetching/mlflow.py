"""Artifacts by runs:/ and mlflow-artifacts:/: what an MLflow tracking server keeps of a run, as one archive.

The calls are those of MLflow's REST API: `artifacts/list` and `get-artifact` for a run, and
`mlflow-artifacts/artifacts` for the server's artifact root. The archive is a tar of the files in the order of their
names, with no times in it, so that the same artifacts give the same digest.
"""

from __future__ import annotations

import base64
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, urlencode

from pydantic import BaseModel, Field, ValidationError

from runaudit_service.store.remote_source import MlflowArtifacts
from runaudit_service.store.settings import Settings
from runaudit_service.store.web_address import WebAddress
from runaudit_worker.fetching.download import Downloader
from runaudit_worker.fetching.fetcher import Sink, Terms
from runaudit_worker.guarded import EgressFailedError, EgressRefusedError

MAX_FILES: Final = 50_000
"""more than a run leaves behind, and than ingest takes in one archive of that kind"""
MAX_DEPTH: Final = 16
_LISTING_BYTES: Final = 16 << 20
_ARCHIVES: Final = (".zip", ".tar", ".tar.gz", ".tgz")
_TAR_BLOCK: Final = 512


class _Entry(BaseModel):
    """A file or folder of a listing; MLflow writes sizes as text or number, and leaves out those of folders."""

    path: str
    is_dir: bool = False
    file_size: int | None = Field(default=None, ge=0)


class _Listing(BaseModel):
    files: list[_Entry] = []
    next_page_token: str = ""


@dataclass(frozen=True)
class _File:
    path: str
    size: int


class MlflowFetcher:
    """Fetches from the tracking server that the operator named, with the operator's credentials."""

    def __init__(self, downloader: Downloader, settings: Settings) -> None:
        self._downloader = downloader
        self._server = settings.mlflow_tracking_uri.rstrip("/")
        self._headers = credentials(settings)

    def fetch(self, source: MlflowArtifacts, sink: Sink, terms: Terms) -> None:
        """A path that ends as archives do is fetched as it is; any other is a folder, and becomes an archive."""
        if source.path.endswith(_ARCHIVES):
            self._download(source, source.path, sink, terms)
            return
        files = sorted(self._walk(source, source.path, 0, terms), key=lambda file: file.path)
        if not files:
            raise EgressRefusedError(f"MLflow has no artifacts at this path of {source}.", code="answer_refused")
        sink.expect(sum(file.size for file in files))
        for file in files:
            inside = file.path.removeprefix(source.path).lstrip("/")
            sink.write(_header(f"artifacts/{inside}", file.size))
            member = _Member(sink, file.size)
            self._download(source, file.path, member, terms)
            member.end()
        sink.write(bytes(2 * _TAR_BLOCK))

    def _walk(self, source: MlflowArtifacts, folder: str, depth: int, terms: Terms) -> Iterator[_File]:
        """The files below a folder. Only the last part of a listed path is used: the rest is where we asked."""
        if depth > MAX_DEPTH:
            raise _refused_listing(source, f"folders more than {MAX_DEPTH} deep")
        found = 0
        for entry in self._entries(source, folder, terms):
            name = entry.path.rstrip("/").rpartition("/")[2]
            if name in {"", ".", ".."} or not name.isprintable() or "\\" in name:
                raise _refused_listing(source, "a file without a proper name")
            path = f"{folder}/{name}" if folder else name
            inside = (
                self._walk(source, path, depth + 1, terms)
                if entry.is_dir
                else iter([_File(path, self._size(source, entry))])
            )
            for file in inside:
                found += 1
                if found > MAX_FILES:
                    raise _refused_listing(source, f"more than {MAX_FILES} files")
                yield file

    def _size(self, source: MlflowArtifacts, entry: _Entry) -> int:
        if entry.file_size is None:
            raise _refused_listing(source, "a file of unknown size")
        return entry.file_size

    def _entries(self, source: MlflowArtifacts, folder: str, terms: Terms) -> Iterator[_Entry]:
        token = ""
        for _ in range(MAX_FILES):
            listing = self._listing(source, folder, token, terms)
            yield from listing.files
            token = listing.next_page_token
            if not token:
                return
        raise _refused_listing(source, "a listing without an end")

    def _listing(self, source: MlflowArtifacts, folder: str, token: str, terms: Terms) -> _Listing:
        query = {"path": folder} if folder else {}
        if source.run_id is None:
            address = self._address("/api/2.0/mlflow-artifacts/artifacts", query)
        else:
            query |= {"run_id": source.run_id} | ({"page_token": token} if token else {})
            address = self._address("/api/2.0/mlflow/artifacts/list", query)
        short = replace(terms, max_bytes=_LISTING_BYTES)
        body = self._downloader.json(address, short, headers=self._headers)
        try:
            return _Listing.model_validate_json(body)
        except ValidationError as error:
            raise EgressFailedError(
                f"{address.host} did not list the artifacts as MLflow does.", code="answer_malformed"
            ) from error

    def _download(self, source: MlflowArtifacts, path: str, sink: Sink, terms: Terms) -> None:
        if source.run_id is None:
            address = self._address(f"/api/2.0/mlflow-artifacts/artifacts/{quote(path)}", {})
        else:
            address = self._address("/get-artifact", {"run_id": source.run_id, "path": path})
        self._downloader.file(address, sink, terms, headers=self._headers, own=True)

    def _address(self, path: str, query: Mapping[str, str]) -> WebAddress:
        written = self._server + path + (f"?{urlencode(query)}" if query else "")
        return WebAddress.parse(written, schemes=("https", "http"))


class _Member:
    """The part of the archive that is one file: as many bytes as were announced, no more and no fewer."""

    def __init__(self, sink: Sink, size: int) -> None:
        self._sink = sink
        self._size = size
        self._taken = 0

    def expect(self, total: int) -> None:
        """The whole archive's size was told already."""

    def write(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken > self._size:
            raise _changed()
        self._sink.write(data)

    def end(self) -> None:
        """Fill up the last block."""
        if self._taken != self._size:
            raise _changed()
        self._sink.write(bytes(-self._size % _TAR_BLOCK))


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.PAX_FORMAT)


def credentials(settings: Settings) -> Mapping[str, str]:
    """The headers by which the tracking server knows this service."""
    if settings.mlflow_tracking_token is not None:
        return {"Authorization": f"Bearer {settings.mlflow_tracking_token.get_secret_value()}"}
    if settings.mlflow_tracking_username:
        password = settings.mlflow_tracking_password
        pair = f"{settings.mlflow_tracking_username}:{password.get_secret_value() if password else ''}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _refused_listing(source: MlflowArtifacts, what: str) -> EgressRefusedError:
    return EgressRefusedError(f"MLflow lists {what} in {source}.", code="answer_refused")


def _changed() -> EgressFailedError:
    return EgressFailedError("MLflow sent a file of another size than it had listed.", code="answer_malformed")
