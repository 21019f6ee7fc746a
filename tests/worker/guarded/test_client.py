"""The guarded clients against real servers: TLS, rebinding, slowness, size, compression, and what is told of it."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress

import pytest

from runaudit.errors import CancelledError
from runaudit_service.store.web_address import UrlNotAllowedError, networks
from runaudit_worker.guarded import Answer, AsyncGuardedClient, EgressError, GuardedClient
from tests.worker.outside import Answerer, Authority, Outside, outside, reply

LOOPBACK = networks("127.0.0.0/8")
Connection = ssl.SSLSocket | socket.socket


def here(_host: str, _port: int) -> Sequence[str]:
    """Every name lives on this machine."""
    return ["127.0.0.1"]


def guarded(authority: Authority, **options: object) -> GuardedClient:
    given = {"allow": LOOPBACK, "ca_file": authority.pem, "resolver": here} | options
    return GuardedClient(**given)  # type: ignore[arg-type]


def get(client: GuardedClient, url: str, seconds: float = 5, max_bytes: int = 1000) -> Answer:
    return client.request("GET", url, seconds=seconds, max_bytes=max_bytes)


def code_of(client: GuardedClient, url: str, seconds: float = 5, max_bytes: int = 1000) -> str:
    with pytest.raises(EgressError) as failed:
        get(client, url, seconds, max_bytes)
    assert url not in failed.value.detail
    return failed.value.error_code


def test_an_answer_with_the_right_name_for_tls_and_host(authority: Authority) -> None:
    with outside(reply(200, b"hello", {"X-Kind": "greeting"}), authority.tls) as server:
        answer = get(guarded(authority), server.url("/a?token=secret", "files.example.org"))
    assert (answer.status, answer.body, answer.headers["x-kind"]) == (200, b"hello", "greeting")
    head = server.heads[0].lower()
    assert head.startswith("get /a?token=secret http/1.1")
    assert f"host: files.example.org:{server.port}" in head
    assert "accept-encoding: identity" in head
    assert "authorization" not in head and "cookie" not in head


def test_the_address_is_connected_to_that_was_checked(authority: Authority) -> None:
    """DNS rebinding: the second answer would be another address, and is never asked for."""
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    with outside(reply(200, b"first"), authority.tls) as server:
        client = guarded(authority, resolver=lambda _host, _port: answers.pop(0))
        assert get(client, server.url(host="files.example.org")).body == b"first"
    assert answers == [["127.0.0.2"]]


def test_a_name_of_an_inner_address_is_not_connected_to(authority: Authority) -> None:
    with outside(reply(200), authority.tls) as server:
        assert code_of(guarded(authority, allow=()), server.url()) == "address_not_allowed"
        assert code_of(guarded(authority, allow=networks("10.0.0.0/8")), server.url()) == "address_not_allowed"
    assert server.connections == 0


def test_the_next_address_is_tried_where_one_does_not_answer(authority: Authority) -> None:
    with outside(reply(200, b"second"), authority.tls) as server:
        client = guarded(authority, resolver=lambda _host, _port: ["127.0.0.9", "127.0.0.1"])
        assert get(client, server.url()).body == b"second"


def test_a_certificate_of_another_name_or_authority_is_refused(authority: Authority) -> None:
    with outside(reply(200), authority.tls) as server:
        assert code_of(guarded(authority), server.url(host="other.example.org")) == "certificate_invalid"
        assert code_of(guarded(authority, ca_file=None), server.url()) == "certificate_invalid"
    assert server.heads == []


def test_http_needs_to_be_allowed(authority: Authority) -> None:
    with outside(reply(200, b"plain")) as server:
        with pytest.raises(UrlNotAllowedError):
            get(guarded(authority), server.url())
        assert server.connections == 0
        assert get(guarded(authority, allow_http=True), server.url()).body == b"plain"


def test_a_redirect_is_an_answer(authority: Authority) -> None:
    with outside(reply(302, headers={"Location": "https://169.254.169.254/"}), authority.tls) as server:
        assert get(guarded(authority), server.url()).status == 302
    assert len(server.heads) == 1


def test_the_environment_has_no_say(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with outside(reply(200, b"direct"), authority.tls) as server, outside(reply(200, b"proxied")) as proxy:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
        assert get(guarded(authority), server.url()).body == b"direct"
        assert code_of(guarded(authority, ca_file=None), server.url()) == "certificate_invalid"
    assert proxy.connections == 0


def drip(piece: bytes, head: bytes = b"") -> Answerer:
    """A byte after the other, for ever: no single read ever times out."""

    def answer(connection: Connection, _head: str) -> None:
        with suppress(OSError):
            connection.sendall(head)
            while True:
                connection.sendall(piece)
                time.sleep(0.05)

    return answer


def silent(_connection: Connection, _head: str) -> None:
    time.sleep(30)


SLOW = {
    "head": drip(b"x", b"HTTP/1.1 200 OK\r\nX: "),
    "interim": drip(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body": drip(b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"),
    "chunks": drip(b"1\r\nx\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "silence": silent,
}


@pytest.mark.parametrize("kind", SLOW)
def test_the_time_limit_holds_for_the_whole_exchange(authority: Authority, kind: str) -> None:
    with outside(SLOW[kind], authority.tls) as server:
        begun = time.monotonic()
        assert code_of(guarded(authority), server.url(), seconds=0.5) == "too_slow"
        assert time.monotonic() - begun < 20


def test_a_slow_handshake_is_limited_too(authority: Authority) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        url = f"https://localhost:{listener.getsockname()[1]}/"
        assert code_of(guarded(authority), url, seconds=0.4) == "too_slow"


def test_a_slow_name_server_is_limited_too(authority: Authority) -> None:
    def slow(_host: str, _port: int) -> Sequence[str]:
        time.sleep(10)
        return ["127.0.0.1"]

    begun = time.monotonic()
    assert code_of(guarded(authority, resolver=slow), "https://localhost/", seconds=0.3) == "host_not_resolved"
    assert time.monotonic() - begun < 9


def endless(connection: Connection, _head: str) -> None:
    with suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")


BROKEN = {
    "length over the limit": (reply(200, b"", {"Content-Length": "1001"}), "too_large"),
    "endless chunks": (endless, "too_large"),
    "gzip": (reply(200, gzip.compress(bytes(10_000)), {"Content-Encoding": "gzip"}), "encoding_not_allowed"),
    "gzip of gzip": (reply(200, b"x", {"Content-Encoding": "gzip, gzip"}), "encoding_not_allowed"),
    "shorter than announced": (reply(200, b"x", {"Content-Length": "500"}), "answer_malformed"),
    "two lengths": (
        lambda connection, _head: connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"
        ),
        "answer_malformed",
    ),
    "length that is none": (reply(200, b"x", {"Content-Length": "-1"}), "answer_malformed"),
    "no HTTP": (lambda connection, _head: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "answer_malformed"),
    "a megabyte of headers": (reply(200, headers={"X": "x" * (1 << 20)}), "answer_malformed"),
    "nothing": (lambda connection, _head: None, "answer_malformed"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_answers_that_are_not_taken(authority: Authority, kind: str) -> None:
    answer, code = BROKEN[kind]
    with outside(answer, authority.tls) as server:
        assert code_of(guarded(authority), server.url()) == code


def test_nobody_listens(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert code_of(guarded(authority), f"https://localhost:{port}/") == "not_reachable"


def test_a_stop_is_heard_while_the_server_is_silent(authority: Authority) -> None:
    begun = time.monotonic()
    with outside(silent, authority.tls) as server, pytest.raises(CancelledError):
        guarded(authority).request(
            "GET",
            server.url(),
            seconds=30,
            max_bytes=10,
            should_stop=lambda: time.monotonic() - begun > 0.2,
        )
    assert time.monotonic() - begun < 20


def test_a_body_is_sent_with_its_length(authority: Authority) -> None:
    with outside(reply(204), authority.tls) as server:
        answer = guarded(authority).request(
            "POST", server.url(), seconds=5, max_bytes=10, content=b'{"a":1}', headers={"Content-Type": "text/json"}
        )
    assert answer.status == 204
    assert "content-length: 7" in server.heads[0].lower()
    assert "content-type: text/json" in server.heads[0].lower()


def test_a_header_can_not_be_smuggled(authority: Authority) -> None:
    with outside(reply(200), authority.tls) as server, pytest.raises(EgressError):
        guarded(authority).request(
            "GET", server.url(), seconds=5, max_bytes=10, headers={"X-Id": "1\r\nAuthorization: stolen"}
        )
    assert server.heads == []


def async_guarded(authority: Authority) -> AsyncGuardedClient:
    return AsyncGuardedClient(allow=LOOPBACK, ca_file=authority.pem, resolver=here)


def test_the_async_client_keeps_the_same_rules(authority: Authority) -> None:
    async def run(server: Outside) -> None:
        async with async_guarded(authority) as client:
            answer = await client.request("POST", server.url(), seconds=5, max_bytes=10, content=b"x")
            assert (answer.status, answer.body) == (200, b"hello")
            with pytest.raises(EgressError) as large:
                await client.request("GET", server.url(), seconds=5, max_bytes=4)
            assert large.value.error_code == "too_large"
            cut = await client.request("GET", server.url(), seconds=5, max_bytes=4, truncate=True)
            assert cut.body == b"hell"
            with pytest.raises(EgressError) as wrong:
                await client.request("GET", server.url(host="other.example.org"), seconds=5, max_bytes=10)
            assert wrong.value.error_code == "certificate_invalid"
        async with AsyncGuardedClient(resolver=here) as closed:
            with pytest.raises(EgressError) as inner:
                await closed.request("GET", server.url(), seconds=5, max_bytes=10)
            assert inner.value.error_code == "address_not_allowed"

    with outside(reply(200, b"hello"), authority.tls) as server:
        asyncio.run(run(server))


@pytest.mark.parametrize("kind", SLOW)
def test_slow_servers_do_not_delay_the_others_of_the_async_client(authority: Authority, kind: str) -> None:
    async def run(slow: Outside, quick: Outside) -> None:
        async with async_guarded(authority) as client:
            waiting = [
                asyncio.create_task(client.request("GET", slow.url(), seconds=60, max_bytes=100_000)) for _ in range(8)
            ]
            await asyncio.sleep(0.05)
            assert (await client.request("GET", quick.url(), seconds=30, max_bytes=10)).status == 200
            assert not any(one.done() for one in waiting)
            for one in waiting:
                one.cancel()
            await asyncio.wait(waiting)
            with pytest.raises(EgressError) as late:
                await client.request("GET", slow.url(), seconds=0.5, max_bytes=1000)
            assert late.value.error_code == "too_slow"

    with outside(SLOW[kind], authority.tls) as slow, outside(reply(200), authority.tls) as quick:
        asyncio.run(run(slow, quick))
