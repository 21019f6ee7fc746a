"""A shift counts by what it costs; chance, small samples and harmless differences don't make a grave finding."""

from __future__ import annotations

import pytest

from runaudit.diagnostics.distribution_shift import CHECK, SAID
from runaudit.diagnostics.evidence import CheckResult, Evidence
from runaudit.diagnostics.shift_remedies import TRANSFORMS
from runaudit.evaluation.facts import InterventionFacts, ShiftFacts
from tests.diagnostics.cases import run
from tests.diagnostics.comparisons import change, property_shift, shift

DARKER = shift(property_shift("brightness", 0.7), property_shift("noise", 0.3), area=0.97)


def judged(facts: ShiftFacts | None, *changes: InterventionFacts) -> CheckResult:
    return CHECK.examine(Evidence(run=run(), shift=facts, interventions=changes))


def test_equal_splits_pass() -> None:
    assert judged(shift()).outcome == "passed"


@pytest.mark.parametrize(
    "facts",
    [
        shift(property_shift("brightness", 0.25, p_value=0.2)),
        shift(property_shift("brightness", 0.15)),
        shift(area=0.62),
    ],
    ids=["by chance", "by little", "for a classifier that chance helps"],
)
def test_what_may_be_chance_passes(facts: ShiftFacts) -> None:
    assert judged(facts).outcome == "passed"


def test_few_images_tell_nothing() -> None:
    assert judged(shift(property_shift("brightness", 0.9), images=30)).outcome == "inconclusive"


def test_a_shift_that_costs_is_major_and_says_how() -> None:
    result = judged(DARKER, change("match_photometry", 0.5, 0.56, 0.02))
    assert result.outcome == "failed"
    assert result.finding is not None
    assert result.finding.title == "Validation images are darker and less noisy than training images"
    assert result.finding.impact.value == pytest.approx(0.06)
    assert result.finding.impact.ci95 == pytest.approx((0.04, 0.08))


def test_training_images_that_lose_count_too() -> None:
    result = judged(DARKER, change("training_images_like_validation", 0.7, 0.6, 0.03))
    assert result.finding is not None
    assert (result.finding.severity, result.finding.impact.value) == ("major", pytest.approx(0.1))
    assert result.finding.impact.ci95 == pytest.approx((0.07, 0.13))


@pytest.mark.parametrize("after", [0.51, 0.53])
def test_a_shift_that_does_not_surely_cost_is_minor(after: float) -> None:
    assert judged(DARKER, change("match_photometry", 0.5, after, 0.04)).outcome == "warned"


def test_a_shift_of_unknown_cost_is_minor_and_has_no_impact() -> None:
    result = judged(shift(area=0.8))
    assert result.outcome == "warned"
    assert result.finding is not None
    assert result.finding.impact.value is None


def test_every_property_has_words_and_remedies_compile() -> None:
    assert set(TRANSFORMS) <= set(SAID)
    for upward in (False, True):
        shifted = (property_shift(name, 0.5, upward=upward) for name in TRANSFORMS)
        result = judged(shift(*shifted, area=0.9))
        assert result.finding is not None
        code = result.finding.remedies[0].code
        assert code is not None
        compile(code, "remedy", "exec")
        assert result.finding.remedies[1].patch.keys() == {"hsv_h", "hsv_s", "hsv_v", "scale"}


@pytest.mark.parametrize(
    ("name", "upward", "transform"),
    [
        ("sharpness", False, "GaussianBlur"),
        ("sharpness", True, "Sharpen"),
        ("noise", True, "GaussNoise"),
        ("noise", False, None),
    ],
)
def test_augmentation_goes_the_way_that_validation_went(name: str, upward: bool, transform: str | None) -> None:
    finding = judged(shift(property_shift(name, 0.5, upward=upward), area=0.9)).finding
    assert finding is not None
    code = finding.remedies[0].code
    assert (code is None) if transform is None else (code is not None and transform in code)
