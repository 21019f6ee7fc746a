"""Tells MLflow of verdicts: an audit that a model version asked for ends, and the version gets it as tags.

The tags are set by the REST call `model-versions/set-tag`, one at a time; to set one again changes nothing, so that an
attempt that was cut off is simply made again, by the schedule of webhooks.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from runaudit.errors import RunauditError
from runaudit_service.store import model_versions
from runaudit_service.store.audit_body import place_to_read
from runaudit_service.store.model_versions import Told
from runaudit_service.store.settings import Settings
from runaudit_service.store.web_address import networks
from runaudit_worker.fetching.mlflow import credentials
from runaudit_worker.guarded import AsyncGuardedClient
from runaudit_worker.webhooks.schedule import delay_after

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 2.0
"""between two looks for audits that have ended"""
SECONDS: Final = 15.0
"""for one call of MLflow"""
LEASE_SECONDS: Final = 120.0
"""longer than all the calls for one version may take"""
PLACES: Final = 8
"""versions that are told at a time"""
HEADLINE_CHARACTERS: Final = 500
_ANSWER_BYTES: Final = 4096
_SET_TAG: Final = "/api/2.0/mlflow/model-versions/set-tag"
# The version or its model was deleted: nobody is left to be told.
_GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


@dataclass(frozen=True)
class Tracking:
    """The operator's MLflow server. `base_url` is where links to audits begin."""

    uri: str
    headers: Mapping[str, str]
    base_url: str


def tags_of(told: Told, base_url: str) -> dict[str, str]:
    """The tags of a version. An audit that did not succeed has no verdict: it is inconclusive, and says why."""
    if told.state == "succeeded":
        verdict, headline = told.verdict or "inconclusive", told.headline or ""
    else:
        detail = (told.error or {}).get("detail", "")
        verdict, headline = "inconclusive", f"The audit {_ended(told.state)}{f': {detail}' if detail else '.'}"
    return {
        "runaudit.verdict": verdict,
        "runaudit.headline": headline[:HEADLINE_CHARACTERS],
        "runaudit.audit": str(told.audit_id),
        "runaudit.url": base_url + place_to_read(told.audit_id, told.state),
    }


def _ended(state: str) -> str:
    return "was cancelled" if state == "cancelled" else "failed"


async def tell_model_versions(configured: Settings, engine: Engine) -> None:
    """Tells the versions of the operator's MLflow server, until it is cancelled."""
    uri = configured.mlflow_tracking_uri.rstrip("/")
    async with AsyncGuardedClient(
        # The operator named this server: it may stand anywhere.
        allow=networks("0.0.0.0/0,::/0"),
        allow_http=True,
        ca_file=configured.fetch_ca_file,
        connections=PLACES,
    ) as client:
        tracking = Tracking(uri, credentials(configured), configured.base_url)
        await VerdictTags(engine, client, tracking).run()


class VerdictTags:
    """Looks for audits that have ended, and tells the versions that asked for them. For one event loop."""

    def __init__(self, engine: Engine, client: AsyncGuardedClient, tracking: Tracking) -> None:
        self._engine = engine
        self._client = client
        self._tracking = tracking

    async def run(self) -> None:
        """For ever, until it is cancelled; what was at work then is taken up by another when its lease has run out."""
        while True:
            if not await self.tell_some():
                await asyncio.sleep(LOOK_SECONDS)

    async def tell_some(self) -> int:
        """Tells those that are due now; how many there were."""
        try:
            found = await asyncio.to_thread(model_versions.claim, self._engine, PLACES, LEASE_SECONDS)
        except DBAPIError as error:
            _log.warning("the database can't be asked for model versions: %s", error.orig)
            return 0
        await asyncio.gather(*(self._tell(told) for told in found))
        return len(found)

    async def _tell(self, told: Told) -> None:
        error = await self._set_tags(told)
        with suppress(DBAPIError):
            # Unrecorded, it is done again when the lease has run out, and changes nothing.
            await asyncio.to_thread(self._record, told, error)

    async def _set_tags(self, told: Told) -> str | None:
        """None if all tags are set; else what went wrong, in a word."""
        for key, value in tags_of(told, self._tracking.base_url).items():
            body = {"name": told.model, "version": told.model_version, "key": key, "value": value}
            try:
                answer = await self._client.request(
                    "POST",
                    self._tracking.uri + _SET_TAG,
                    seconds=SECONDS,
                    max_bytes=_ANSWER_BYTES,
                    headers={**self._tracking.headers, "Content-Type": "application/json"},
                    content=json.dumps(body).encode(),
                    truncate=True,
                )
            except RunauditError as refused:
                return refused.error_code
            if answer.status in _GONE:
                return "gone"
            if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                return f"status {answer.status}"
        return None

    def _record(self, told: Told, error: str | None) -> None:
        if error is None:
            model_versions.succeed(self._engine, told)
            return
        delay = None if error == "gone" else delay_after(told.attempts + 1)
        if delay is None:
            _log.warning("audit %s: its model version was not told: %s", told.audit_id, error)
            model_versions.fail(self._engine, told, error)
        else:
            _log.info("audit %s: its model version is told later: %s", told.audit_id, error)
            model_versions.retry(self._engine, told, error, delay)
