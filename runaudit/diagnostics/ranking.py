"""The order of findings: severity, then the lower end of the mAP at stake, after explaining away."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from runaudit.causes import CAUSES, CauseId
from runaudit.diagnostics.evidence import CheckResult, Finding, Impact, Severity

SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "major", "minor")

EXPLAINS: Final[tuple[tuple[CauseId, CauseId], ...]] = (
    ("learning_rate", "numerical_divergence"),  # too high a rate makes NaN; NaN doesn't make a rate
    ("learning_rate", "insufficient_epochs"),  # more epochs don't mend a run that diverged
    ("numerical_divergence", "insufficient_epochs"),
    ("hardware_limits", "insufficient_epochs"),  # what crashed or was killed did not get its epochs
    ("learning_rate", "overfitting"),  # mAP also falls when training diverges
    ("numerical_divergence", "overfitting"),
    ("batch_size", "learning_rate"),  # batch norm over a few images makes the noise that a high rate makes
    ("distribution_shift", "overfitting"),  # images that differ are harder, without any overfitting
    ("annotation_errors", "overfitting"),  # so is validation whose labels are wrong
    ("class_mapping", "overfitting"),
    ("label_files", "overfitting"),
    ("image_format", "overfitting"),
    ("learning_rate", "underfitting"),  # what learns badly does badly on its training images, whatever its capacity
    ("batch_size", "underfitting"),
    ("insufficient_epochs", "underfitting"),
    ("weight_initialization", "underfitting"),
    ("underfitting", "insufficient_epochs"),  # its check weighed the projected gain: it would leave it unfit
    ("model_architecture", "underfitting"),  # an input too small to see the objects
    ("class_mapping", "underfitting"),
    ("annotation_errors", "underfitting"),  # a model that is right counts as wrong
    ("label_files", "underfitting"),
    ("underfitting", "confidence_threshold"),
    ("augmentation", "confidence_threshold"),  # what was taught to be both is shown as both, unsurely
    ("overfitting", "confidence_threshold"),
    ("learning_rate", "confidence_threshold"),  # what has learnt little is unsure of all it finds
    ("numerical_divergence", "confidence_threshold"),
    ("insufficient_epochs", "confidence_threshold"),
    ("insufficient_epochs", "annotation_errors"),  # what has only begun to learn contradicts right labels
    ("model_architecture", "annotation_errors"),  # so does what sees objects of a few pixels
    ("distribution_shift", "annotation_errors"),  # or in another light than it has learnt
    ("class_imbalance", "confidence_threshold"),  # of classes that it has hardly seen, too
    ("learning_rate", "class_imbalance"),  # all classes fail together, the rare ones first
    ("insufficient_epochs", "class_imbalance"),  # so they do in a run that was cut short
    ("checkpoint_integrity", "metric_mismatch"),  # an altered csv or another checkpoint is the mismatch
    ("numerical_divergence", "metric_mismatch"),  # a network with NaN in it reproduces nothing
    ("weight_initialization", "metric_mismatch"),  # nor does one whose layers died after it was measured
    ("weight_initialization", "underfitting"),  # which then fits no images, whatever its capacity
    ("numerical_divergence", "underfitting"),
    ("checkpoint_integrity", "underfitting"),  # nor does a checkpoint of another run, or of its first epochs
    ("weight_initialization", "confidence_threshold"),
    ("weight_initialization", "class_imbalance"),  # all classes fail together
    ("class_mapping", "label_files"),  # unknown ids are why images are dropped
    ("class_mapping", "metric_mismatch"),  # a model measured by other classes' labels doesn't reproduce its figures
    ("class_mapping", "class_imbalance"),
    ("class_mapping", "annotation_errors"),  # through permuted ids every label looks swapped
    ("label_files", "annotation_errors"),  # objects whose label files are lost, or whose rows are refused, have none
    ("annotation_errors", "metric_mismatch"),  # labels that changed since the run lower what is measured now
    ("label_files", "validation_set_too_small"),  # a split without labels is too small for no other reason
    ("distribution_shift", "metric_mismatch"),  # images that were changed since the run
    ("image_format", "metric_mismatch"),  # what a pass now can't see lowers what is measured now
    ("image_format", "distribution_shift"),  # images of one colour are darker, or greyer, than all others
    ("image_format", "underfitting"),  # nobody fits objects that can't be seen
    ("image_format", "validation_set_too_small"),  # nor is one whose images can't be decoded
    ("label_files", "metric_mismatch"),  # objects without labels count as false detections
    ("data_leakage", "metric_mismatch"),
    ("metric_mismatch", "overfitting"),  # measured on other data or by other settings than the run's
    ("metric_mismatch", "underfitting"),
    ("class_mapping", "confidence_threshold"),  # thresholds that suit wrong labels suit no others
    ("annotation_errors", "confidence_threshold"),
    ("label_files", "confidence_threshold"),
    ("distribution_shift", "confidence_threshold"),
    ("metric_mismatch", "confidence_threshold"),
)
"""(cause, symptom): where the cause failed, the symptom's finding is put down to it (design.md; diagnostics.md E1)."""

MASKS: Final[tuple[tuple[CauseId, CauseId], ...]] = (
    ("data_leakage", "overfitting"),  # the gap was measured on what is left of a split that leaks
)
"""(cause, other): where the cause failed, the other finding can be trusted only once it is mended"""

WEIGHED: Final[frozenset[CauseId]] = frozenset(
    ("distribution_shift", "annotation_errors", "class_mapping", "label_files", "image_format")
)
"""causes in the data, which explain a gap between training and validation only as far as they cost mAP themselves"""
LARGER_PART: Final = 0.5
NOT_BY_PROJECTION: Final[frozenset[CauseId]] = frozenset(("underfitting", "class_imbalance"))
"""what the gain that more epochs are projected to bring doesn't explain, though a measured lack of them does"""


def explain_away(results: list[CheckResult]) -> list[CheckResult]:
    """The results with each explained finding said to be so, and its explainer as grave as the gravest it explains.

    The cause of a critical symptom is critical: fixing it is what mends the run. An explainer without a measured impact
    takes over the symptom's, since it is the same loss seen twice. Only a check that failed explains; a warning is too
    weak. Applying it again changes nothing.
    """
    by_cause = {result.cause: result for result in results}
    for cause, symptom in EXPLAINS:
        explainer, explained = by_cause.get(cause), by_cause.get(symptom)
        if explainer is None or explained is None or explainer.outcome != "failed":
            continue
        if explainer.finding is None or explained.finding is None:
            continue
        if not _accounts_for(explainer, explained):
            continue
        by_cause[cause] = replace(explainer, finding=_inherit(explainer.finding, explained.finding))
        by_cause[symptom] = replace(explained, finding=_attribute(explained.finding, cause))
    return [by_cause[result.cause] for result in results]


def _accounts_for(explainer: CheckResult, explained: CheckResult) -> bool:  # noqa: PLR0911 - one answer a case
    """Whether the explainer is why the other was found, as far as what both measured can tell."""
    if explainer.finding is None or explained.finding is None:
        return True
    # What more epochs are projected to gain doesn't explain why the model fits not even its training images: where both
    # were found, the gain was weighed, and would leave it so. Nor does it say which classes would gain it.
    if explained.cause in NOT_BY_PROJECTION:
        return explainer.finding.basis == "measured"
    if explainer.cause == "underfitting" and explained.cause == "insufficient_epochs":
        return explained.finding.basis == "extrapolated"
    if explained.cause == "metric_mismatch" and explainer.cause in WEIGHED - {"class_mapping"}:
        return _changed_since(explainer.finding, explained.finding, shifted=explainer.cause == "distribution_shift")
    if (explainer.cause, explained.cause) == ("distribution_shift", "annotation_errors"):
        # A slight shift doesn't make a model contradict half of its labels.
        cost, labels = explainer.finding.impact.value, explained.finding.impact.value
        return cost is None or labels is None or cost >= labels
    if explained.cause == "overfitting" and explainer.cause in WEIGHED:
        return _larger_part(explainer.finding.impact, explained)
    return True


def _larger_part(cost: Impact, overfitting: CheckResult) -> bool:
    """Whether what a fault of the data costs is the larger part of the gap that overfitting shows.

    Labels that cost 2 points don't explain a gap of 50. Where one of them has no measured cost, nothing speaks against.
    """
    symptom = overfitting.finding.impact if overfitting.finding is not None else None
    if symptom is None or cost.value is None or symptom.value is None:
        return True
    if (cost.direction, cost.metric) != (symptom.direction, symptom.metric):
        return True
    return cost.value >= LARGER_PART * (overfitting.effect if overfitting.effect is not None else symptom.value)


def _changed_since(fault: Finding, mismatch: Finding, *, shifted: bool) -> bool:
    """Whether the data were changed after the run, and that is why less is measured now than the run reported.

    What the run itself validated on is in its figures. So a shift has to cost the larger part of what is lacking; so
    has a fault of labels or files where a setting was found that gives the reported figure by itself.
    """
    cost, lacking = fault.impact, mismatch.impact
    if cost.value is None or lacking.value is None:
        return not shifted
    larger = cost.value >= LARGER_PART * lacking.value
    if shifted:
        return larger and lacking.direction == "inflates"
    return larger or lacking.grade != "intervention"


def _inherit(explainer: Finding, explained: Finding) -> Finding:
    severity = min(explainer.severity, explained.severity, key=SEVERITIES.index)
    impact = explainer.impact
    # What more epochs of the same would bring isn't what the cause took away; nor is F1 that another threshold gains.
    same = (
        impact.direction == explained.impact.direction
        and explained.basis != "extrapolated"
        and explained.impact.metric != "f1"
    )
    if impact.value is None and explained.impact.value is not None and same:
        impact = explained.impact
    return replace(explainer, severity=severity, impact=impact)


def _attribute(explained: Finding, cause: CauseId) -> Finding:
    said = f"Explained by {cause}: mend that first."
    if said in explained.explanation:
        return explained
    return replace(explained, explanation=f"{explained.explanation} {said}")


def rank(results: list[CheckResult]) -> list[CheckResult]:
    """The results that have a finding, in the order of the report. Give it what `explain_away` returned.

    By severity, then by the lower end of the impact (its interval's, else its value; a finding without a value comes
    after those with one), then in the order of the causes. An explainer stands before what it explains, and what masks
    a finding before it.
    """
    found = sorted((result for result in results if result.finding is not None), key=_key)
    by_cause = {result.cause: result for result in found}
    ranked: list[CheckResult] = []
    begun: set[CauseId] = set()

    def place(result: CheckResult) -> None:
        if result.cause in begun:
            return
        begun.add(result.cause)
        # Those that explain an explainer come before it, too.
        for explainer in (by_cause[cause] for cause in by_cause if (cause, result.cause) in (*EXPLAINS, *MASKS)):
            if explainer.outcome == "failed" and _accounts_for(explainer, result):
                place(explainer)
        ranked.append(result)

    for result in found:
        place(result)
    return ranked


def _key(result: CheckResult) -> tuple[int, float, int]:
    finding = result.finding
    if finding is None:
        return len(SEVERITIES), 0.0, CAUSES.index(result.cause)
    impact = finding.impact
    lower = impact.ci95[0] if impact.ci95 is not None else impact.value
    return (
        SEVERITIES.index(finding.severity),
        -(lower if lower is not None else -1.0),
        CAUSES.index(result.cause),
    )
