"""The model is validated on the images in the data cache, which stay as long as an audit uses them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from runaudit.isolation.audit import run_audit
from runaudit.isolation.data_cache import DataCache
from runaudit.isolation.job import JobSpec, Progress
from tests.acceptance.inputs import run_copy, zipped


def test_validation_runs_on_the_cached_images_while_others_want_the_room(tmp_path: Path, data_yaml: Path) -> None:
    shutil.copytree(data_yaml.parent, tmp_path / "set")
    archive = zipped(tmp_path / "set", tmp_path / "data.zip")
    run, job = run_copy(tmp_path / "run"), tmp_path / "job"
    job.mkdir()
    # No entry fits: each is removed as soon as no audit uses it.
    cache, rival = DataCache(tmp_path / "cache", 1), DataCache(tmp_path / "cache", 1)
    crowded = []

    def on_progress(progress: Progress) -> None:
        if progress.stage == "validate":
            rival.shrink()
            rival.tidy()
            crowded.append(progress)

    spec = {
        "run": {"kind": "folder", "path": str(run)},
        "data": {
            "kind": "archive",
            "path": str(archive),
            "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        },
        "device": "cpu",
    }
    report = run_audit(
        JobSpec.model_validate(spec), job, on_progress=on_progress, should_stop=lambda: False, data_cache=cache
    )
    assert crowded and report.validation is not None and report.validation.reproduced
    assert not (job / "unpacked" / "data").exists()
    assert list((tmp_path / "cache" / "entries").iterdir()) == []
