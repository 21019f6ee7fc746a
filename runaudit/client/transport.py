"""HTTP to the service: authentication, retries with an idempotency key, and problem documents as errors."""

from __future__ import annotations

import ipaddress
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

import httpx

from runaudit import __version__
from runaudit.client.errors import CredentialsError, ProblemError, ServiceUnreachableError
from runaudit.client.retry import Retry, surely_undone
from runaudit.errors import InputError


@dataclass(frozen=True)
class Part:
    """One part of a multipart body: text if it has no file name, else a file, streamed from where it is."""

    name: str
    content: bytes | IO[bytes]
    content_type: str
    file_name: str | None = None


class Transport:
    """A connection pool to one service. Not for use by several threads at once while sending files.

    Raises CredentialsError for a URL that can be none of a service, or a key that no header can carry.
    """

    def __init__(self, url: str, key: str, *, retry: Retry | None = None, timeout: float = 60.0) -> None:
        self.retry = retry or Retry()
        self._timeout = timeout
        self._url = url.rstrip("/")
        _require_key(key)
        self._http = httpx.Client(
            base_url=_service_url(self._url),
            headers={"Authorization": f"Bearer {key}", "User-Agent": f"runaudit/{__version__}"},
            timeout=httpx.Timeout(timeout, connect=min(10.0, timeout)),
            # A proxy of the environment can't reach this machine's own loopback address.
            trust_env=not is_loopback(_service_url(url).host),
        )

    def close(self) -> None:
        self._http.close()

    def get(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        accept: str = "application/json",
        longer: float = 0.0,
    ) -> httpx.Response:
        """GET `path`. `longer` seconds are added to the read timeout, for a long poll."""
        with _text_only():
            request = self._http.build_request(
                "GET", path, params=params, headers={"Accept": accept}, timeout=self._timeouts(longer)
            )
        return self._send(lambda: request)

    def post(self, path: str, *, json: Any = None, repeatable: bool) -> httpx.Response:
        """POST JSON. One that is not `repeatable`, because doing it twice differs from doing it once, is sent again
        only if it surely was not done: it could not be connected, or was turned down for its rate.
        """
        with _text_only():
            request = self._http.build_request("POST", path, json=json)
        return self._send(lambda: request, repeatable=repeatable)

    def patch(self, path: str, *, json: Any) -> httpx.Response:
        """PATCH JSON: doing it twice is doing it once."""
        with _text_only():
            request = self._http.build_request("PATCH", path, json=json)
        return self._send(lambda: request)

    def post_parts(self, path: str, parts: list[Part]) -> httpx.Response:
        """POST multipart/form-data. Files are read in small chunks, from their start at each attempt.

        All attempts carry one Idempotency-Key, so that what is asked for is done once.
        """
        idempotency_key = _new_idempotency_key()
        # The boundary is part of the body; with a fixed one all attempts send the same bytes.
        headers = {
            "Idempotency-Key": idempotency_key,
            "Content-Type": f"multipart/form-data; boundary=runaudit-{uuid.uuid4().hex}",
        }

        def build() -> httpx.Request:
            files = [(part.name, (part.file_name, part.content, part.content_type)) for part in parts]
            return self._http.build_request("POST", path, files=files, headers=headers)

        return self._send(build)

    def head(self, path: str) -> httpx.Response | None:
        """HEAD `path`; None if there is no such thing (404)."""
        request = self._http.build_request("HEAD", path)
        try:
            return self._send(lambda: request)
        except ProblemError as error:
            if error.http_status != 404:
                raise
            return None

    def attempt(
        self, method: str, path: str, *, headers: Mapping[str, str], content: Iterator[bytes]
    ) -> tuple[httpx.Response | None, httpx.TransportError | None]:
        """Send `content` this once: the answer, or why there is none."""
        request = self._http.build_request(method, path, headers=dict(headers), content=content)
        try:
            return self._http.send(request), None
        except httpx.TransportError as error:
            return None, error

    @contextmanager
    def stream(self, path: str, *, headers: Mapping[str, str], silence: float) -> Iterator[Iterator[str] | None]:
        """The lines of an event stream as they come, sent once; None if something else is answered.

        Raises ProblemError, and httpx.TransportError where the connection breaks or is silent for `silence` seconds.
        """
        timeouts = httpx.Timeout(self._timeout, connect=min(10.0, self._timeout), read=silence)
        sent = {"Accept": "text/event-stream", **headers}
        with self._http.stream("GET", path, headers=sent, timeout=timeouts) as response:
            if response.status_code >= 400:
                response.read()
                raise problem_of(response)
            is_stream = response.headers.get("Content-Type", "").startswith("text/event-stream")
            yield response.iter_lines() if is_stream else None

    def _timeouts(self, longer: float) -> httpx.Timeout:
        return httpx.Timeout(self._timeout, connect=min(10.0, self._timeout), read=self._timeout + longer)

    def _send(self, build: Callable[[], httpx.Request], *, repeatable: bool = True) -> httpx.Response:
        attempt = 0
        while True:
            attempt += 1
            failure: httpx.TransportError | None = None
            response: httpx.Response | None = None
            try:
                response = self._http.send(build())
            except httpx.TransportError as error:
                failure = error
            if response is not None and response.status_code < 400:
                return response
            delay = self.retry.delay(attempt, response) if repeatable or surely_undone(response, failure) else None
            if delay is None:
                if response is not None:
                    raise problem_of(response)
                raise ServiceUnreachableError(
                    f"{self._url} gave no answer in {attempt} attempt{'s' * (attempt > 1)}: {_words(failure)}"
                ) from failure
            time.sleep(delay)


@contextmanager
def _text_only() -> Iterator[None]:
    """Raises InputError where something of a request is no text: an argument in another encoding than UTF-8."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise InputError(f"{error.object[:80]!a} is not valid text; write it in UTF-8") from error


def _service_url(url: str) -> httpx.URL:
    """Raises CredentialsError for what can be no URL of a service."""
    try:
        plain = urlsplit(url)
        if plain.scheme in ("http", "https") and plain.hostname and plain.port != 0:
            return httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        pass
    raise CredentialsError(
        f"{url} is not the URL of a service; one looks like http://127.0.0.1:8000", code="url_malformed"
    )


def _require_key(key: str) -> None:
    """Raises CredentialsError, which does not show the key, for one that no header can carry."""
    if not key or not all("!" <= character <= "~" for character in key):
        raise CredentialsError(
            "the API key is empty or holds characters that no key has (spaces, line ends, letters outside of ASCII); "
            "copy it again",
            code="key_malformed",
        )


def is_loopback(host: str) -> bool:
    """True for localhost and the loopback addresses."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _new_idempotency_key() -> str:
    # The draft (httpapi-idempotency-key-header) makes it a structured-field string, which is quoted.
    return f'"{uuid.uuid4()}"'


def problem_of(response: httpx.Response) -> ProblemError:
    """What a refusal says: its problem document, or the answer of something else in the service's place."""
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or "code" not in document:
        detail = f"the service answered {response.status_code} {response.reason_phrase}: {response.text[:200].strip()}"
        document = {"title": response.reason_phrase, "status": response.status_code, "detail": detail}
    return ProblemError(document, response.status_code)


def _words(failure: Exception | None) -> str:
    return str(failure) or type(failure).__name__
