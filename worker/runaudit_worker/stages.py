"""How long each stage of an audit took, read off the progress that its children report."""

from __future__ import annotations

import time

from runaudit.isolation.job import Progress
from runaudit.isolation.supervisor import OnProgress
from runaudit_service.store.tracing import tracing
from runaudit_worker.metrics import STAGES


class StageClock:
    """Takes progress, hands it on, and counts a stage when the next one begins or the audit ends (`stop`)."""

    def __init__(self, report: OnProgress) -> None:
        self._report = report
        self._stage: str | None = None
        self._begun = 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.stage != self._stage:
            self.stop()
            self._stage, self._begun = progress.stage, time.time()
        self._report(progress)

    def stop(self) -> None:
        """The stage that runs is over."""
        if self._stage is not None:
            ended = time.time()
            STAGES.labels(self._stage).observe(max(ended - self._begun, 0.0))
            tracing.past(self._stage, begun=self._begun, ended=ended)
        self._stage = None
