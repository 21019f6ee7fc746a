"""A data artifact is unpacked and read once; later audits take it from the cache, whole, or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from runaudit.errors import CancelledError, ChildError, InputError
from runaudit.isolation import data_cache
from runaudit.isolation.audit import run_audit
from runaudit.isolation.data_cache import DataCache, Place
from runaudit.isolation.job import JobSpec
from runaudit.reports.schema import Report
from tests.isolation.test_archive_shapes import BOX, write_data, write_run, zipped

LARGE = 2**30


class Bench:
    """A run, a data archive, and a cache; audits in job folders of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cache_dir = root / "cache"
        self.cache = DataCache(self.cache_dir, LARGE)
        self.run = zipped(write_run(root / "run"))
        self.data = zipped(write_data(root / "set"))
        self._jobs = 0

    def audit(
        self,
        *,
        run: Path | None = None,
        data: Path | None = None,
        cache: DataCache | None = None,
        digest: str = "",
        depth: str = "standard",
    ) -> Report:
        self._jobs += 1
        folder = self.root / f"job{self._jobs}"
        folder.mkdir()
        archive = data or self.data
        source = {"kind": "archive", "path": str(archive), "sha256": digest or digest_of(archive)}
        spec = {"run": {"kind": "archive", "path": str(run or self.run)}, "data": source, "depth": depth}
        return run_audit(
            JobSpec.model_validate(spec),
            folder,
            on_progress=lambda progress: None,
            should_stop=lambda: False,
            data_cache=cache or self.cache,
        )

    def entries(self) -> list[Path]:
        return sorted((self.cache_dir / "entries").iterdir())

    def left_in_the_making(self) -> list[Path]:
        return list((self.cache_dir / "making").iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def digest_of(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def seconds(report: Report) -> set[str]:
    return report.provenance.seconds.keys() & {"unpack_data", "read_data", "data_cache"}


def without_times(report: Report) -> dict[str, object]:
    body = report.model_dump(mode="json")
    body["provenance"]["seconds"] = {}
    return body


def test_the_second_audit_neither_unpacks_nor_reads_the_data(bench: Bench) -> None:
    first = bench.audit()
    assert seconds(first) == {"unpack_data", "read_data"}
    digest = digest_of(bench.data)
    bench.data.write_bytes(b"no archive any more")
    (entry,) = bench.entries()
    for label in (entry / "tree" / "labels" / "val").iterdir():
        label.chmod(0o600)
        label.write_text("no label any more")
    second = bench.audit(digest=digest)
    assert seconds(second) == {"data_cache"}
    assert without_times(second) == without_times(first)
    assert first.dataset is not None and first.dataset.splits["val"].instances == 2
    assert bench.left_in_the_making() == []


def test_a_report_is_the_same_without_a_cache(bench: Bench) -> None:
    folder = bench.root / "uncached"
    folder.mkdir()
    spec = {
        "run": {"kind": "archive", "path": str(bench.run)},
        "data": {"kind": "archive", "path": str(bench.data), "sha256": digest_of(bench.data)},
    }
    plain = run_audit(
        JobSpec.model_validate(spec), folder, on_progress=lambda progress: None, should_stop=lambda: False
    )
    assert without_times(plain) == without_times(bench.audit())


def test_another_run_that_names_another_data_yaml_gets_another_reading_of_the_same_tree(bench: Bench) -> None:
    folder = bench.root / "set"
    (folder / "small.yaml").write_text("val: images/val\nnames: [cat, dog]\n")
    two = zipped(folder)
    other = write_run(bench.root / "other")
    (other / "args.yaml").write_text("task: detect\nmodel: yolo11n.pt\ndata: C:\\sets\\small.yaml\nepochs: 4\n")
    assert seconds(bench.audit(data=two)) == {"unpack_data", "read_data"}
    report = bench.audit(data=two, run=zipped(other))
    assert seconds(report) == {"read_data"}
    assert report.dataset is not None and report.dataset.source == "small.yaml"
    assert seconds(bench.audit(data=two, run=zipped(other))) == {"data_cache"}
    (entry,) = bench.entries()
    assert len(list((entry / "readings").iterdir())) == 2


def test_a_single_cls_run_gets_another_reading_and_no_alarm_about_classes(bench: Bench) -> None:
    folder = bench.root / "set"
    for number, label in enumerate(sorted((folder / "labels" / "train").iterdir())):
        label.write_text(f"{number + 1} {BOX}\n")
    data = zipped(folder)
    plain = bench.audit(data=data)
    single = write_run(bench.root / "single")
    (single / "args.yaml").write_text("task: detect\nmodel: yolo11n.pt\nepochs: 4\nsingle_cls: true\n")
    report = bench.audit(data=data, run=zipped(single))
    assert seconds(report) == {"read_data"}
    outcomes = {check.cause: check.outcome for check in report.checks}
    assert outcomes["class_mapping"] == "passed"
    assert outcomes["class_imbalance"] in {"passed", "not_run"}
    assert outcomes["label_files"] == "passed"
    assert report.dataset is not None and report.dataset.splits["train"].class_instances == {"item": 3}
    before = {check.cause: check.outcome for check in plain.checks}
    assert before["class_mapping"] in {"failed", "warned"}


def test_a_name_that_no_yaml_of_the_data_has_makes_no_reading_of_its_own(bench: Bench) -> None:
    bench.audit()
    other = write_run(bench.root / "other")
    (other / "args.yaml").write_text("task: detect\nmodel: yolo11n.pt\ndata: /home/me/mine.yaml\nepochs: 4\n")
    last = write_run(bench.root / "last")
    (last / "args.yaml").write_text("task: detect\nmodel: yolo11n.pt\ndata: /home/me/yours.yaml\nepochs: 4\n")
    assert seconds(bench.audit(run=zipped(other))) == {"read_data"}
    assert seconds(bench.audit(run=zipped(last))) == {"data_cache"}


def test_audits_at_the_same_time_read_the_data_once(bench: Bench) -> None:
    reports: list[Report] = []
    jobs = [threading.Thread(target=lambda: reports.append(bench.audit())) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert len(reports) == 3
    assert len({str(without_times(report)) for report in reports}) == 1
    assert sorted("unpack_data" in report.provenance.seconds for report in reports) == [False, False, True]
    assert len(bench.entries()) == 1 and bench.left_in_the_making() == []
    readings = list((bench.entries()[0] / "readings").iterdir())
    assert len(readings) == 1


def test_what_can_not_be_read_leaves_nothing(bench: Bench) -> None:
    hostile = bench.root / "hostile.zip"
    with zipfile.ZipFile(hostile, "w") as archive:
        archive.writestr("data.yaml", "train: images\nnames: [a]\n")
        archive.writestr("../../../entries/escaped.txt", f"0 {BOX}\n")
    with pytest.raises(InputError) as caught:
        bench.audit(data=hostile)
    assert caught.value.error_code == "archive_path"
    assert bench.entries() == [] and bench.left_in_the_making() == []
    assert seconds(bench.audit()) == {"unpack_data", "read_data"}


def test_the_tree_is_read_only_and_the_walls_are_up(bench: Bench) -> None:
    report = bench.audit()
    (entry,) = bench.entries()
    modes = {path.stat().st_mode & 0o222 for path in (entry / "tree").rglob("*")}
    assert modes == {0}
    assert report.provenance.isolation["writes"] == "confined"


def made_entry(folder: Path, size: int = 1000) -> Path:
    """What a data child would leave."""
    made = folder / "made"
    (made / "tree").mkdir(parents=True)
    (made / "tree" / "a.yaml").write_bytes(bytes(size))
    (made / "readings" / "r").mkdir(parents=True)
    (made / "readings" / "r" / "reading.json").write_text("{}")
    return made


def fill(cache: DataCache, digest: str, size: int = 1000) -> Place:
    with cache.use(digest) as place, cache.making(place, lambda: False) as folder:
        cache.take_in(place, made_entry(folder, size))
    return place


@pytest.mark.parametrize("where", ["tree/link", "readings/r/link", "tree"])
def test_links_that_a_child_left_are_refused(tmp_path: Path, where: str) -> None:
    cache = DataCache(tmp_path / "cache", LARGE)
    with cache.use("a" * 64) as place, cache.making(place, lambda: False) as folder:
        made = made_entry(folder)
        if where == "tree":
            shutil.rmtree(made / "tree")
        (made / where).symlink_to("/etc")
        with pytest.raises(ChildError) as caught:
            cache.take_in(place, made)
        assert caught.value.error_code == "child_output_invalid"
        assert not place.folder.exists()
    assert Path("/etc/passwd").exists()


def test_hard_links_and_pipes_that_a_child_left_are_refused(tmp_path: Path) -> None:
    cache = DataCache(tmp_path / "cache", LARGE)
    secret = tmp_path / "secret"
    secret.write_text("mine")
    makers: tuple[Callable[[Path], None], ...] = (lambda path: os.link(secret, path), os.mkfifo)
    for make in makers:
        with cache.use("a" * 64) as place, cache.making(place, lambda: False) as folder:
            made = made_entry(folder)
            make(made / "tree" / "odd")
            with pytest.raises(ChildError):
                cache.take_in(place, made)
    assert secret.read_text() == "mine"


def test_the_entries_not_used_for_longest_are_removed(tmp_path: Path) -> None:
    cache = DataCache(tmp_path / "cache", 2500)
    places = {digest: fill(cache, digest * 64) for digest in "ab"}
    for age, digest in enumerate("ba"):
        os.utime(cache._lock(places[digest].folder.name), (age, age))
    places["c"] = fill(cache, "c" * 64)
    assert [digest for digest, place in places.items() if place.folder.exists()] == ["a", "c"]


def test_an_entry_in_use_is_kept_until_it_is_not(tmp_path: Path) -> None:
    cache = DataCache(tmp_path / "cache", 500)
    with cache.use("a" * 64) as place:
        with cache.making(place, lambda: False) as folder:
            cache.take_in(place, made_entry(folder))
        with DataCache(tmp_path / "cache", 500).use("a" * 64) as same:
            assert same.entry() is not None
        fill(cache, "b" * 64)
        assert place.entry() is not None
    assert not place.folder.exists()


def test_half_an_entry_is_not_taken_for_one(bench: Bench) -> None:
    bench.audit()
    (entry,) = bench.entries()
    (entry / "entry.json").unlink()
    assert seconds(bench.audit()) == {"unpack_data", "read_data"}
    (entry / "entry.json").write_text("{")
    assert seconds(bench.audit()) == {"unpack_data", "read_data"}


def test_a_folder_that_moved_is_read_anew(bench: Bench) -> None:
    bench.audit()
    bench.cache_dir.rename(bench.root / "moved")
    moved = DataCache(bench.root / "moved", LARGE)
    assert seconds(bench.audit(cache=moved)) == {"unpack_data", "read_data"}
    assert seconds(bench.audit(cache=moved)) == {"data_cache"}


def test_what_an_older_reader_read_is_read_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.audit()
    monkeypatch.setattr(data_cache, "reader_version", lambda: "0123456789abcdef")
    assert seconds(bench.audit()) == {"unpack_data", "read_data"}
    assert len(bench.entries()) == 2


def test_what_killed_processes_left_is_tidied_and_what_lives_is_not(tmp_path: Path) -> None:
    cache = DataCache(tmp_path / "cache", LARGE)
    fill(cache, "a" * 64)
    orphan = tmp_path / "cache" / "making" / f"{'b' * 64}-0123-{'0' * 32}"
    (orphan / "tree").mkdir(parents=True)
    (orphan / "tree" / "file").touch()
    (orphan / "tree").chmod(0o500)
    with cache.use("c" * 64) as place, cache.making(place, lambda: False) as folder:
        cache.tidy()
        assert folder.exists() and not orphan.exists()


def test_who_waits_for_another_s_reading_can_be_cancelled(tmp_path: Path) -> None:
    cache, other = DataCache(tmp_path / "cache", LARGE), DataCache(tmp_path / "cache", LARGE)
    with cache.use("a" * 64) as place, cache.making(place, lambda: False), other.use("a" * 64) as same:
        waiting = other.making(same, lambda: True)
        with pytest.raises(CancelledError):
            waiting.__enter__()


def test_what_is_no_digest_is_no_key(tmp_path: Path) -> None:
    cache = DataCache(tmp_path / "cache", LARGE)
    for digest in ("../../etc", "a" * 63, "A" * 64, ""):
        with pytest.raises(ValueError, match="no SHA-256"), cache.use(digest):
            raise AssertionError(digest)


FULL_DISK = """
import resource, sys
from pathlib import Path
from runaudit.errors import ChildError
from runaudit.isolation.audit import run_audit
from runaudit.isolation.data_cache import DataCache
from runaudit.isolation.job import JobSpec
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    run_audit(JobSpec.model_validate_json(sys.argv[1]), Path(sys.argv[2]), on_progress=lambda progress: None,
              should_stop=lambda: False, data_cache=DataCache(Path(sys.argv[3]), 2**40))
except ChildError as error:
    print(error.error_code)
"""


def test_a_full_disk_costs_the_cache_what_no_audit_uses(bench: Bench) -> None:
    """The kernel refuses to write more, as on a full disk: here by the largest size of a file."""
    bench.audit()
    (bench.root / "set" / "images" / "train" / "large.bin").write_bytes(os.urandom(2**21))
    data = zipped(bench.root / "set")
    source = {"kind": "archive", "path": str(data), "sha256": digest_of(data)}
    spec = JobSpec.model_validate({"run": {"kind": "archive", "path": str(bench.run)}, "data": source})
    job = bench.root / "job"
    job.mkdir()
    assert len(bench.entries()) == 1
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, spec.model_dump_json(), str(job), str(bench.cache_dir)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "disk_full"
    assert bench.entries() == [] and bench.left_in_the_making() == []


def test_a_cache_that_can_not_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(OSError):
        DataCache(tmp_path / "cache", LARGE).tidy()


def test_a_deep_audit_decodes_what_a_standard_one_only_reads(bench: Bench) -> None:
    folder = bench.root / "set"
    noise = Image.effect_noise((64, 64), 80)
    noise.save(folder / "images" / "train" / "0.png")
    noise.save(folder / "images" / "train" / "sound.jpg")
    sound = (folder / "images" / "train" / "sound.jpg").read_bytes()
    (folder / "images" / "train" / "zeros.jpg").write_bytes(sound[:900] + bytes(600) + sound[1500:])
    (folder / "images" / "val" / "cut.jpg").write_bytes(sound[:-200])
    data = zipped(folder)
    standard, deep = bench.audit(data=data), bench.audit(data=data, depth="deep")
    assert seconds(deep) == {"read_data"}
    finding = {name: image_format(report) for name, report in (("standard", standard), ("deep", deep))}
    assert "1 of 3 val images are damaged" in finding["standard"]
    assert "train images are damaged" not in finding["standard"]
    assert "1 of 3 val images are damaged" in finding["deep"]
    assert "1 of 5 train images are damaged" in finding["deep"]


def image_format(report: Report) -> str:
    """Title and explanation of the finding of that cause."""
    finding = next(finding for finding in report.findings if finding.cause == "image_format")
    return f"{finding.title} {finding.explanation}"
