"""With a real MLflow server: a model version is registered, its run is audited, and it gets the verdict as tags.

RUNAUDIT_MLFLOW names the command `mlflow` (3.3 or newer) of an environment of its own: it is too large for this one.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.conftest import wait_until
from tests.embedded.service import serving

MLFLOW: Final = os.environ.get("RUNAUDIT_MLFLOW", "")
RUN: Final = Path(__file__).parents[2] / "examples" / "runs" / "faulty"
SECRET: Final = "a secret that both sides know"

pytestmark = pytest.mark.skipif(not MLFLOW, reason="RUNAUDIT_MLFLOW does not name the command mlflow")


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """A tracking server with registry and artifacts in `folder`; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [MLFLOW, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "a")]
    # MLflow sends to public https addresses alone, unless it is told otherwise.
    allowed = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
    # Without it one of its processes can't read the secret that another wrote (docs/mlops.md).
    page = (Path(__file__).parents[2] / "docs" / "mlops.md").read_text()
    (making,) = re.findall(r"^export MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY=\$\((.*)\) ", page, re.MULTILINE)
    made = subprocess.run(["bash", "-c", making], capture_output=True, text=True, check=True)
    allowed["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"] = made.stdout.strip()
    with (folder / "mlflow.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=os.environ | allowed, stdout=log, stderr=log, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(address), seconds=240, what="MLflow's start")
        yield address
    finally:
        # It has children of its own, which a signal to it alone leaves behind.
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def call(address: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(f"{address}/api/2.0/mlflow/{path}", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def tags_of(address: str, version: str) -> dict[str, str]:
    place = f"{address}/api/2.0/mlflow/model-versions/get"
    answer = httpx.get(place, params={"name": "shapes", "version": version}, timeout=60).json()
    return {tag["key"]: tag["value"] for tag in answer["model_version"].get("tags", [])}


def test_a_registered_version_is_audited_and_gets_its_verdict(tmp_path: Path) -> None:
    with mlflow_server(tmp_path) as address:
        environment = {"RUNAUDIT_MLFLOW_TRACKING_URI": address, "RUNAUDIT_MLFLOW_WEBHOOK_SECRET": SECRET}
        with serving(tmp_path / "data", environment=environment) as service:
            credentials = service.credentials
            run_id = call(address, "runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
            for file in ("results.csv", "args.yaml", "weights/best.pt"):
                place = f"{address}/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/{file}"
                assert httpx.put(place, content=(RUN / file).read_bytes(), timeout=60).status_code == 200
            call(address, "registered-models/create", {"name": "shapes"})
            hook = {
                "name": "runaudit",
                "url": f"{credentials['url']}/v1/hooks/mlflow",
                "events": [{"entity": "MODEL_VERSION", "action": "CREATED"}],
                "secret": SECRET,
            }
            webhook = call(address, "webhooks", hook)["webhook"]
            tested = call(address, f"webhooks/{webhook['webhook_id']}/test", {})
            assert tested["result"]["success"] is True, tested
            version = {
                "name": "shapes",
                "source": f"runs:/{run_id}/weights",
                "run_id": run_id,
                "tags": [{"key": "runaudit.depth", "value": "curves"}],
            }
            number = call(address, "model-versions/create", version)["model_version"]["version"]
            wait_until(lambda: "runaudit.url" in tags_of(address, number), seconds=240)
            tags = tags_of(address, number)
            key = {"Authorization": f"Bearer {credentials['key']}"}
            audit = httpx.get(f"{credentials['url']}/v1/audits/{tags['runaudit.audit']}", headers=key).json()
            assert (audit["state"], audit["verdict"], audit["headline"]) == (
                "succeeded",
                tags["runaudit.verdict"],
                tags["runaudit.headline"],
            )
            assert audit["labels"]["mlflow.run"] == run_id and audit["run_name"] == f"shapes {number}"
