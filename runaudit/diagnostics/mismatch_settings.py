"""What the settings that were tried say of a gap between reported and re-validated mAP, in words and as a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.evidence import Measurement, Remedy
from runaudit.evaluation.facts import EvaluationFacts, ReconciliationFacts, Trial
from runaudit.runs.facts import RunFacts

_NEAREST: Final = 3
"""trials that are cited where none explains the gap"""

_SENTENCES: Final = {
    "row": "The figures are those of {value}, not of the epoch that this checkpoint was saved in.",
    "average_precision": "With the AP and matching of the run's own version the figures are reproduced: nothing is "
    "wrong with them, but they can't be compared with those of a newer version.",
    "conf": "The figures are those of a validation that drops detections below confidence {value}, which cuts the "
    "precision-recall curve short.",
    "single_cls": "The figures are those of a validation that takes all classes for one: boxes count as right whatever "
    "class they were given.",
    "names": "The figures are reached when the model's class ids are mapped to the labels' ({value}): the names stood "
    "in another order when they were measured. See class_mapping.",
    "iou": "The figures are those of a validation whose NMS threshold is {value}.",
    "max_det": "The figures are those of a validation that keeps {value} detections an image, fewer than there are "
    "labels in the fullest image.",
    "head": "The figures are those of the head that needs no NMS ({value}), by which ultralytics 8.4.0 validated; the "
    "installed version validates with the other head.",
    "half": "The figures are those of a validation in half precision.",
    "batch": "The figures are those of a validation with batches of {value}, as training does it: images are padded "
    "otherwise.",
    "rect": "The figures are those of a validation on square images (rect=False).",
    "imgsz": "The figures are those of a validation at imgsz {value}.",
    "split": "The figures are those of the split `{value}`, not of the validation images.",
}
BENIGN: Final = frozenset({"average_precision", "batch", "rect", "half"})
"""settings by which a framework itself differs from its own standalone validation (yolo.md A6, A7)"""


@dataclass(frozen=True)
class Explained:
    """A setting that reproduces the reported figures."""

    trial: Trial
    sentence: str

    @property
    def benign(self) -> bool:
        """Whether the framework makes the difference by itself, and the user did nothing wrong."""
        return self.trial.name in BENIGN


def explained(evaluation: EvaluationFacts) -> Explained | None:
    """The cheapest setting that reproduces what was reported, if one was found."""
    found = evaluation.reconciliation
    trial = next((trial for trial in found.trials if trial.explains), None) if found is not None else None
    if trial is None:
        return None
    value = next(iter(trial.setting.values()), "")
    return Explained(trial, _SENTENCES[trial.name].format(value=value))


def cut_short(run: RunFacts, *, reported_is_lower: bool) -> str | None:
    """A sentence if the log says that a validation of the training ran into the time limit of NMS."""
    events = run.log.events if run.log is not None else ()
    hit = next((event for event in events if event.code == "nms_time_limit"), None)
    if hit is None or not reported_is_lower:
        return None
    return (
        f"The log says that NMS ran out of time ({hit.place or hit.detail}): the images left in such a batch get no "
        "detections, which lowers the reported figure on a slow machine."
    )


def tried_sentence(found: ReconciliationFacts | None) -> str:
    """Which settings were tried without success."""
    if found is None:
        return "No other settings were tried."
    names = list(dict.fromkeys(trial.name for trial in found.trials))
    if not names:
        return "There was no other setting to try."
    return f"None of the settings that were tried gives the reported figures ({', '.join(names)})."


def trial_measurements(found: ReconciliationFacts | None) -> list[Measurement]:
    """The trials that explain the gap or, where none does, those that came nearest."""
    if found is None:
        return []
    explaining = [trial for trial in found.trials if trial.explains]
    nearest = sorted(found.trials, key=lambda trial: abs(trial.map50_95 - found.reported_map50_95))
    return [shown for trial in explaining or nearest[:_NEAREST] for shown in _measurements(trial)]


def _measurements(trial: Trial) -> list[Measurement]:
    """Both figures of a trial: mAP50-95 alone may agree where mAP50 does not."""
    setting = ", ".join(f"{key}={value}" for key, value in trial.setting.items())
    estimated = ", estimated from a sample" if trial.sampled else ""
    figures = {"mAP50-95": trial.map50_95, "mAP50": trial.map50}
    return [
        Measurement(f"{name} with {setting}{estimated}", round(value, 5), n=trial.images)
        for name, value in figures.items()
        if value is not None
    ]


def remedy(run: RunFacts, cause: Explained | None) -> Remedy:
    """What to do about the gap."""
    imgsz = run.argument("imgsz")
    patch = {"imgsz": imgsz} if isinstance(imgsz, int) and not isinstance(imgsz, bool) else {}
    if cause is None:
        return Remedy(
            "Validate this checkpoint again on the data that the figures were reported of",
            "No setting explains the gap, so other images or labels, or another checkpoint, are likelier: compare "
            "`checkpoint` and `dataset` under provenance.artifacts of this report with those of an audit of what the "
            "figures were reported of.",
            patch,
        )
    titles = {
        "row": "Report the row of the epoch that best.pt was saved in",
        "average_precision": "Compare figures of one version only",
        "conf": "Report mAP at conf=0.001, the default of validating",
        "single_cls": "Validate with the classes told apart (single_cls=False)",
        "names": "Put the names of data.yaml into the order that the checkpoint was trained with",
        "split": "Report the validation split, and keep the other for what it is meant for",
        "head": "Say which head a figure was measured with, and validate with the one that is deployed",
        "imgsz": "Validate at the imgsz that is deployed",
    }
    title = titles.get(cause.trial.name, "State the settings beside the figure")
    code = "yolo val model=best.pt data=data.yaml split=val conf=0.001 iou=0.7"
    if patch:
        code += f" imgsz={patch['imgsz']}"
    return Remedy(title, cause.sentence, patch if cause.trial.name == "imgsz" else {}, code, "yolo.md A7")
