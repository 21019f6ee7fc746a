"""Labels changed afterwards, two audits side by side, and audits that are past their time."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text

from runaudit_service.store import queue, retention
from tests.diagnostics import cases
from tests.reports.cases import build, faulty_evidence
from tests.service.clients import Api, claim, code_of
from tests.service.conftest import Owner


def finished(api: Api, engine: Engine, content: bytes, report: Any) -> str:
    """An audit with this report."""
    audit_id = str(api.submit(content).json()["id"])
    causes = [finding.cause for finding in report.findings]
    result = queue.Result(report.verdict, report.headline, causes, "ultralytics", "1", report.model_dump_json())
    assert queue.succeed(engine, claim(engine, audit_id), result)
    return audit_id


def listed(api: Api, **filters: Any) -> list[str]:
    return [audit["id"] for audit in api.get("/v1/audits", params=filters).json()["items"]]


def test_labels_are_merged_and_found(api: Api) -> None:
    audit_id = api.submit(labels={"branch": "main", "draft": "yes"}, run_name="one").json()["id"]
    tag = api.get(f"/v1/audits/{audit_id}").headers["etag"]
    answer = api.request(
        "PATCH", f"/v1/audits/{audit_id}", json={"labels": {"branch": "dev", "draft": None, "by": "me"}}
    )
    assert answer.status_code == 200, answer.text
    assert (answer.json()["labels"], answer.json()["run_name"]) == ({"branch": "dev", "by": "me"}, "one")
    assert answer.headers["etag"] != tag
    assert api.get(f"/v1/audits/{audit_id}", headers={"If-None-Match": tag}).status_code == 200
    assert listed(api, label="branch:dev") == listed(api, label=["branch:dev", "by:me"]) == [audit_id]
    assert listed(api, label="branch:main") == listed(api, label="draft:yes") == []
    renamed = api.request("PATCH", f"/v1/audits/{audit_id}", json={"run_name": None})
    assert (renamed.json()["run_name"], renamed.json()["labels"]) == (None, {"branch": "dev", "by": "me"})
    same = api.request("PATCH", f"/v1/audits/{audit_id}", json={"labels": {"by": "me"}})
    assert same.headers["etag"] == renamed.headers["etag"]


def test_a_change_of_another_version_is_refused(api: Api) -> None:
    audit_id = api.submit().json()["id"]
    tag = api.get(f"/v1/audits/{audit_id}").headers["etag"]
    for expected in (200, 412):
        answer = api.request("PATCH", f"/v1/audits/{audit_id}", json={"run_name": "x"}, headers={"If-Match": tag})
        assert answer.status_code == expected
    assert code_of(answer) == "version_outdated"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"state": "failed"}, "invalid_request"),
        ({"labels": {"a b": "c"}}, "invalid_request"),
        ({"labels": {f"k{number}": "v" for number in range(33)}}, "too_many_labels"),
    ],
)
def test_what_can_t_be_changed_is_refused(api: Api, change: dict[str, Any], code: str) -> None:
    answer = api.request("PATCH", f"/v1/audits/{api.submit().json()['id']}", json=change)
    assert (answer.status_code, code_of(answer)) == (422, code)


def test_two_audits_are_compared(api: Api, engine: Engine) -> None:
    healthy, faulty = build(cases.healthy()), build(faulty_evidence())
    first, second = finished(api, engine, b"one", healthy), finished(api, engine, b"two", faulty)
    answer = api.get(f"/v1/audits/{first}/compare/{second}")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [cause["cause"] for cause in body["causes_new"]] == [finding.cause for finding in faulty.findings]
    assert body["verdict"] == {"before": "pass", "after": "fail"}
    metrics = {metric["metric"]: metric for metric in body["metrics"]}
    assert metrics["box_map50_95"]["before_ci95"] is not None


def test_only_ones_own_ended_audits_are_compared(
    api: Api, engine: Engine, client_of: Callable[[str | None], Api], new_owner: Callable[..., Owner]
) -> None:
    done = finished(api, engine, b"one", build(cases.healthy()))
    waiting = api.submit(b"two").json()["id"]
    stranger = client_of(new_owner().key)
    assert code_of(api.get(f"/v1/audits/{done}/compare/{waiting}")) == "report_missing"
    for one, other in ((done, uuid.uuid4()), (uuid.uuid4(), done), (done, "x")):
        assert code_of(api.get(f"/v1/audits/{one}/compare/{other}")) == "audit_not_found"
    assert code_of(stranger.get(f"/v1/audits/{done}/compare/{done}")) == "audit_not_found"


def test_audits_past_their_retention_are_deleted_and_their_artifacts_released(
    api: Api, engine: Engine, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    old = [finished(api, engine, bytes([number]), build(cases.healthy())) for number in range(3)]
    young = finished(api, engine, b"young", build(cases.healthy()))
    waiting = api.submit(b"waiting").json()["id"]
    with engine.begin() as connection:
        shift = text(
            "UPDATE audits SET created_at = created_at - interval '31 days' WHERE id = ANY(CAST(:ids AS uuid[]))"
        )
        connection.execute(shift, {"ids": [*old, waiting]})
        ended = text("UPDATE audits SET ended_at = ended_at - interval '31 days' WHERE id = ANY(CAST(:ids AS uuid[]))")
        connection.execute(ended, {"ids": old})
    assert retention.delete_expired(engine) == 0
    with engine.begin() as connection:
        connection.execute(text("UPDATE projects SET retention_days = 30 WHERE id = :id"), {"id": owner.project.id})
    assert [retention.delete_expired(engine) for _ in range(3)] == [2, 1, 0]
    assert set(listed(api)) == {young, waiting}
    with engine.connect() as connection:
        released = text("SELECT count(*) FROM artifacts WHERE tenant_id = :id AND released_at IS NOT NULL")
        assert connection.execute(released, {"id": owner.tenant.id}).scalar_one() == 3
