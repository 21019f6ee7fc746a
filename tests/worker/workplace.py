"""Real workers and reapers on a real database and broker, for tests; all of them die with the test process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Engine

from runaudit_service.embedded.part import Part, stop
from runaudit_service.store.blobs import FolderBlobs


def curves_run(epochs: int = 12) -> bytes:
    """A zip of a run that left its curves only: the cheapest real audit."""
    columns = ["epoch", "train/box_loss", "train/cls_loss", "train/dfl_loss", "metrics/precision(B)"]
    columns += ["metrics/recall(B)", "metrics/mAP50(B)", "metrics/mAP50-95(B)"]
    columns += ["val/box_loss", "val/cls_loss", "val/dfl_loss", "lr/pg0"]
    lines = [",".join(columns)]
    for epoch in range(1, epochs + 1):
        loss, quality = 2.0 / epoch, 0.6 * epoch / epochs
        values = [loss, loss, loss, quality, quality, quality, quality / 2, loss, loss, loss, 0.01]
        lines.append(",".join([str(epoch), *(f"{value:.5f}" for value in values)]))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("exp/results.csv", "\n".join(lines) + "\n")
        archive.writestr(
            "exp/args.yaml", f"task: detect\nmode: train\nmodel: yolov8n.pt\nepochs: {epochs}\nimgsz: 640\n"
        )
    return packed.getvalue()


@dataclass
class Workplace:
    """A database, a broker and a data folder, in which workers and reapers are started as processes."""

    engine: Engine
    database_url: str
    broker_url: str
    data_dir: Path
    lease_seconds: float = 5
    grace_seconds: float = 10
    extra: dict[str, str] = field(default_factory=dict)

    def store(self, content: bytes) -> str:
        """Puts a blob where workers look for it; returns its digest."""
        digest = sha256(content).hexdigest()
        path = FolderBlobs(self.data_dir / "blobs").path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return digest

    @property
    def job_folders(self) -> list[Path]:
        """What is left in the folder of job folders."""
        work = self.data_dir / "work"
        return sorted(work.iterdir()) if work.exists() else []

    def log(self, name: str) -> str:
        """What a process has logged so far."""
        return (self.data_dir / f"{name}.log").read_text()

    @contextmanager
    def worker(self, name: str = "worker", *, concurrency: int = 1) -> Iterator[subprocess.Popen[bytes]]:
        """A worker process of the queues cpu and gpu."""
        arguments = ["-m", "runaudit_worker", "--queues", "cpu,gpu", "--concurrency", str(concurrency)]
        with self._process(name, arguments) as process:
            yield process

    @contextmanager
    def egress_worker(self, name: str = "egress") -> Iterator[subprocess.Popen[bytes]]:
        """A worker process of the queue egress."""
        with self._process(name, ["-m", "runaudit_worker", "--queues", "egress"]) as process:
            yield process

    @contextmanager
    def reaper(self, name: str = "reaper") -> Iterator[subprocess.Popen[bytes]]:
        """A reaper process."""
        with self._process(name, ["-m", "runaudit_worker.reaper"]) as process:
            yield process

    @contextmanager
    def _process(self, name: str, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        part = Part(
            name=name,
            command=[sys.executable, *arguments],
            log=self.data_dir / f"{name}.log",
            environment={
                **os.environ,
                "RUNAUDIT_DATABASE_URL": self.database_url,
                "RUNAUDIT_BROKER_URL": self.broker_url,
                "RUNAUDIT_DATA_DIR": str(self.data_dir),
                "RUNAUDIT_LEASE_SECONDS": str(self.lease_seconds),
                "RUNAUDIT_GRACE_SECONDS": str(self.grace_seconds),
                "PYTHONUNBUFFERED": "1",
                **self.extra,
            },
            stop_seconds=30,
        )
        process = part.start()
        try:
            yield process
        finally:
            stop(process, part)
