"""A worker reads a data artifact once, also for another run, and another worker process takes it from the cache."""

from __future__ import annotations

from pathlib import Path

from runaudit_service.store.bell import Bell
from runaudit_service.store.blobs import FolderBlobs
from tests.conftest import wait_until
from tests.isolation.test_archive_shapes import write_data, zipped
from tests.worker.rows import audit_of, reports_of, submit
from tests.worker.workplace import Workplace, curves_run


def data_seconds(workplace: Workplace, run: str, data: str) -> set[str]:
    submitted = submit(workplace.engine, run_sha256=run, data_sha256=data, depth="standard")
    assert Bell(workplace.broker_url).ring("cpu")
    wait_until(lambda: audit_of(workplace.engine, submitted).ended_at is not None)
    (report,) = reports_of(workplace.engine, submitted)
    assert report["dataset"]["splits"]["train"]["images"] == 3
    return report["provenance"]["seconds"].keys() & {"unpack_data", "read_data", "data_cache"}


def test_data_seen_before_are_not_read_again(workplace: Workplace, tmp_path: Path) -> None:
    data = workplace.store(zipped(write_data(tmp_path / "set")).read_bytes())
    first, second = workplace.store(curves_run()), workplace.store(curves_run(20))
    with workplace.worker():
        assert data_seconds(workplace, first, data) == {"unpack_data", "read_data"}
        assert data_seconds(workplace, second, data) == {"data_cache"}
    with workplace.worker("next"):
        assert data_seconds(workplace, second, data) == {"data_cache"}
    assert workplace.job_folders == []
    assert [entry.name[:64] for entry in (tmp_path / "cache" / "entries").iterdir()] == [data]


def test_what_was_made_of_a_deleted_artifact_goes_with_the_next_audit(workplace: Workplace, tmp_path: Path) -> None:
    data, run = workplace.store(zipped(write_data(tmp_path / "set")).read_bytes()), workplace.store(curves_run())
    with workplace.worker():
        data_seconds(workplace, run, data)
        assert FolderBlobs(tmp_path / "blobs").remove(data)
        submitted = submit(workplace.engine, run_sha256=run)
        assert Bell(workplace.broker_url).ring("cpu")
        wait_until(lambda: audit_of(workplace.engine, submitted).ended_at is not None)
        wait_until(lambda: not list((tmp_path / "cache" / "entries").iterdir()))
    assert list((tmp_path / "cache" / "locks").iterdir()) == []


def test_without_a_cache_data_are_read_for_each_audit(workplace: Workplace, tmp_path: Path) -> None:
    workplace.extra = {"RUNAUDIT_DATA_CACHE_BYTES": "0"}
    data, run = workplace.store(zipped(write_data(tmp_path / "set")).read_bytes()), workplace.store(curves_run())
    with workplace.worker():
        assert data_seconds(workplace, run, data) == {"unpack_data", "read_data"}
        assert data_seconds(workplace, run, data) == {"unpack_data", "read_data"}
    assert not (tmp_path / "cache").exists()
