"""What a pipeline meets: a run goes in over HTTP, and a stored report comes back, whatever the run tries."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest

from runaudit.causes import CAUSES
from runaudit.client import Client
from tests.acceptance.inputs import CLASSES, armed_cache, armed_checkpoint, run_copy, zipped
from tests.embedded.service import Served

SCHEMA = Path(__file__).parents[2] / "openapi" / "report.schema.json"


def test_a_trained_run_comes_back_with_measured_metrics_and_every_cause(
    client: Client, data_yaml: Path, tmp_path: Path
) -> None:
    run = zipped(run_copy(tmp_path / "healthy"), tmp_path / "run.zip")
    audit = client.wait(client.submit(run, data_yaml, run_name="healthy", policy={"min_map50": 0.5}).id, timeout=120)
    assert (audit.state, audit.verdict) == ("succeeded", "pass")
    report = json.loads(client.report(audit.id))
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))
    assert [check["cause"] for check in report["checks"]] == list(CAUSES)
    assert all(check["reason"] for check in report["checks"])
    box = report["validation"]["metrics"]["box"]
    assert 0.5 < box["map50_95"] < box["map50"] <= 1
    assert report["policy"][0]["outcome"] == "met"
    assert report["provenance"]["isolation"].keys() == {"writes", "network"}
    assert "# " in client.report(audit.id, "markdown")
    assert client.report(audit.id, "html").startswith("<!DOCTYPE html>")
    assert "<testsuites " in client.report(audit.id, "junit")
    assert json.loads(client.report(audit.id, "sarif"))["version"] == "2.1.0"


def test_the_faulty_run_fails_for_the_right_reason(client: Client, data_yaml: Path, tmp_path: Path) -> None:
    audit = client.wait(client.submit(run_copy(tmp_path / "faulty", "faulty"), data_yaml).id, timeout=120)
    report = json.loads(client.report(audit.id))
    first = report["findings"][0]
    assert (audit.verdict, first["cause"], first["severity"]) == ("fail", "learning_rate", "critical")
    assert any(item["source"].startswith("results.csv:") for item in first["evidence"] if item["source"])
    assert first["remedies"][0]["patch"]["lr0"] == pytest.approx(0.01)


def test_the_same_run_again_is_answered_with_the_earlier_audit_unless_forced(client: Client, tmp_path: Path) -> None:
    run = zipped(run_copy(tmp_path / "again"), tmp_path / "again.zip")
    first = client.wait(client.submit(run, depth="curves").id, timeout=60)
    assert client.submit(run, depth="curves").id == first.id
    forced = client.wait(client.submit(run, depth="curves", force=True).id, timeout=60)
    assert forced.id != first.id


def test_nothing_that_a_run_brings_is_executed(client: Client, served: Served, data_yaml: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    bundle = run_copy(tmp_path / "bundle")
    (bundle / "weights" / "best.pt").write_bytes(armed_checkpoint(canary))
    shutil.copytree(data_yaml.parent, bundle / "data")
    for name in ("train.cache", "val.cache"):
        (bundle / "data" / "labels" / name).write_bytes(armed_cache(canary))
    hostile = (bundle / "data" / "data.yaml").read_text()
    hostile += f"download: |\n  import os\n  os.system(\"touch '{canary}'\")\n"
    (bundle / "data" / "data.yaml").write_text(hostile)
    (bundle / "sitecustomize.py").write_text(f"open({str(canary)!r}, 'w')\n")

    audit = client.wait(client.submit(zipped(bundle, tmp_path / "bundle.zip")).id, timeout=120)

    assert audit.state == "succeeded"
    report = json.loads(client.report(audit.id))
    integrity = next(check for check in report["checks"] if check["cause"] == "checkpoint_integrity")
    assert integrity["outcome"] == "failed"
    finding = next(found for found in report["findings"] if found["cause"] == "checkpoint_integrity")
    assert finding["severity"] == "critical"
    assert "posix.system" in json.dumps(finding["evidence"])
    assert (audit.verdict, report["validation"]) == ("fail", None)
    assert not canary.exists()


@pytest.mark.parametrize(
    "written",
    [
        "path: {host}\ntrain: images/train\nval: images/val\n",
        "train: {host}/images/train\nval: {host}/images/val\n",
        "path: ../../../../../../../..{host}\nval: images/val\n",
        "val: {host}/list.txt\n",
        "val: list.txt\n",
        "path: 'C:{host}'\nval: 'C:{host}\\images\\val'\n",
        "val: 'file://{host}/images/val'\n",
    ],
)
def test_a_folder_of_the_host_is_never_read(client: Client, data_yaml: Path, tmp_path: Path, written: str) -> None:
    host = tmp_path / "host"
    shutil.copytree(data_yaml.parent, host)
    for kind in ("images", "labels"):
        for file in sorted((host / kind / "val").iterdir()):
            file.rename(file.with_name(f"secret-{file.name}"))
    listed = "\n".join(str(path) for path in sorted((host / "images" / "val").iterdir()))
    (host / "list.txt").write_text(listed)
    bundle = run_copy(tmp_path / "bundle")
    (bundle / "list.txt").write_text(listed)
    (bundle / "data.yaml").write_text(written.format(host=host) + CLASSES)
    audit = client.wait(client.submit(zipped(bundle, tmp_path / "bundle.zip")).id, timeout=120)
    report = json.loads(client.report(audit.id))
    assert (report["dataset"], report["validation"]) == (None, None)
    assert "data.yaml" in report["provenance"]["not_available"]["dataset"]
    assert "secret-" not in json.dumps(report)


def test_a_problem_that_quotes_a_nul_is_told_at_the_first_attempt(client: Client, tmp_path: Path) -> None:
    run = run_copy(tmp_path / "run")
    (run / "args.yaml").write_text('"a\\0b": 1\n"a\\0b": 2\n')
    audit = client.wait(client.submit(run, depth="curves").id, timeout=30)
    assert (audit.state, audit.attempt) == ("failed", 1)
    assert audit.error is not None
    assert audit.error["code"] == "yaml_duplicate_key"


def test_damaged_data_beside_a_run_end_the_audit_with_a_problem(client: Client, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "data.yaml").write_text("names: [a]\ntrain: images/train\nval: [\n")
    archive = zipped(data, tmp_path / "data.zip")
    audit = client.wait(client.submit(run_copy(tmp_path / "run"), archive).id, timeout=60)
    assert audit.state == "failed"
    assert audit.error is not None
    assert audit.error["code"] == "yaml_invalid"
    assert audit.error["errors"][0]["pointer"].startswith("data/data.yaml:")


def test_no_job_folder_is_left_behind(client: Client, served: Served, tmp_path: Path) -> None:
    client.wait(client.submit(run_copy(tmp_path / "run"), depth="curves", force=True).id, timeout=60)
    work = served.data_dir / "work"
    assert [path.name for path in work.iterdir() if path.is_dir()] == []
