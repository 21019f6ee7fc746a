"""The weighted bootstrap against one that really copies the images, and its properties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runaudit.evaluation.average_precision import detection_metrics
from runaudit.evaluation.bootstrap import (
    FEW_IMAGES,
    bootstrap,
    difference_interval,
    interval,
    metric_interval,
    unit_draws,
)
from runaudit.evaluation.distinct_images import distinct_by_class, distinct_images
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.protocol import ULTRALYTICS, YOLOV5, AveragePrecision
from runaudit.evaluation.selection import grouped_like, matches_part
from runaudit.proportions import wilson_of_share


def random_matches(seed: int, images: int, per_image: int, labels: int, classes: int) -> Matches:
    """Matches as a detector of middling quality would give them; confidences without ties."""
    rng = np.random.default_rng(seed)
    det_image = np.repeat(np.arange(images, dtype=np.int32), per_image)
    gt_image = np.sort(rng.integers(0, images, labels)).astype(np.int32)
    gt_cls = rng.integers(0, classes, labels).astype(np.int32)
    det_cls = rng.integers(0, classes, len(det_image)).astype(np.int32)
    quality = np.full(len(det_image), 0.0)
    for image, class_id in zip(*np.unique(np.stack([gt_image, gt_cls]), axis=1), strict=True):
        room = int(((gt_image == image) & (gt_cls == class_id)).sum())
        mine = np.flatnonzero((det_image == image) & (det_cls == class_id))[:room]
        quality[mine] = rng.uniform(0.4, 1.0, len(mine))
    ranking = np.argsort(np.argsort(rng.uniform(size=len(det_image)) + quality))
    return Matches(
        image=np.arange(images, dtype=np.int32),
        det_image=det_image,
        det_cls=det_cls,
        det_conf=((ranking + 1) / (len(det_image) + 1)).astype(np.float32),
        det_box=np.zeros((len(det_image), 4), np.float32),
        tp=np.linspace(0.5, 0.95, 10) <= quality[:, None],
        gt_image=gt_image,
        gt_cls=gt_cls,
        gt_box=np.zeros((labels, 4), np.float32),
    )


def copied(matches: Matches, draw: np.ndarray, kind: AveragePrecision) -> tuple[float, float, dict[int, float]]:
    """mAP50, mAP50-95 and the latter by class with the drawn images copied out, one after the other."""
    det = np.concatenate([np.flatnonzero(matches.det_image == image) for image in draw])
    gt = np.concatenate([np.flatnonzero(matches.gt_image == image) for image in draw])
    if not len(gt):
        return np.nan, np.nan, {}
    metrics = detection_metrics(
        matches.tp[det], matches.det_conf[det], matches.det_cls[det], matches.gt_cls[gt], kind=kind
    )
    by_class = dict(zip(metrics.classes.tolist(), metrics.average_precision.mean(axis=1).tolist(), strict=True))
    return metrics.map50, metrics.map50_95, by_class


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    images=st.integers(1, 25),
    per_image=st.integers(0, 12),
    labels=st.integers(1, 60),
    classes=st.integers(1, 5),
    kind=st.sampled_from([ULTRALYTICS.average_precision, YOLOV5.average_precision]),
)
def test_equal_to_copying_the_images(
    seed: int, images: int, per_image: int, labels: int, classes: int, kind: AveragePrecision
) -> None:
    matches = random_matches(seed, images, per_image, labels, classes)
    ours = bootstrap(matches, replicates=7, seed=seed, kind=kind)
    for replicate, draw in enumerate(unit_draws(images, 7, seed)):
        map50, map50_95, by_class = copied(matches, draw, kind)
        assert ours.map50[replicate] == pytest.approx(map50, abs=1e-9, nan_ok=True)
        assert ours.map50_95[replicate] == pytest.approx(map50_95, abs=1e-9, nan_ok=True)
        for column, class_id in enumerate(ours.classes.tolist()):
            expected = by_class.get(class_id, np.nan)
            assert ours.class_map50_95[replicate, column] == pytest.approx(expected, abs=1e-9, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), images=st.integers(1, 25), groups=st.integers(1, 8))
def test_images_of_one_group_are_drawn_together(seed: int, images: int, groups: int) -> None:
    matches = random_matches(seed, images, per_image=6, labels=2 * images, classes=2)
    group = np.unique(np.random.default_rng(seed).integers(0, groups, images), return_inverse=True)[1].astype(np.int32)
    ours = bootstrap(replace(matches, group=group), replicates=7, seed=seed)
    for replicate, draw in enumerate(unit_draws(int(group.max()) + 1, 7, seed)):
        together = np.concatenate([np.flatnonzero(group == drawn) for drawn in draw])
        _, map50_95, _ = copied(matches, together, ULTRALYTICS.average_precision)
        assert ours.map50_95[replicate] == pytest.approx(map50_95, abs=1e-9, nan_ok=True)
    assert ours.distinct <= int(group.max()) + 1


def test_the_groups_of_some_images_are_theirs() -> None:
    matches = replace(random_matches(7, 6, 3, 12, 1), group=np.array([0, 0, 1, 2, 2, 3], np.int32))
    kept = np.array([True, False, False, True, True, True])
    part = matches_part(matches, kept)
    assert part.unit.tolist() == [0, 1, 1, 2]
    assert grouped_like(replace(part, group=None), matches).unit.tolist() == [0, 1, 1, 2]
    other_order = replace(part, group=None, image=part.image[::-1].copy())
    assert grouped_like(other_order, matches).unit.tolist() == [2, 1, 1, 0]


def test_more_replicates_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    matches = random_matches(1, images=30, per_image=10, labels=90, classes=3)
    whole = bootstrap(matches, replicates=20, seed=5)
    monkeypatch.setattr("runaudit.evaluation.bootstrap._BLOCK_CELLS", 30 * 3)
    monkeypatch.setattr("runaudit.evaluation.bootstrap._HIT_CELLS", 200)
    pieces = bootstrap(matches, replicates=20, seed=5)
    assert np.array_equal(whole.map50_95, pieces.map50_95)
    assert np.array_equal(whole.class_map50_95, pieces.class_map50_95)


def test_the_same_seed_gives_the_same_replicates() -> None:
    matches = random_matches(2, images=12, per_image=5, labels=30, classes=2)
    first, again = bootstrap(matches, replicates=50, seed=3), bootstrap(matches, replicates=50, seed=3)
    assert np.array_equal(first.map50, again.map50)
    assert not np.array_equal(first.map50, bootstrap(matches, replicates=50, seed=4).map50)


def repeated(matches: Matches, times: int) -> Matches:
    """The same images several times over, each time with rows of its own."""
    images = len(matches.image)
    moved = {
        name: np.concatenate([getattr(matches, name) + images * step for step in range(times)])
        for name in ("image", "det_image", "gt_image")
    }
    rows = {
        name: np.concatenate([getattr(matches, name)] * times)
        for name in ("det_cls", "det_conf", "det_box", "tp", "gt_cls", "gt_box")
    }
    return Matches(**{name: column.astype(getattr(matches, name).dtype) for name, column in (moved | rows).items()})


@pytest.mark.parametrize("times", [1, 40])
def test_one_image_is_no_certainty_however_often_it_stands_there(times: int) -> None:
    drawn = bootstrap(repeated(random_matches(3, images=1, per_image=20, labels=10, classes=2), times), replicates=30)
    ends = interval(drawn.map50_95)
    assert ends is not None and ends[1] - ends[0] < 1e-6
    assert drawn.distinct == 1 and drawn.class_distinct.tolist() == [1, 1]
    widened = metric_interval(ends, ends[0], drawn.distinct)
    assert widened == pytest.approx(wilson_of_share(ends[0], 1))
    assert difference_interval((0.0, 0.0), 0.0, drawn.distinct) == pytest.approx((-0.8904, 0.8904), abs=5e-4)


def test_copies_are_told_from_images_that_share_their_labels() -> None:
    one = random_matches(5, images=1, per_image=6, labels=3, classes=1)
    copies = repeated(one, 12)
    assert distinct_images(copies) == 1
    # As from another batch, in another order of the label files' rows.
    shaken = replace(copies, det_conf=copies.det_conf + np.float32(1e-7), gt_cls=copies.gt_cls[::-1].copy())
    assert distinct_images(shaken) == 1
    others = replace(copies, det_conf=copies.det_conf * (1 - np.repeat(np.arange(12), 6).astype(np.float32) / 100))
    assert distinct_images(others) == 12


def test_images_without_labels_are_not_counted() -> None:
    matches = random_matches(6, images=30, per_image=4, labels=8, classes=2)
    assert distinct_images(matches) == len(np.unique(matches.gt_image))
    assert distinct_by_class(matches, np.arange(2)).tolist() == [
        len(np.unique(matches.gt_image[matches.gt_cls == class_id])) for class_id in range(2)
    ]


def test_a_figure_that_no_replicate_changes_keeps_a_width() -> None:
    assert metric_interval((1.0, 1.0), 1.0, 100) == (pytest.approx(0.963, abs=5e-4), 1.0)
    assert metric_interval((0.0, 0.0), 0.0, 100) == (0.0, pytest.approx(0.037, abs=5e-4))
    assert metric_interval((0.4, 0.6), 0.5, FEW_IMAGES) == (0.4, 0.6)
    assert metric_interval((0.4, 0.6), 0.5, FEW_IMAGES - 1) == pytest.approx((0.15, 0.85), abs=5e-3)
    assert metric_interval(None, 0.5, 100) is None
    assert difference_interval((0.0, 0.0), 0.0, FEW_IMAGES) == (0.0, 0.0)


def test_interval_leaves_missing_replicates_out() -> None:
    assert interval(np.array([np.nan, np.nan])) is None
    assert interval(np.array([np.nan, 0.25, 0.25])) == (0.25, 0.25)


def test_interval_covers_the_true_value_about_as_often_as_it_says() -> None:
    """Detectors drawn from one population: the 95 % intervals of 80 samples hold the population's mAP in most."""
    population = random_matches(10, images=3000, per_image=4, labels=9000, classes=1)
    truth = detection_metrics(population.tp, population.det_conf, population.det_cls, population.gt_cls).map50_95
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(80):
        chosen = np.sort(rng.choice(3000, 120, replace=False))
        det, gt = np.isin(population.det_image, chosen), np.isin(population.gt_image, chosen)
        sample = Matches(
            image=chosen.astype(np.int32),
            det_image=np.searchsorted(chosen, population.det_image[det]).astype(np.int32),
            det_cls=population.det_cls[det],
            det_conf=population.det_conf[det],
            det_box=population.det_box[det],
            tp=population.tp[det],
            gt_image=np.searchsorted(chosen, population.gt_image[gt]).astype(np.int32),
            gt_cls=population.gt_cls[gt],
            gt_box=population.gt_box[gt],
        )
        ends = interval(bootstrap(sample, replicates=200).map50_95)
        assert ends is not None
        held += ends[0] <= truth <= ends[1]
    assert 68 <= held <= 80  # binomial(80, 0.95): below 68 has a probability of 0.0006
