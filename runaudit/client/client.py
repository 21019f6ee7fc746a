"""The synchronous client: one method a call of the service's contract."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self, cast
from urllib.parse import quote

import httpx

from runaudit.client.credentials import Credentials, load_credentials
from runaudit.client.data_packing import pack_data
from runaudit.client.errors import ProblemError, WaitTimeoutError
from runaudit.client.events import AuditEvent, read_events
from runaudit.client.models import Audit, AuditPage, CreatedKey, read_answer, read_object
from runaudit.client.packing import pack_run
from runaudit.client.retry import Retry, retry_after
from runaudit.client.transport import Part, Transport
from runaudit.client.uploads import digest_of, has_artifact, send_resumable
from runaudit.errors import InputError

ReportFormat = Literal["json", "html", "markdown", "junit", "sarif"]
Depth = Literal["curves", "standard", "deep"]
DEFAULT_SCOPES = ("audits:read", "audits:write")
"""of a new key: what a training pipeline needs"""
LONG_POLL_SECONDS = 30.0
WATCHED_POLL_SECONDS = 1.0
DEFAULT_PAUSE_SECONDS = 1.0
RESUMABLE_BYTES = 16 << 20
"""artifacts from this size on are sent so that a broken connection does not cost all; below it, sending all again takes
seconds on a slow line, and one request is simpler than three"""
SHORTEST_PAUSE_SECONDS = 0.2
SILENCE_SECONDS = 45.0
"""after which a stream of events is taken for dead: three times what lies between two signs of life"""
STREAM_FAILURES = 3
"""connections in a row that brought no event, after which the audit is polled"""
LASTING_REFUSALS = frozenset({401, 403, 404})
"""that polling would get too"""


class Client:
    """A client of the service at `url`, opened by API key `key`. Use it as a context manager, or call `close`.

    Every call raises ProblemError if the service refuses it or something else answers in its place, and
    ServiceUnreachableError if no answer could be had; 429, 502, 503, 504 and broken connections are tried again first
    (`retry`). `submit` carries an Idempotency-Key, so that it is done once however often it is sent; `rerun` and
    `create_key` are not sent again once they may have been done. Artifacts of `resumable_bytes` and more are sent by
    resumable upload.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        retry: Retry | None = None,
        timeout: float = 60.0,
        resumable_bytes: int = RESUMABLE_BYTES,
    ) -> None:
        self._transport = Transport(url, key, retry=retry, timeout=timeout)
        self._resumable_bytes = resumable_bytes

    @classmethod
    def from_environment(cls, credentials: Credentials | None = None) -> Self:
        """A client with the credentials of the environment (see `load_credentials`). Raises CredentialsError."""
        credentials = credentials or load_credentials()
        return cls(credentials.url, credentials.key)

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(
        self,
        run: Path,
        data: Path | None = None,
        *,
        depth: Depth | None = None,
        policy: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
        run_name: str | None = None,
        project: str | None = None,
        force: bool = False,
        callback_url: str | None = None,
        environment: Mapping[str, Any] | None = None,
    ) -> Audit:
        """Hand in a run folder (packed first) or an archive (sent as it is), with its data set if there is one.

        `data` is a data.yaml, a data set's folder, or an archive. What is packed is written to a temporary file and
        streamed from there, so memory stays constant. A data set that the service has already is not sent again, and
        neither is a large run; what is large goes on after a broken connection where it was. The same run again gives
        the earlier audit, unless `force`.

        Raises InputError if `run` or `data` can't be packed.
        """
        request: dict[str, Any] = {
            name: value
            for name, value in (
                ("depth", depth),
                ("policy", policy),
                ("labels", labels),
                ("run_name", run_name),
                ("project", project),
                ("force", force or None),
                ("callback_url", callback_url),
                ("environment", environment),
            )
            if value is not None
        }
        with ExitStack() as opened:
            artifacts = [_artifact("artifact", run, pack_run, opened)]
            if data is not None:
                artifacts.append(_artifact("data", data, pack_data, opened))
            parts = [part for part in artifacts if not self._is_named(part, request)]
            # The request comes first, so that the service can refuse it before it takes in gigabytes.
            parts.insert(0, Part("request", json.dumps(request).encode(), "application/json"))
            response = self._transport.post_parts("/v1/audits", parts)
        return read_answer(Audit, response.content)

    def get(self, audit_id: str, *, wait: float = 0) -> Audit:
        """The audit as it stands; with `wait`, the service holds the answer that many seconds until it changes."""
        return self._get(audit_id, wait)[0]

    def wait(
        self,
        audit_id: str,
        *,
        timeout: float | None = None,
        on_progress: Callable[[Audit], None] | None = None,
    ) -> Audit:
        """The audit once it has ended. `on_progress` is called with each answer on the way.

        Raises WaitTimeoutError after `timeout` seconds; the audit itself goes on.
        """
        for audit in self._polled(
            audit_id, timeout, LONG_POLL_SECONDS if on_progress is None else WATCHED_POLL_SECONDS
        ):
            if on_progress is not None:
                on_progress(audit)
        return audit

    def follow(
        self, audit_id: str, *, timeout: float | None = None, last_event_id: str | None = None
    ) -> Iterator[AuditEvent]:
        """What happened to the audit and what happens, as it does; the last event is the one that ends it.

        A connection that breaks is opened again, after the last event that came. Where no events are to be had (an
        older service, a proxy that holds them back), the audit is polled, and each change is told as an event without
        an id. `last_event_id`: only what came after that event.

        Raises WaitTimeoutError after `timeout` seconds; the audit itself goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        path, failures, state = _audit_path(audit_id, "/events"), 0, "going on"
        while failures < STREAM_FAILURES:
            failures += 1
            headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
            left = SILENCE_SECONDS if deadline is None else max(0.1, min(deadline - time.monotonic(), SILENCE_SECONDS))
            try:
                with self._transport.stream(path, headers=headers, silence=left) as lines:
                    if lines is None:
                        break
                    for event in read_events(lines):
                        if event is not None:
                            failures, last_event_id, state = 0, event.id or last_event_id, event.audit.state
                            yield event
                            if event.last:
                                return
                        _require_time(audit_id, deadline, timeout, state)
            except httpx.TransportError:
                pass
            except ProblemError as error:
                if error.http_status in LASTING_REFUSALS:
                    raise
                break
            _require_time(audit_id, deadline, timeout, state)
            time.sleep(SHORTEST_PAUSE_SECONDS * failures)
        rest = None if deadline is None else deadline - time.monotonic()
        seen: Audit | None = None
        for audit in self._polled(audit_id, rest, WATCHED_POLL_SECONDS):
            if audit != seen:
                yield AuditEvent(f"audit.{audit.state}" if audit.ended else "audit.progress", audit)
            seen = audit

    def _polled(self, audit_id: str, timeout: float | None, poll: float) -> Iterator[Audit]:
        """Each answer until the audit has ended, each held by the service for up to `poll` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            asked_at = time.monotonic()
            audit, pause = self._get(audit_id, poll if left is None else max(0.0, min(poll, left)))
            yield audit
            if audit.ended:
                return
            _require_time(audit_id, deadline, timeout, audit.state)
            # A service that does not hold the answer would otherwise be asked without a pause.
            rest = min(pause, poll) - (time.monotonic() - asked_at)
            if deadline is not None:
                rest = min(rest, deadline - time.monotonic())
            if rest > 0:
                time.sleep(rest)

    def change(
        self, audit_id: str, *, labels: Mapping[str, str | None] | None = None, run_name: str | None = None
    ) -> Audit:
        """The audit with these labels merged into its own (None takes one away), and another name if one is given."""
        body: dict[str, Any] = {} if labels is None else {"labels": dict(labels)}
        if run_name is not None:
            body["run_name"] = run_name
        return read_answer(Audit, self._transport.patch(_audit_path(audit_id), json=body).content)

    def compare(self, before: str, after: str) -> dict[str, Any]:
        """What changed from one audit to another, as `Comparison` of the API's document has it."""
        rest = _audit_path(after).removeprefix("/v1/audits")
        return read_object(self._transport.get(f"{_audit_path(before)}/compare{rest}").content)

    def report(self, audit_id: str, format: ReportFormat = "json") -> str:
        """The report as text in one of the formats. A ProblemError with status 409 while the audit has not ended."""
        response = self._transport.get(_audit_path(audit_id, "/report"), params={"format": format}, accept="*/*")
        if format == "json":
            read_object(response.content)
        return response.content.decode("utf-8", errors="replace")

    def list(
        self,
        *,
        project: str | Sequence[str] = (),
        state: str | Sequence[str] = (),
        verdict: str | Sequence[str] = (),
        cause: str | Sequence[str] = (),
        framework: str | Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        sort: Literal["-created_at", "created_at"] = "-created_at",
        page_size: int = 100,
    ) -> Iterator[Audit]:
        """All audits that fit, newest first; pages are fetched as they are needed.

        A filter with several values takes any of them; all of `labels` are needed. Times must carry a zone.
        """
        params: dict[str, Any] = {
            "project": project,
            "state": state,
            "verdict": verdict,
            "cause": cause,
            "framework": framework,
            "label": [f"{key}:{value}" for key, value in (labels or {}).items()],
            "created_after": created_after.isoformat() if created_after else (),
            "created_before": created_before.isoformat() if created_before else (),
            "sort": sort,
            "page_size": page_size,
        }
        while True:
            page = read_answer(AuditPage, self._transport.get("/v1/audits", params=params).content)
            yield from page.items
            if not page.next_page_token:
                return
            params["page_token"] = page.next_page_token

    def cancel(self, audit_id: str) -> Audit:
        """Ask for an audit to be cancelled; `wait` tells when it has been."""
        return read_answer(Audit, self._transport.post(_audit_path(audit_id, "/cancel"), repeatable=True).content)

    def rerun(self, audit_id: str) -> Audit:
        """A new audit of the same artifacts."""
        return read_answer(Audit, self._transport.post(_audit_path(audit_id, "/rerun"), repeatable=False).content)

    def create_key(self, name: str, scopes: Sequence[str] = DEFAULT_SCOPES) -> CreatedKey:
        """A new API key that may do what `scopes` say."""
        body = {"name": name, "scopes": [*scopes]}
        return read_answer(CreatedKey, self._transport.post("/v1/keys", json=body, repeatable=False).content)

    def ready(self) -> dict[str, Any]:
        """What /readyz says. A ProblemError if the service is not ready."""
        return read_object(self._transport.get("/readyz").content)

    def _is_named(self, part: Part, request: dict[str, Any]) -> bool:
        """Name an artifact in `request` instead of sending it with it, if it is large or the service has it already.

        A data set is looked for whatever its size, since the same one belongs to many runs; a run only if it is large.
        """
        stream = cast("IO[bytes]", part.content)
        length = os.fstat(stream.fileno()).st_size
        large = length >= self._resumable_bytes
        if not large and (part.name != "data" or length == 0):
            return False
        sha256 = digest_of(stream)
        if has_artifact(self._transport, sha256):
            source = {"sha256": sha256}
        elif large:
            source = {"upload_id": send_resumable(self._transport, stream, length, sha256)}
        else:
            return False
        if part.name == "data":
            request["data"] = source
        else:
            request |= {f"artifact_{name}" if name == "sha256" else name: value for name, value in source.items()}
        return True

    def _get(self, audit_id: str, wait: float) -> tuple[Audit, float]:
        params = {"wait": f"{wait:g}"} if wait else {}
        response = self._transport.get(_audit_path(audit_id), params=params, longer=wait)
        asked = retry_after(response)
        pause = DEFAULT_PAUSE_SECONDS if asked is None else max(asked, SHORTEST_PAUSE_SECONDS)
        return read_answer(Audit, response.content), pause


def _require_time(audit_id: str, deadline: float | None, timeout: float | None, state: str) -> None:
    if deadline is not None and time.monotonic() >= deadline:
        raise WaitTimeoutError(f"audit {audit_id} is still {state} after {timeout:g} s")


def _audit_path(audit_id: str, rest: str = "") -> str:
    """Raises InputError for an id by which the path would lead elsewhere: none, or one or two dots."""
    try:
        quoted = quote(audit_id, safe="")
    except UnicodeEncodeError:
        quoted = ""
    if quoted in ("", ".", ".."):
        raise InputError(f"{audit_id!a} is no audit's id; `runaudit list` shows the ids", code="audit_id_invalid")
    return f"/v1/audits/{quoted}{rest}"


def _artifact(role: str, path: Path, pack: Callable[[Path, IO[bytes]], None], opened: ExitStack) -> Part:
    """`path` as a part: an archive as it is, a folder or a data.yaml packed into a temporary file.

    `opened` closes what this opens.
    """
    if path.is_file() and path.suffix.lower() not in (".yaml", ".yml"):
        return Part(role, opened.enter_context(path.open("rb")), "application/octet-stream", path.name)
    packed = opened.enter_context(tempfile.TemporaryFile(prefix="runaudit-"))  # noqa: SIM115
    pack(path, packed)
    name = path.stem if path.is_file() else path.resolve().name
    return Part(role, packed, "application/zip", f"{name or role}.zip")
