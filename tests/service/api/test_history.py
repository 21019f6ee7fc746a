"""History: pages by filter, with a plain filter over all audits as the reference; and the same as lines."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from runaudit_service.api.audits import history
from runaudit_service.store.models import Audit, AuditTerm, Project, ReportRow, new_id
from runaudit_service.store.terms import cause_term, label_terms
from tests.service.clients import Api, code_of
from tests.service.conftest import Owner

CAUSES = ("overfitting", "data_leakage", "learning_rate", "class_imbalance")
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def add_audits(engine: Engine, owner: Owner, number: int) -> list[dict[str, Any]]:
    """Audits of all kinds, oldest first, several of one moment; returns what they can be filtered by."""
    choose = random.Random(5)
    known = []
    with Session(engine) as session:
        other = Project(id=new_id(), tenant_id=owner.tenant.id, name="other")
        session.add(other)
        session.flush()
        for index in range(number):
            state = choose.choice(("queued", "running", "succeeded", "succeeded", "succeeded", "failed"))
            done = state == "succeeded"
            project = choose.choice((owner.project, owner.project, other))
            audit = Audit(
                id=new_id(),
                tenant_id=owner.tenant.id,
                project_id=project.id,
                state=state,
                verdict=choose.choice(("pass", "fail", "fail", "warn")) if done else None,
                framework=choose.choice(("ultralytics", "yolov5")) if done else None,
                causes=choose.sample(CAUSES, choose.randrange(3)) if done else [],
                labels={key: choose.choice("ab") for key in ("branch", "gpu:0") if choose.random() < 0.6},
                fingerprint=str(index),
                auditor_version="1",
                created_at=NOON + timedelta(seconds=index // 3),
                ended_at=NOON + timedelta(days=1) if state in ("succeeded", "failed") else None,
            )
            audit.labels = {key.replace(":", "."): value for key, value in audit.labels.items()}
            session.add(audit)
            session.flush()
            terms = {cause_term(cause) for cause in audit.causes} | label_terms(audit.labels)
            session.add_all(
                AuditTerm(tenant_id=audit.tenant_id, term=term, created_at=audit.created_at, audit_id=audit.id)
                for term in terms
            )
            if done:
                session.add(ReportRow(audit_id=audit.id, schema_version="1", body={"number": index}, fence=1))
            known.append(
                {
                    "id": str(audit.id),
                    "project": project.name,
                    "state": state,
                    "verdict": audit.verdict,
                    "framework": audit.framework,
                    "cause": list(audit.causes),
                    "label": [f"{key}:{value}" for key, value in audit.labels.items()],
                    "created_at": audit.created_at,
                    "number": index if done else None,
                }
            )
        session.commit()
    return sorted(known, key=lambda audit: (audit["created_at"], audit["id"]))


def fits(audit: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """What the filters mean, in the plainest words."""
    for name in ("project", "state", "verdict", "framework"):
        if name in wanted and audit[name] not in wanted[name]:
            return False
    if "cause" in wanted and not set(audit["cause"]) & set(wanted["cause"]):
        return False
    if not set(wanted.get("label", [])) <= set(audit["label"]):
        return False
    if "created_after" in wanted and audit["created_at"] <= datetime.fromisoformat(wanted["created_after"]):
        return False
    return "created_before" not in wanted or audit["created_at"] < datetime.fromisoformat(wanted["created_before"])


def walk(api: Api, wanted: dict[str, Any], page_size: int) -> tuple[list[str], int]:
    """The ids of all pages, and how many pages they were."""
    seen, token = [], ""
    for pages in itertools.count(1):
        answer = api.get("/v1/audits", params={**wanted, "page_size": page_size, "page_token": token})
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) <= page_size
        seen += [audit["id"] for audit in answer.json()["items"]]
        token = answer.json()["next_page_token"]
        if not token:
            return seen, pages
    raise AssertionError


def selections(number: int) -> list[dict[str, Any]]:
    """Random combinations of filters."""
    choose = random.Random(7)
    values = {
        "project": ("default", "other", "none"),
        "state": ("queued", "succeeded", "failed"),
        "verdict": ("pass", "fail", "warn", "inconclusive"),
        "framework": ("ultralytics", "yolov5", "yolov9"),
        "cause": (*CAUSES, "image_format"),
        "label": ("branch:a", "gpu.0:b", "branch:nobody"),
    }
    made = []
    for _ in range(number):
        names = choose.sample([*values], choose.randrange(4))
        wanted: dict[str, Any] = {name: choose.sample(values[name], choose.randrange(1, 3)) for name in names}
        if choose.random() < 0.3:
            wanted["created_after"] = (NOON + timedelta(seconds=5)).isoformat()
        if choose.random() < 0.3:
            wanted["created_before"] = (NOON + timedelta(seconds=25)).isoformat()
        made.append(wanted | {"sort": choose.choice(("-created_at", "created_at"))})
    return made


def test_pages_hold_what_a_plain_filter_finds(
    api: Api, engine: Engine, owner: Owner, new_owner: Callable[..., Owner], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where pages end early: with so short a walk, most combinations need several pages of few or no audits."""
    monkeypatch.setattr(history, "WALKED", 12)
    monkeypatch.setattr(history, "COUNTED", 5)
    known = add_audits(engine, owner, 100)
    add_audits(engine, new_owner(), 20)
    short = 0
    for wanted in selections(60):
        expected = [audit["id"] for audit in known if fits(audit, wanted)]
        if wanted["sort"] == "-created_at":
            expected.reverse()
        seen, pages = walk(api, wanted, page_size=7)
        assert seen == expected, wanted
        short += pages > len(expected) // 7 + 1
    assert short > 5


@pytest.mark.parametrize("sort", ["created_at", "-created_at"])
def test_of_two_frequent_filters_the_rarer_is_walked(
    api: Api, engine: Engine, owner: Owner, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    """Both have more audits than are counted. Walked by the label, a page would end early, at a quarter of its size."""
    monkeypatch.setattr(history, "WALKED", 8)
    monkeypatch.setattr(history, "COUNTED", 4)
    with Session(engine) as session:
        for index in range(48):
            causes = ["overfitting"] if index % 4 == 0 else []
            audit = Audit(
                id=new_id(),
                tenant_id=owner.tenant.id,
                project_id=owner.project.id,
                state="succeeded",
                verdict="fail",
                causes=causes,
                labels={"branch": "a"},
                fingerprint=str(index),
                auditor_version="1",
                created_at=NOON + timedelta(seconds=index),
                ended_at=NOON + timedelta(days=1),
            )
            session.add(audit)
            session.flush()
            for term in {cause_term(cause) for cause in causes} | label_terms(audit.labels):
                session.add(
                    AuditTerm(tenant_id=audit.tenant_id, term=term, created_at=audit.created_at, audit_id=audit.id)
                )
        session.commit()
    wanted = {"cause": "overfitting", "label": "branch:a", "page_size": 6, "sort": sort}
    assert len(api.get("/v1/audits", params=wanted).json()["items"]) == 6


def test_the_whole_history_as_lines(api: Api, engine: Engine, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runaudit_service.api.pagination.MAX_PAGE_SIZE", 8)
    known = add_audits(engine, owner, 30)
    answer = api.get("/v1/audits/export", params={"sort": "created_at", "include": "report"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["id"] for line in lines] == [audit["id"] for audit in known]
    assert [line["report"] and line["report"]["number"] for line in lines] == [audit["number"] for audit in known]
    failed = api.get("/v1/audits/export", params={"state": "failed"}).text.splitlines()
    assert len(failed) == sum(audit["state"] == "failed" for audit in known)
    assert "report" not in json.loads(failed[0])
    assert api.get("/v1/audits/export", params={"project": "none"}).text == ""


@pytest.mark.parametrize("query", ["include=all", "page_size=3", "verdict=maybe", "sort=run_name"])
def test_a_wrong_export_is_refused(api: Api, query: str) -> None:
    answer = api.get(f"/v1/audits/export?{query}")
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")
