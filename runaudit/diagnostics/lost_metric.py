"""What a checkpoint lost since its run measured it: a gap that speaks for changed weights rather than other data."""

from __future__ import annotations

from dataclasses import dataclass

from runaudit.diagnostics.evidence import Evidence, Impact, Measurement
from runaudit.diagnostics.metric_mismatch import LIMITS, compared_row, reported_by
from runaudit.diagnostics.mismatch_settings import explained
from runaudit.evaluation.facts import Interval


@dataclass(frozen=True)
class Lost:
    """mAP50-95 as reported at `source` less as measured, in [0, 1], with its interval; `images` were measured."""

    reported: float
    measured: float
    ends: Interval
    images: int
    source: str

    @property
    def impact(self) -> Impact:
        return Impact("lowers", self.reported - self.measured, self.ends, "observational")

    @property
    def sentence(self) -> str:
        return (
            f"The run reported mAP50-95 {self.reported:.3f} of this checkpoint, and it now gives {self.measured:.3f}: "
            "it was measured before this happened to it."
        )

    @property
    def measurement(self) -> Measurement:
        value = round(self.reported - self.measured, 5)
        return Measurement(
            "mAP50-95 lost since it was reported", value, LIMITS.major, self.ends, self.images, self.source
        )


def lost_metric(evidence: Evidence) -> Lost | None:
    """What was lost beyond the interval, if it is 2 points or more; None where something else explains it.

    That is a setting which reproduces the figure, or training images on which the model still does as well as was
    reported: then validation's images or labels are what changed.
    """
    evaluation, training = evidence.evaluation, evidence.training
    reported = reported_by(evidence.run, compared_row(evidence.run))
    if evaluation is None or evaluation.split != "val" or reported is None or explained(evaluation) is not None:
        return None
    figure, interval = reported.metrics["map50_95"], evaluation.ci95.get("map50_95")
    if interval is None or figure - interval[1] < LIMITS.major:
        return None
    if training is not None and training.metrics.map50_95 > figure - LIMITS.major:
        return None
    ends = (figure - interval[1], figure - interval[0])
    return Lost(figure, evaluation.metrics.map50_95, ends, evaluation.images, reported.source)
