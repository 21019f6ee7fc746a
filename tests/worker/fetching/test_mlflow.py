"""Artifacts of MLflow: a peer that answers as MLflow 3.17 was seen to, and as no MLflow should."""

from __future__ import annotations

import io
import json
import tarfile
import time
import zipfile
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pydantic import SecretStr

from runaudit.errors import RunauditError
from runaudit_service.store.remote_source import parse_source
from runaudit_service.store.settings import Settings
from runaudit_worker.fetching.download import Downloader
from runaudit_worker.fetching.fetcher import Terms
from runaudit_worker.fetching.mlflow import MlflowFetcher
from tests.worker import rows
from tests.worker.fetching.conftest import Egress
from tests.worker.outside import Answerer, Authority, Connection, Outside, outside, reply
from tests.worker.workplace import curves_run

RUN_ID = "69fbb6398a094c0ba76d859cb09a8ee9"
FILES = {"exp/args.yaml": b"task: detect\n", "exp/results.csv": b"epoch\n1\n" * 100, "packed/my run.zip": curves_run()}


def tracking_server(files: Mapping[str, bytes] = FILES, root: str = "") -> Answerer:
    """Lists and gives `files` by the calls that the fetcher uses, in pages of two."""

    def listing(folder: str, token: str, *, whole: bool) -> dict[str, Any]:
        inside = {path[len(folder) :].lstrip("/") for path in files if not folder or path.startswith(f"{folder}/")}
        names = sorted({path.partition("/")[0] for path in inside})
        entries = []
        for name in names:
            path = f"{folder}/{name}" if folder else name
            shown = {"path": path if whole else name, "is_dir": path not in files}
            entries.append(shown if path not in files else shown | {"file_size": str(len(files[path]))})
        begin = int(token or 0)
        page: dict[str, Any] = {"root_uri": "mlflow-artifacts:/0/x/artifacts"} if whole else {}
        page |= {"files": entries[begin : begin + 2]} if entries else {}
        return page | ({"next_page_token": str(begin + 2)} if whole and len(entries) > begin + 2 else {})

    def answer(connection: Connection, head: str) -> None:
        parts = urlsplit(head.split(" ")[1])
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path, proxied = parts.path.removeprefix(root), "/api/2.0/mlflow-artifacts/artifacts"
        found: bytes | None = None
        if path == "/api/2.0/mlflow/artifacts/list" and query["run_id"] == RUN_ID:
            found = json.dumps(listing(query.get("path", ""), query.get("page_token", ""), whole=True)).encode()
        elif path == "/get-artifact" and query["run_id"] == RUN_ID:
            found = files.get(query["path"])
        elif path == proxied:
            found = json.dumps(listing(query.get("path", ""), "", whole=False)).encode()
        elif path.startswith(f"{proxied}/"):
            found = files.get(unquote(path.removeprefix(f"{proxied}/")))
        (reply(404) if found is None else reply(200, found))(connection, head)

    return answer


class Kept:
    """A sink in memory."""

    def __init__(self) -> None:
        self.total = 0
        self.data = b""

    def expect(self, total: int) -> None:
        self.total = total

    def write(self, data: bytes) -> None:
        self.data += data


def fetch(server: Outside, url: str, **settings: Any) -> Kept:
    # No CIDR is allowed: the operator's own server needs none.
    configured = Settings(mlflow_tracking_uri=server.url("", "127.0.0.1") + settings.pop("root", ""), **settings)
    kept = Kept()
    fetcher = MlflowFetcher(Downloader(configured), configured)
    fetcher.fetch(parse_source(url, configured), kept, Terms(time.monotonic() + 10, 100_000, lambda: False))
    return kept


def members(kept: Kept) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(kept.data)) as archive:
        found = {member.name: archive.extractfile(member) for member in archive}
        return {name: stream.read() for name, stream in found.items() if stream is not None}


def test_a_run_becomes_an_archive_of_its_files() -> None:
    with outside(tracking_server()) as server:
        first, second = fetch(server, f"runs:/{RUN_ID}"), fetch(server, f"runs:/{RUN_ID}/")
    assert members(first) == {f"artifacts/{name}": content for name, content in FILES.items()}
    assert first.data == second.data
    assert first.total == sum(map(len, FILES.values()))


def test_a_folder_of_a_run_or_of_the_artifact_root() -> None:
    with outside(tracking_server()) as server:
        assert set(members(fetch(server, f"runs:/{RUN_ID}/exp"))) == {"artifacts/args.yaml", "artifacts/results.csv"}
        assert set(members(fetch(server, "mlflow-artifacts:/exp"))) == {"artifacts/args.yaml", "artifacts/results.csv"}


def test_an_archive_is_taken_as_it_is() -> None:
    with outside(tracking_server()) as server:
        assert fetch(server, f"runs:/{RUN_ID}/packed/my%20run.zip").data == FILES["packed/my run.zip"]
        assert fetch(server, "mlflow-artifacts:/packed/my%20run.zip").data == FILES["packed/my run.zip"]
    assert len(server.heads) == 2


def test_long_listings_have_pages() -> None:
    files = {f"f{number}.txt": bytes([number]) for number in range(7)}
    with outside(tracking_server(files)) as server:
        assert len(members(fetch(server, f"runs:/{RUN_ID}"))) == 7


def test_credentials_and_a_path_of_the_server() -> None:
    with outside(tracking_server(root="/mlflow")) as server:
        fetch(server, f"runs:/{RUN_ID}/exp", root="/mlflow/", mlflow_tracking_token=SecretStr("token"))
        assert all("\r\nAuthorization: Bearer token" in head for head in server.heads)
        server.heads.clear()
        user = {"mlflow_tracking_username": "me", "mlflow_tracking_password": SecretStr("password")}
        fetch(server, f"runs:/{RUN_ID}/exp", root="/mlflow", **user)
        assert all("\r\nAuthorization: Basic bWU6cGFzc3dvcmQ=" in head for head in server.heads)


def told(server: Outside, url: str) -> str:
    with pytest.raises(RunauditError) as failed:
        fetch(server, url)
    return failed.value.error_code


@pytest.mark.parametrize(
    ("listing", "code"),
    [
        (b"<html>", "answer_malformed"),
        (b'{"files": [{"path": "a", "file_size": -1}]}', "answer_malformed"),
        (b'{"files": [{"path": "a"}]}', "answer_refused"),
        (b'{"files": [{"path": "..", "file_size": 1}]}', "answer_refused"),
        (b'{"files": [{"path": "a\\u0000b", "file_size": 1}]}', "answer_refused"),
        (b'{"files": [{"path": "again", "is_dir": true}]}', "answer_refused"),
        (b'{"files": [], "next_page_token": ""}', "answer_refused"),
        (b"{}", "answer_refused"),
    ],
)
def test_listings_that_are_not_followed(listing: bytes, code: str) -> None:
    with outside(reply(200, listing)) as server:
        assert told(server, f"runs:/{RUN_ID}") == code
    assert len(server.heads) < 30


def test_a_file_that_changes_while_it_is_fetched() -> None:
    honest = tracking_server()

    def answer(connection: Connection, head: str) -> None:
        (reply(200, b"longer than before" * 100) if "get-artifact" in head else honest)(connection, head)

    with outside(answer) as server:
        assert told(server, f"runs:/{RUN_ID}/exp") == "answer_malformed"


def test_what_is_not_there() -> None:
    with outside(tracking_server()) as server:
        assert told(server, f"runs:/{RUN_ID}/nothing") == "answer_refused"
        assert told(server, "runs:/another") == "answer_refused"
        assert told(server, f"runs:/{RUN_ID}/nothing.zip") == "answer_refused"


def test_a_run_of_mlflow_is_audited(egress: Egress, authority: Authority) -> None:
    with outside(tracking_server(run_files()), authority.tls) as server:
        update = {"mlflow_tracking_uri": server.url("", "127.0.0.1"), "fetch_allow_cidrs": ""}
        fetching = Egress(egress.engine, egress.bell, egress.settings.model_copy(update=update))
        submitted = fetching.submit(f"runs:/{RUN_ID}")
        assert fetching.work()
    assert fetching.workshop.answer_bell("cpu")
    audit = rows.audit_of(egress.engine, submitted)
    assert audit.state == "succeeded", audit.error


def run_files() -> dict[str, bytes]:
    """The run's files as MLflow keeps them: not packed."""
    with zipfile.ZipFile(io.BytesIO(curves_run())) as packed:
        return {name: packed.read(name) for name in packed.namelist()}
