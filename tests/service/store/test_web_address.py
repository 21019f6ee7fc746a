"""URLs of strangers: one reading or none, no user names, and nothing shown of path and query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit_service.store.web_address import UrlNotAllowedError, WebAddress, networks

BOTH = ("https", "http")
DIGEST = "ab" * 32

REFUSED = {
    "other schemes": [
        "ftp://a.example/",
        "file:///etc/passwd",
        "gopher://a.example/",
        "s3://bucket/key",
        "//a.example/x",
    ],
    "no scheme": ["a.example/x", "", "https", "https:", "https://", "https:///x", "https:a.example"],
    "user names": [
        "https://user@a.example/",
        "https://user:secret@a.example/",
        "https://a.example@10.0.0.1/",
        "https://@a.example/",
    ],
    "IPv4 in disguise": [
        f"https://{host}/"
        for host in (
            "2130706433",
            "0x7f.1",
            "017700000001",
            "127.1",
            "0x7f000001",
            "127.0.0.01",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.0x1",
            "a.0x7f",
        )
    ],
    "line ends and spaces": [
        "https://a.example/\r\nX: 1",
        "https://a.example/ x",
        "https://a.exam\nple/",
        "\thttps://a.example/",
        "https://a.example/\x00",
        "https://a.example/\x7f",
    ],
    "two readings": [
        "https://a.example\\@b.example/",
        "https://a.example\\.b.example/",
        "https://[::1",
        "https://::1/",
        "https://[::1]x/",
        "https://[a.example]/",
        "https://a.example:443:80/",
        "https://a%2eexample/",
        "https://[fe80::1%25eth0]/",
        "https://[v1.x]/",
    ],
    "names": [
        "https://a..example/",
        "https://.example/",
        "https://a.example./",
        "https://-a.example/",
        "https://é.example/",
        "https://a_b-.example/",
        "https://" + "a." * 150 + "example/",
        "https://" + "a" * 64 + ".example/",
        "https://①.example/",
        "https://a。example/",
    ],
    "ports": [
        "https://a.example:0/",
        "https://a.example:65536/",
        "https://a.example:x/",
        "https://a.example:/",
        "https://a.example:-1/",
        "https://a.example:+443/",
        "https://a.example: 443/",
    ],
    "fragments": ["https://a.example/#x", "https://a.example/#sha256=12", f"https://a.example/#sha512={DIGEST}"],
    "length": [f"https://a.example/{'x' * 4096}"],
}


@pytest.mark.parametrize("url", [url for urls in REFUSED.values() for url in urls])
def test_refused(url: str) -> None:
    with pytest.raises(UrlNotAllowedError) as refused:
        WebAddress.parse(url, schemes=BOTH, digest=True, place="/artifact_url")
    problem = refused.value.problem()
    assert problem["code"] == "url_not_allowed"
    assert problem["errors"][0]["pointer"] == "/artifact_url"
    assert "secret" not in refused.value.detail


def test_the_parts_of_a_url() -> None:
    address = WebAddress.parse(f"HTTPS://Files.Example.org:8443/a/b.zip?X-Token=secret#SHA256={DIGEST}", digest=True)
    assert (address.scheme, address.host, address.port) == ("https", "files.example.org", 8443)
    assert (address.target, address.sha256) == ("/a/b.zip?X-Token=secret", DIGEST)
    assert address.authority == "files.example.org:8443"
    assert WebAddress.parse("https://a.example?x=1").target == "/?x=1"
    assert WebAddress.parse("https://[2A00::1]/").authority == "[2a00::1]"
    assert WebAddress.parse("http://10.0.0.1/", schemes=BOTH).port == 80


def test_nothing_secret_is_shown() -> None:
    address = WebAddress.parse("https://a.example/path-secret?token=secret")
    assert str(address) == "https://a.example"
    assert "secret" not in repr(address)


def test_http_only_where_it_is_wanted() -> None:
    with pytest.raises(UrlNotAllowedError):
        WebAddress.parse("http://a.example/")


def test_redirects_are_read_as_strictly() -> None:
    base = WebAddress.parse("https://a.example/x/y?token=secret")
    assert base.join("../z", schemes=BOTH).target == "/z"
    assert base.join("//b.example/#x", schemes=BOTH).host == "b.example"
    assert base.join("http://b.example/", schemes=BOTH).scheme == "http"
    for location in (
        "file:///etc/passwd",
        "gopher://a.example/",
        "https://u:p@b.example/",
        "/x\r\nY: 1",
        "https://[::1",
    ):
        with pytest.raises(UrlNotAllowedError):
            base.join(location, schemes=BOTH)
    with pytest.raises(UrlNotAllowedError):
        base.join("http://b.example/", schemes=("https",))


@given(st.text(max_size=60), st.sampled_from(["", "https://", "https://a.example", "https://[", "https://1"]))
def test_any_text_is_an_address_or_refused(text: str, start: str) -> None:
    try:
        address = WebAddress.parse(start + text, digest=True)
    except UrlNotAllowedError:
        return
    assert WebAddress.parse(f"{address}{address.target}").origin == address.origin


def test_networks_of_a_setting() -> None:
    assert [str(one) for one in networks("10.0.0.0/8, fd00::/8,192.168.1.5")] == [
        "10.0.0.0/8",
        "fd00::/8",
        "192.168.1.5/32",
    ]
    assert networks("") == ()
    for wrong in ("10.0.0.1/8", "intranet", "10.0.0.0/33"):
        with pytest.raises(ValueError, match=r".+"):
            networks(wrong)
