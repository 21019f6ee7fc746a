"""From a claim to a job: blobs by digest, data by path below the roots, nothing else."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from runaudit.errors import InputError
from runaudit.isolation.job import JobSpec
from runaudit_service.store.blobs import open_blobs
from runaudit_service.store.queue import Claim, Input
from runaudit_service.store.settings import Settings
from runaudit_worker.specification import job_spec as spec_of

DIGEST = "ab" * 32
RUN = Input(sha256=DIGEST, file_name="run.zip", path=None)


def job_spec(claim: Claim, settings: Settings) -> JobSpec:
    with ExitStack() as opened:
        blobs = open_blobs(settings)
        return spec_of(claim, settings, lambda sha256: opened.enter_context(blobs.opened(sha256, lambda: False)))


def claim(**inputs: Input) -> Claim:
    return Claim(
        job_id=uuid4(),
        audit_id=uuid4(),
        queue="cpu",
        owner="worker",
        attempt=1,
        max_attempts=3,
        fence=1,
        lease_seconds=60,
        depth="deep",
        policy={"min_map50": 0.5},
        environment={"gpu": "none"},
        inputs=inputs,
        baseline=None,
    )


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    blob = tmp_path / "blobs" / DIGEST[:2] / DIGEST
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"archive")
    (tmp_path / "sets" / "coco").mkdir(parents=True)
    (tmp_path / "sets" / "coco" / "data.yaml").write_text("names: [a]")
    (tmp_path / "private").mkdir()
    return Settings(data_dir=tmp_path, data_roots=str(tmp_path / "sets"), device="cpu", audit_seconds=7)


def by_path(path: Path) -> Input:
    return Input(sha256=None, file_name=None, path=str(path))


def test_the_request_s_words_and_the_settings_limits_go_in(configured: Settings) -> None:
    spec = job_spec(claim(run=RUN), configured)
    assert (spec.run.kind, spec.run.sha256) == ("archive", DIGEST)
    assert Path(spec.run.path).read_bytes() == b"archive"
    assert spec.data is None
    assert (spec.depth, spec.device, spec.limits.evaluate_seconds) == ("deep", "cpu", 7)
    assert (spec.policy, spec.environment) == ({"min_map50": 0.5}, {"gpu": "none"})
    assert not spec.own_machine


@pytest.mark.parametrize(("name", "kind"), [("coco", "folder"), ("coco/data.yaml", "data_yaml")])
def test_data_by_path_lie_below_a_root(configured: Settings, name: str, kind: str) -> None:
    path = configured.data_dir / "sets" / name
    spec = job_spec(claim(run=RUN, data=by_path(path)), configured)
    assert spec.data is not None
    assert (spec.data.kind, spec.data.path, spec.data.sha256) == (kind, str(path), None)


def test_a_link_out_of_the_roots_is_not_followed(configured: Settings) -> None:
    link = configured.data_dir / "sets" / "link"
    link.symlink_to(configured.data_dir / "private")
    for path in (link, configured.data_dir / "private", configured.data_dir / "sets" / ".." / "private", Path("/etc")):
        with pytest.raises(InputError) as caught:
            job_spec(claim(run=RUN, data=by_path(path)), configured)
        assert caught.value.error_code == "data_path_forbidden"


def test_what_is_gone_is_told(configured: Settings) -> None:
    with pytest.raises(InputError) as caught:
        job_spec(claim(run=RUN, data=by_path(configured.data_dir / "sets" / "gone")), configured)
    assert caught.value.error_code == "data_path_missing"
    with pytest.raises(InputError) as caught:
        job_spec(claim(run=Input(sha256="cd" * 32, file_name=None, path=None)), configured)
    assert caught.value.error_code == "artifact_missing"


def test_without_roots_no_path_is_taken(configured: Settings) -> None:
    rootless = Settings(data_dir=configured.data_dir)
    with pytest.raises(InputError) as caught:
        job_spec(claim(run=RUN, data=by_path(configured.data_dir / "sets" / "coco")), rootless)
    assert caught.value.error_code == "data_path_forbidden"
