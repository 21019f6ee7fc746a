"""The whole review, of a trained network's own detections on rendered images with errors planted in their labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from examples.shapes import SHAPES, render
from runaudit.diagnostics.label_issues import failing
from runaudit.evaluation.evaluate import measure
from runaudit.evaluation.label_facts import LabelErrorRate, LabelQualityFacts, SuspectKind
from runaudit.evaluation.label_review import LabelReview, review_labels
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.protocol import ULTRALYTICS
from runaudit.evaluation.relabelling import relabelled
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.facts import ImageIndex
from tests.evaluation.jobs import EXAMPLES, Picture, run_of, write_data
from tests.evaluation.planted_labels import ErrorKind, planted

IMAGES = 150
FOUND_AS: dict[ErrorKind, SuspectKind] = {
    "missing": "overlooked",
    "swap": "swapped",
    "shift": "misplaced",
    "spawn": "spurious",
    "duplicate": "duplicated",
}


@dataclass(frozen=True)
class Seen:
    matches: Matches
    index: ImageIndex
    sizes: NDArray[np.int64]

    def review(self, matches: Matches) -> LabelReview:
        return review_labels(matches, ULTRALYTICS, self.index, classes=len(SHAPES))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """The healthy example's detections of images that it was not trained on."""
    root = tmp_path_factory.mktemp("labels")
    render(root, seed=11, train=1, val=IMAGES)
    pictures = [
        Picture(
            f"images/val/{path.stem}.jpg",
            [tuple(float(cell) for cell in line.split()) for line in path.read_text().splitlines()],
        )
        for path in sorted((root / "labels/val").glob("*.txt"))
    ]
    index, labels = write_data(root, pictures)
    weights = root / "weights.safetensors"
    checkpoint = read_checkpoint(EXAMPLES / "runs/healthy/weights/best.pt", source="best.pt", weights_out=weights)
    found = measure(
        run_of(checkpoint, imgsz=160), weights=weights, index=index, labels=labels, device="cpu", replicates=10
    )
    sizes = np.array([(entry.width, entry.height) for entry in index.images])
    return Seen(relabelled(found.matches, ULTRALYTICS), index, sizes)


def rates(facts: LabelQualityFacts) -> dict[SuspectKind, LabelErrorRate]:
    return {rate.kind: rate for rate in facts.rates}


def test_labels_as_rendered_are_found_right(seen: Seen):
    review = seen.review(seen.matches)
    facts = review.facts
    assert not any(failing(rate) for rate in facts.rates)
    assert facts.permutation is not None and facts.permutation.mapping == {}
    overall = facts.habits[0]
    assert overall.class_id is None
    assert (overall.width, overall.height) == (pytest.approx(1, abs=0.05), pytest.approx(1, abs=0.05))
    assert {habit.class_id for habit in facts.habits[1:]} == {0, 1, 2, 3}
    gains = [change for change in review.interventions if change.name in ("suspects_corrected", "box_habit_corrected")]
    assert all(change.difference < 0.015 for change in gains)


@pytest.mark.parametrize("kind", FOUND_AS)
def test_planted_errors_are_found_at_their_rate(seen: Seen, kind: ErrorKind):
    wrong, hit = planted(seen.matches, seen.sizes, kind, 0.15)
    found = rates(seen.review(wrong).facts)[FOUND_AS[kind]]
    assert failing(found)
    truth = hit.mean() / (1 + hit.mean()) if kind in ("spawn", "duplicate") else hit.mean()
    assert found.rate == pytest.approx(truth, abs=0.06)


def test_suspects_name_image_and_boxes_in_its_pixels(seen: Seen):
    wrong, _ = planted(seen.matches, seen.sizes, "swap", 0.15)
    facts = seen.review(wrong).facts
    assert facts.total_suspects > 50
    stakes = [suspect.at_stake for suspect in facts.suspects]
    assert all(stake is not None and stake > 0 for stake in stakes[:20])
    assert stakes == sorted(stakes, key=lambda stake: -(stake or 0)), "the queue begins where most mAP hangs"
    for suspect in facts.suspects[:20]:
        assert suspect.kind == "swapped" and suspect.score > 0.5
        image = next(number for number, entry in enumerate(seen.index.images) if entry.file == suspect.image)
        mine = wrong.image[wrong.gt_image] == image
        assert suspect.box is not None and suspect.class_id is not None and suspect.suggested_class is not None
        row = np.flatnonzero(mine & (np.abs(wrong.gt_box - np.array(suspect.box)).max(axis=1) < 0.1))
        assert wrong.gt_cls[row].tolist() == [suspect.class_id]
        assert suspect.suggested_class != suspect.class_id


def test_permuted_ids_are_mapped_before_labels_are_judged(seen: Seen):
    permuted = relabelled(seen.matches, ULTRALYTICS, gt_cls=(seen.matches.gt_cls + 1) % 4)
    review = seen.review(permuted)
    facts = review.facts.permutation
    assert facts is not None and facts.mapping == {0: 1, 1: 2, 2: 3, 3: 0}
    assert facts.ci95 is not None and facts.ci95[0] > 0.3
    assert facts.agnostic_map50_95 > 5 * facts.map50_95
    assert not any(failing(rate) for rate in review.facts.rates)
    assert "class_permutation" in {change.name for change in review.interventions}


def test_one_class_has_no_permutation(seen: Seen):
    one = relabelled(
        seen.matches,
        ULTRALYTICS,
        gt_cls=np.zeros_like(seen.matches.gt_cls),
        det_cls=np.zeros_like(seen.matches.det_cls),
    )
    facts = review_labels(one, ULTRALYTICS, seen.index, classes=4, single_cls=True).facts
    assert facts.permutation is None and not any(failing(rate) for rate in facts.rates)


def test_the_same_matches_give_the_same_review(seen: Seen, tmp_path: Path):
    assert seen.review(seen.matches) == seen.review(seen.matches)
