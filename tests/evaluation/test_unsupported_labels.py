"""Boxes drawn where there is no object, among labels of other sizes; objects that the model has reason to miss."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from runaudit.diagnostics.label_issues import limit_of
from runaudit.evaluation.label_quality import LabelQuality, label_quality
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.protocol import ULTRALYTICS
from runaudit.evaluation.relabelling import relabelled
from tests.evaluation.planted_labels import SIDE, World, simulated, square_sizes


def invented(matches: Matches, share: float, least: float, most: float) -> tuple[Matches, NDArray[np.bool_]]:
    """With boxes of `least` to `most` pixels at random places, `share` of the labels many; and which they are."""
    generator = np.random.default_rng(7)
    count = round(share * len(matches.gt_cls))
    side = generator.uniform(least, most, (count, 2))
    corner = generator.uniform(0, SIDE - side)
    image = np.r_[matches.gt_image, generator.integers(0, len(matches.image), count)]
    order = np.argsort(image, kind="stable")
    changed = relabelled(
        matches,
        ULTRALYTICS,
        gt_image=image,
        gt_cls=np.r_[matches.gt_cls, generator.integers(0, 4, count)],
        gt_box=np.vstack([matches.gt_box, np.hstack([corner, corner + side])]),
    )
    return changed, (np.arange(len(image)) >= len(matches.gt_cls))[order]


def without(matches: Matches, gone: NDArray[np.bool_]) -> Matches:
    """Without the detections that are `gone`."""
    return relabelled(matches.taking(detections=~gone, labels=np.arange(len(matches.gt_cls))), ULTRALYTICS)


def alarmed(quality: LabelQuality) -> bool:
    rate = quality.rates["spurious"]
    return rate.ci95 is not None and rate.ci95[0] > limit_of("spurious")


@pytest.mark.parametrize("share", [0.1, 0.3])
@pytest.mark.parametrize("sizes", [(50, 75), (60, 80), (90, 120)])
def test_invented_boxes_are_counted_whatever_their_size(share: float, sizes: tuple[int, int]) -> None:
    matches, wrong = invented(simulated(World()), share, *sizes)
    quality = label_quality(matches, square_sizes(matches))
    rate = quality.rates["spurious"]
    assert rate.rate is not None and rate.ci95 is not None
    assert rate.rate == pytest.approx(wrong.mean(), abs=0.03 + 0.3 * wrong.mean())
    assert alarmed(quality)
    suspects = quality.suspects
    probable = suspects.label[suspects.of("spurious") & (suspects.score >= 0.5)]
    assert wrong[probable].mean() > 0.9
    assert len(probable) > 0.25 * wrong.sum()


@pytest.mark.parametrize("seed", range(3))
def test_images_that_the_model_sees_nothing_of_are_its_own_fault(seed: int) -> None:
    matches = simulated(World(seed=seed))
    dark = np.random.default_rng(seed).uniform(size=len(matches.image)) < 0.3
    assert not alarmed(label_quality(without(matches, dark[matches.det_image]), square_sizes(matches)))


@pytest.mark.parametrize("seed", range(3))
def test_a_class_that_the_model_never_learnt_is_its_own_fault(seed: int) -> None:
    matches = simulated(World(seed=seed))
    # Objects of class 3 without any detection: what was detected there is gone, of whatever class.
    centre = (matches.det_box[:, :2] + matches.det_box[:, 2:]) / 2
    gone = np.zeros(len(matches.det_cls), bool)
    for row in np.flatnonzero(matches.gt_cls == 3):
        box, here = matches.gt_box[row], matches.det_image == matches.gt_image[row]
        gone |= here & (centre > box[:2]).all(axis=1) & (centre < box[2:]).all(axis=1)
    # But for what finds an object of another class that stands in it.
    gone &= ~(matches.tp[:, 0] & (matches.det_cls != 3))
    assert not alarmed(label_quality(without(matches, gone), square_sizes(matches)))


@pytest.mark.parametrize("small", [0.1, 0.3, 0.5])
def test_objects_too_small_to_see_are_the_model_s_own_fault(small: float) -> None:
    matches = simulated(World(small=small, seed=5))
    assert not alarmed(label_quality(matches, square_sizes(matches)))
