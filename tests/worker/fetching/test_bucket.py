"""Objects of buckets: signed as AWS has it, only towards the configured endpoint, credentials for nobody else."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from runaudit_service.store.blobs import FolderBlobs
from runaudit_service.store.remote_source import BucketObject, file_name, parse_source
from runaudit_service.store.settings import Settings
from runaudit_service.store.web_address import WebAddress
from runaudit_worker.fetching.bucket import Buckets
from tests.bucket_server import ACCESS_KEY, SECRET_KEY, BucketServer
from tests.worker import rows
from tests.worker.fetching.conftest import Egress
from tests.worker.outside import Authority, chosen, outside, redirect, reply
from tests.worker.workplace import curves_run

RUN = curves_run()
NOW = datetime(2013, 5, 24, tzinfo=UTC)


def test_the_signature_is_that_of_botocore() -> None:
    """Key, secret, date and host of AWS' published examples; the signature is that of botocore's S3SigV4Auth."""
    buckets = Buckets(
        "https://examplebucket.s3.amazonaws.com",
        "us-east-1",
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )
    address = WebAddress.parse("https://examplebucket.s3.amazonaws.com/test%20file.txt")
    headers = buckets.headers(address, NOW)
    assert headers["X-Amz-Date"] == "20130524T000000Z"
    assert headers["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
        "Signature=1842874afec513180fe92fa998591c6bf71567f576c8b5332e8db0e6db251d1c"
    )
    assert "wJalr" not in repr(buckets)


def test_addresses_of_objects() -> None:
    settings = Settings(
        fetch_s3_region="eu-central-1", fetch_gs_access_key="GOOG1", fetch_gs_secret_key=SecretStr("secret")
    )
    s3, gs = Buckets.of("s3", settings), Buckets.of("gs", settings)
    key = BucketObject("s3", "runs", "a b/ü+#?.zip")
    assert s3.address(key).host == "s3.eu-central-1.amazonaws.com"
    assert s3.address(key).target == "/runs/a%20b/%C3%BC%2B%23%3F.zip"
    assert str(gs.address(key)) == "https://storage.googleapis.com"
    assert s3.headers(s3.address(key), NOW) == {}, "without a key nothing is signed"
    assert "/auto/s3/aws4_request" in gs.headers(gs.address(key), NOW)["Authorization"]


@pytest.fixture
def fetch_settings(fetch_settings: dict[str, object]) -> dict[str, object]:
    # The operator's own server needs no leave to be at an inner address.
    return fetch_settings | {"fetch_allow_cidrs": ""}


def with_endpoint(egress: Egress, endpoint: str) -> Egress:
    changed = egress.settings.model_copy(update={"fetch_s3_endpoint": endpoint})
    return Egress(egress.engine, egress.bell, changed)


def test_an_object_is_fetched_with_a_signature(egress: Egress, authority: Authority) -> None:
    with outside(chosen({"/runs/exp/a%20b.zip": reply(200, RUN)}), authority.tls) as server:
        bucket = with_endpoint(egress, server.url("", "127.0.0.1"))
        submitted = bucket.submit("s3://runs/exp/a%20b.zip")
        assert bucket.work()
    assert rows.audit_of(egress.engine, submitted).state == "queued"
    assert "authorization: aws4-hmac-sha256 credential=akidexample/" in server.heads[0].lower()
    assert f"Host: 127.0.0.1:{server.port}\r\n" in server.heads[0] + "\r\n"


def test_credentials_go_to_no_other_origin_and_its_redirects_are_a_strangers(
    egress: Egress, authority: Authority
) -> None:
    with outside(reply(200, RUN), authority.tls) as other:
        answers = {
            "/runs/same.zip": redirect("/runs/moved.zip"),
            "/runs/moved.zip": reply(200, RUN),
            "/runs/other.zip": redirect(other.url("/taken.zip", "127.0.0.1")),
        }
        with outside(chosen(answers), authority.tls) as server:
            endpoint = server.url("", "127.0.0.1")
            assert with_endpoint(egress, endpoint).outcome("s3://runs/same.zip") == {}
            inner = with_endpoint(egress, endpoint).outcome("s3://runs/other.zip")
            assert inner["code"] == "address_not_allowed"
            assert other.connections == 0
            egress.settings = egress.settings.model_copy(update={"fetch_allow_cidrs": "127.0.0.1"})
            assert with_endpoint(egress, endpoint).outcome("s3://runs/other.zip") == {}
    assert all("authorization:" in head.lower() for head in server.heads)
    assert "authorization:" not in other.heads[0].lower()


def test_what_a_bucket_refuses(egress: Egress, authority: Authority) -> None:
    with outside(chosen({}), authority.tls) as server:
        bucket = with_endpoint(egress, server.url("", "127.0.0.1"))
        problem = bucket.outcome("s3://runs/none.zip")
    assert problem["code"] == "answer_refused"


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_server_that_checks_signatures_hands_out_what_it_has(egress: Egress, tmp_path: Path, scheme: str) -> None:
    """Of another project, which refuses a wrong signature: Google's XML API takes the same ones."""
    server = BucketServer(tmp_path / "buckets")
    key = "exp/a b+c=ü~(1).zip"
    place = server.root / "models" / key
    place.parent.mkdir(parents=True)
    place.write_bytes(RUN)
    server.start()
    settings = egress.settings.model_copy(
        update={
            f"fetch_{scheme}_buckets": "models, blobs",
            f"fetch_{scheme}_endpoint": server.endpoint,
            f"fetch_{scheme}_access_key": ACCESS_KEY,
            f"fetch_{scheme}_secret_key": SecretStr(SECRET_KEY),
        }
    )
    wrong = settings.model_copy(update={f"fetch_{scheme}_secret_key": SecretStr("wrong")})
    try:
        bucket = Egress(egress.engine, egress.bell, settings)
        assert bucket.outcome(f"{scheme}://models/{quote(key)}#sha256={sha256(RUN).hexdigest()}") == {}
        assert bucket.outcome(f"{scheme}://models/none.zip")["code"] == "answer_refused"
        assert bucket.outcome(f"{scheme}://elsewhere/none.zip")["code"] == "source_not_configured"
        refused = Egress(egress.engine, egress.bell, wrong).outcome(f"{scheme}://models/{quote(key)}")
    finally:
        server.stop()
    assert (refused["code"], "403" in refused["detail"]) == ("answer_refused", True)
    assert FolderBlobs(settings.blob_dir).path(sha256(RUN).hexdigest()).read_bytes() == RUN


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://files.example.org/a/run-1.zip?x=1", "run-1.zip"),
        ("https://files.example.org/a/My%20run.tar.gz", "My run.tar.gz"),
        ("https://files.example.org/download/eyJhbGciOi", None),
        ("https://files.example.org/a/%2e%2e%2fx.zip", "x.zip"),
        ("https://files.example.org/", None),
        ("s3://runs/a/b.tgz", "b.tgz"),
        ("s3://runs/a/b.pt", None),
    ],
)
def test_names_of_archives(url: str, name: str | None) -> None:
    assert file_name(parse_source(url, Settings(fetch_s3_buckets="runs"))) == name
