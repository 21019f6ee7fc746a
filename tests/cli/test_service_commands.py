"""submit, show, list, report and keys: what they send, print and exit with, over real HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.cli.command import COMMAND, NO_SERVICE, runaudit
from tests.client.peer import Answer, Peer, Sent, audit, peer, problem

ID = audit()["id"]
ENDED = {"ended_at": "2026-11-24T08:01:00Z"}
SUCCEEDED = ENDED | {"state": "succeeded", "verdict": "fail", "headline": "It fails."}


def known(server: Peer) -> dict[str, str]:
    return {"RUNAUDIT_URL": server.url, "RUNAUDIT_API_KEY": "ra_secret"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "exp"
    folder.mkdir()
    (folder / "results.csv").write_text("epoch\n1\n")
    return folder


def service(ended: dict[str, Any], report: dict[str, Any] | None = None) -> Any:
    """Takes a run, and has its audit ended at once."""

    def answer(sent: Sent) -> Answer:
        if sent.method == "POST":
            return Answer(202, audit())
        if "/report" in sent.path:
            return Answer(body=report)
        return Answer(body=audit(**ended))

    return answer


def test_submit_prints_the_id(run: Path) -> None:
    with peer(service({})) as server:
        ended = runaudit("submit", run, "--label", "branch=main", "--run-name", "exp", environment=known(server))
    assert (ended.returncode, ended.stdout) == (0, f"{ID}\n")
    assert b'"labels": {"branch": "main"}' in server.requests[0].body


@pytest.mark.parametrize(
    ("severities", "options", "code"),
    [
        (["major"], [], 1),
        (["minor"], [], 0),
        (["minor"], ["--fail-on", "minor"], 1),
        (["major"], ["--fail-on", "critical"], 0),
        ([], [], 0),
    ],
)
def test_submit_wait_exits_by_the_findings(run: Path, severities: list[str], options: list[str], code: int) -> None:
    report = {"findings": [{"severity": one} for one in severities], "policy": []}
    with peer(service(SUCCEEDED, report)) as server:
        ended = runaudit("submit", run, "--wait", "--format", "json", *options, environment=known(server))
    assert ended.returncode == code, ended.stderr
    assert json.loads(ended.stdout) == report


def test_submit_wait_exits_with_1_for_a_broken_policy(run: Path, tmp_path: Path) -> None:
    report = {"findings": [], "policy": [{"outcome": "broken"}]}
    with peer(service(SUCCEEDED, report)) as server:
        ended = runaudit(
            "submit", run, "--wait", "--format", "json", "-o", tmp_path / "report.json", environment=known(server)
        )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert "verdict: fail. It fails." in ended.stderr


@pytest.mark.parametrize(
    ("state", "error", "code"),
    [
        ("failed", {"status": 422, "code": "archive_unreadable", "detail": "The zip is cut short."}, 2),
        ("failed", {"status": 500, "code": "child_crashed", "detail": "It ended with SIGKILL."}, 3),
        ("cancelled", None, 3),
    ],
)
def test_submit_wait_tells_why_there_is_no_report(run: Path, state: str, error: Any, code: int) -> None:
    with peer(service(ENDED | {"state": state, "error": error})) as server:
        ended = runaudit("submit", run, "--wait", environment=known(server))
    assert (ended.returncode, ended.stdout) == (code, "")
    assert f"[{error['code'] if error else 'cancelled'}]" in ended.stderr


def test_submit_wait_gives_up_after_its_timeout(run: Path) -> None:
    with peer(service({"state": "running"})) as server:
        ended = runaudit("submit", run, "--wait", "--timeout", "0.5", environment=known(server))
    assert ended.returncode == 3
    assert "[wait_timed_out]" in ended.stderr
    assert f"runaudit show {ID}" in ended.stderr


def test_ctrl_c_ends_the_waiting_with_130(run: Path) -> None:
    with peer(service({"state": "running"})) as server:
        waiting = subprocess.Popen(
            [*COMMAND, "submit", str(run), "--wait"],
            env=os.environ | NO_SERVICE | known(server),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 30
        while len(server.requests) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert "Traceback" not in said


def test_show_tells_state_and_progress_and_verdict() -> None:
    progress = {"stage": "load_model", "fraction": 0.5, "done": 3, "total": 6}
    with peer(Answer(body=audit(state="running", progress=progress)), Answer(body=audit(**SUCCEEDED))) as server:
        running = runaudit("show", ID, environment=known(server))
        ended = runaudit("show", ID, environment=known(server))
    assert "running (load model 3 of 6)" in running.stdout
    assert "It fails." in ended.stdout
    assert (running.returncode, ended.returncode) == (0, 0)


def test_show_of_nothing_exits_with_2() -> None:
    with peer(problem(404, "audit_not_found")) as server:
        ended = runaudit("show", ID, environment=known(server))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "runaudit: because of audit_not_found [audit_not_found]\n"


@pytest.mark.parametrize("command", ["show", "report"])
@pytest.mark.parametrize("audit_id", ["", ".", "..", "\udcff"])
def test_what_can_be_no_id_is_told_and_not_asked_for(command: str, audit_id: str) -> None:
    with peer(Answer(body=audit())) as server:
        ended = runaudit(command, audit_id, environment=known(server))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith("[audit_id_invalid]\n")
    assert server.requests == []


@pytest.mark.parametrize("audit_id", ["a/b", "a?wait=5", "a#b", "../keys", "%2e%2e", "a b", "é"])
def test_an_id_stays_one_part_of_the_path(audit_id: str) -> None:
    with peer(problem(404, "audit_not_found")) as server:
        ended = runaudit("show", audit_id, environment=known(server))
    assert ended.returncode == 2
    assert [sent.path for sent in server.requests] == [f"/v1/audits/{quote(audit_id, safe='')}"]


@pytest.mark.parametrize(
    "arguments", [("list", "--project", "a\udcffb"), ("list", "--label", "a=\udcff"), ("keys", "create", "\udcff")]
)
def test_what_is_no_text_is_told_and_not_sent(arguments: tuple[str, ...]) -> None:
    with peer(Answer(body=audit())) as server:
        ended = runaudit(*arguments, environment=known(server))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith("[input_unreadable]\n") and "Traceback" not in ended.stderr
    assert server.requests == []


@pytest.mark.parametrize("key", ["ra_clé", "ra_a\nb", "ra_\x7f", "ra_ b"])
def test_a_key_that_no_header_can_carry_is_told_and_not_shown(key: str) -> None:
    ended = runaudit("list", environment={"RUNAUDIT_URL": "http://127.0.0.1:9", "RUNAUDIT_API_KEY": key})
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith("[key_malformed]\n") and "Traceback" not in ended.stderr
    assert key.removeprefix("ra_") not in ended.stderr


@pytest.mark.parametrize("url", ["http://a\udcffb", "http://[bad", "http://", "http://h:99999", "ftp://h", "nonsense"])
def test_what_is_no_url_of_a_service_is_told_at_once(url: str) -> None:
    ended = runaudit("list", environment={"RUNAUDIT_URL": url, "RUNAUDIT_API_KEY": "ra_secret"}, seconds=20)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith("[url_malformed]\n") and "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [("show", ID), ("list",), ("report", ID), ("keys", "create", "ci")])
@pytest.mark.parametrize("body", ["<html>a proxy's page</html>", [], {"items": [{}], "next_page_token": ""}])
def test_an_answer_that_is_none_of_the_service_s_is_told(arguments: tuple[str, ...], body: Any) -> None:
    with peer(Answer(body=body)) as server:
        ended = runaudit(*arguments, environment=known(server))
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.endswith("[service_error]\n") and "Traceback" not in ended.stderr


def test_list_prints_a_line_each_and_stops_at_the_limit() -> None:
    page = {"items": [audit(run_name="a"), audit(run_name="b", **SUCCEEDED)], "next_page_token": "more"}
    with peer(Answer(body=page)) as server:
        ended = runaudit("list", "--limit", "3", "--state", "queued", "--state", "succeeded", environment=known(server))
    lines = ended.stdout.splitlines()
    assert [line.split()[-1] for line in lines] == ["a", "b", "a"]
    assert lines[1].split()[3:5] == ["succeeded", "fail"]
    assert httpx.URL(server.requests[0].path).params.get_list("state") == ["queued", "succeeded"]


def test_list_as_json() -> None:
    with peer(Answer(body={"items": [audit()], "next_page_token": ""})) as server:
        ended = runaudit("list", "--json", environment=known(server))
    assert json.loads(ended.stdout)[0]["id"] == ID


def test_report_in_a_format_into_a_file(tmp_path: Path) -> None:
    with peer(Answer(body=b"# Verdict", content_type="text/markdown")) as server:
        ended = runaudit("report", ID, "--format", "markdown", "-o", tmp_path / "r.md", environment=known(server))
    assert ended.returncode == 0
    assert (tmp_path / "r.md").read_text() == "# Verdict\n"


def test_a_report_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with peer(Answer(body=b"# Verdict", content_type="text/markdown")) as server:
        ended = runaudit(
            "report", ID, "--format", "markdown", "-o", tmp_path / "no" / "r.md", environment=known(server)
        )
    assert ended.returncode == 2
    assert "[output_unwritable]" in ended.stderr


def test_keys_create_prints_the_key_alone_on_standard_output() -> None:
    with peer(Answer(201, {"id": "k", "name": "ci", "key": "ra_new", "scopes": ["audits:read"]})) as server:
        ended = runaudit("keys", "create", "ci", "--scope", "audits:read", environment=known(server))
    assert (ended.returncode, ended.stdout) == (0, "ra_new\n")


@pytest.mark.parametrize("arguments", [("show", ID), ("list",), ("report", ID), ("keys", "create", "ci")])
def test_an_unknown_service_is_told_with_what_to_set(arguments: tuple[str, ...], tmp_path: Path) -> None:
    ended = runaudit(*arguments, cwd=tmp_path)
    assert ended.returncode == 2
    assert "RUNAUDIT_URL" in ended.stderr and "[credentials_missing]" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nowhere",), "path_not_found"),
        (("{run}", "--data", "nowhere.yaml"), "path_not_found"),
        (("{run}", "--label", "branch"), "usage"),
        (("{run}", "--label", "a=1", "--label", "a=2"), "usage"),
        (("{empty}",), "run_not_found"),
        (("{pipe}",), "path_not_regular"),
        (("/dev/null",), "path_not_regular"),
        (("{run}", "--data", "{pipe}"), "path_not_regular"),
        (("{run}", "--policy", "{pipe}"), "path_not_regular"),
        (("{run}", "--data", "{images}"), "input_unreadable"),
    ],
)
def test_what_cannot_be_handed_in_is_told_before_anything_is_sent(
    run: Path, tmp_path: Path, arguments: tuple[str, ...], code: str
) -> None:
    (tmp_path / "empty").mkdir()
    images = tmp_path / "images"
    images.mkdir()
    (images / "data.yaml").write_text("val: .\nnames: [a]\n")
    for pipe in (tmp_path / "pipe", images / "a.jpg"):
        os.mkfifo(pipe)
    places = {"{run}": run, "{empty}": tmp_path / "empty", "{pipe}": tmp_path / "pipe", "{images}": images}
    given = [places.get(one, one) for one in arguments]
    with peer(Answer(202, audit())) as server:
        ended = runaudit("submit", *given, environment=known(server), seconds=30)
    assert ended.returncode == 2
    assert f"[{code}]" in ended.stderr
    assert server.requests == []


def test_show_prints_what_an_audit_says_as_text_only() -> None:
    failed = {"code": "yaml_duplicate_key", "status": 422, "detail": "the key `a\x1b[31m\nstate     succeeded`"}
    with peer(Answer(body=audit(**ENDED | {"state": "failed", "error": failed}))) as server:
        ended = runaudit("show", ID, environment=known(server))
    assert "\x1b" not in ended.stdout
    assert "\nstate     succeeded" not in ended.stdout
