"""Every curl of the pages is run as it stands, against the live service, and gets an answer that is no error."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest

from runaudit.client import Client
from tests.docs.codes import ROOT
from tests.embedded.service import serving
from tests.worker.webhooks.receiver import Receiver, receiving
from tests.worker.workplace import curves_run

PAGES: Final = sorted(
    str(page.relative_to(ROOT))
    for page in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md")
    if re.search(r"^\s*curl ", page.read_text(), re.MULTILINE)
)
# It is a curl of its own that notes what each one was answered with.
NOTING: Final = """#!/bin/sh
exec {curl} --no-progress-meter --write-out '%{{stderr}}%{{http_code}} %{{method}} %{{url}}\\n' "$@" 2>> {notes}
"""
EXPECTED: Final = {
    ("docs/uploads.md", "HEAD", "404"): r"/v1/artifacts/\w+",
    ("docs/api.md", "GET", "304"): r"/v1/audits/[\w-]+",
    ("docs/api.md", "POST", "409"): r"/v1/audits/[\w-]+/deliveries/[\w-]+/redeliver",
}
"""the pages say that these may be answered so: by page, method and status the end of the URL"""


@dataclass(frozen=True)
class Place:
    """A service with two audits that have ended, and what the examples take from the environment."""

    environment: dict[str, str]
    webhook: str
    mlflow: Receiver


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with (
        serving(tmp_path_factory.mktemp("docs") / "data") as service,
        receiving() as mlflow,
        Client(service.credentials["url"], service.credentials["key"]) as client,
    ):
        folder = tmp_path_factory.mktemp("runs")
        ids = []
        for epochs in (12, 14):
            run = folder / f"{epochs}.zip"
            run.write_bytes(curves_run(epochs))
            ids.append(client.wait(client.submit(run, depth="curves").id, timeout=120).id)
        headers = {"Authorization": f"Bearer {service.credentials['key']}"}
        wanted = {"url": "https://ci.example.com/", "events": ["audit.failed"]}
        made = httpx.post(f"{service.credentials['url']}/v1/webhooks", json=wanted, headers=headers).json()
        environment = {
            **dict.fromkeys(("URL", "RUNAUDIT_URL"), service.credentials["url"]),
            **dict.fromkeys(("KEY", "RUNAUDIT_API_KEY"), service.credentials["key"]),
            **{"ID": str(ids[0]), "BEFORE": str(ids[0]), "AFTER": str(ids[1]), "AUDIT": str(ids[1])},
            **{
                "PROJECT": "019abf3d-b7e1-7c90-a2d4-9e8f7a6b5c4d",
                "SECRET": "whsec_x",
                "MLFLOW_TRACKING_URI": mlflow.url(""),
            },
        }
        yield Place(environment, made["id"], mlflow)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the examples are run: what they send lies there."""
    (tmp_path / "run.zip").write_bytes(curves_run())
    (tmp_path / "data.zip").write_bytes(curves_run())
    return tmp_path


def operations() -> list[tuple[str, str]]:
    """Method and path of each call that the service describes."""
    paths = json.loads((ROOT / "openapi" / "openapi.json").read_text())["paths"]
    return [(method.upper(), path) for path, item in paths.items() for method in item]


def is_of(call: tuple[str, str], operation: tuple[str, str]) -> bool:
    """Whether a call is one of this operation, whose path has parameters."""
    (method, path), (wanted, template) = call, operation
    return method == wanted and re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path) is not None


def test_the_pages_with_examples_are_found() -> None:
    assert {"README.md", "docs/history.md", "docs/uploads.md", "docs/webhooks.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_every_curl_of_a_page_gets_what_it_asks_for(page: str, place: Place, folder: Path) -> None:
    notes, noting = folder / "notes", folder / "bin" / "curl"
    noting.parent.mkdir()
    noting.write_text(NOTING.format(curl=shutil.which("curl"), notes=notes))
    noting.chmod(0o755)
    environment = os.environ | place.environment | {"PATH": f"{noting.parent}:{os.environ['PATH']}"}
    if page == "docs/webhooks.md":
        environment["ID"] = place.webhook
    examples = [
        # What is packed before is there already.
        re.sub(r"^zip .*\n", "", block, flags=re.MULTILINE)
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
        if language in ("", "sh") and re.search(r"\bcurl ", block)
    ]
    assert examples
    for example in examples:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", example], cwd=folder, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, (example, done.stdout, notes.read_text())
    answers = [line.split(maxsplit=2) for line in notes.read_text().splitlines() if re.match(r"\d{3} ", line)]
    assert len(answers) == sum(len(re.findall(r"(?:^|\(|\| )curl ", one, re.MULTILINE)) for one in examples)
    for status, method, url in answers:
        expected = EXPECTED.get((page, method, status))
        assert status.startswith("2") or (expected and re.search(f"{expected}$", url)), (status, method, url)
    if page == "docs/api.md":
        called = {(method, url.removeprefix(place.environment["URL"]).partition("?")[0]) for _, method, url in answers}
        assert not [one for one in operations() if not any(is_of(call, one) for call in called)]
    if page == "docs/mlops.md":
        # MLflow takes this body; the test that RUNAUDIT_MLFLOW turns on sends it to a real one.
        (hook,) = [json.loads(one.body) for one in place.mlflow.received]
        assert hook["events"] == [{"entity": "MODEL_VERSION", "action": "CREATED"}]
