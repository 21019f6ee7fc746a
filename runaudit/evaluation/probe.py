"""Fine-tunes the network with a fix and without it, so that what the fix gains is measured.

The arm without a fix (the sham) trains as long as the others: against the checkpoint it says what more training gains,
and without it that would be credited to every fix (diagnostics.md E2).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.attempts import Attempts
from runaudit.evaluation.batches import rounded_size
from runaudit.evaluation.bootstrap import bootstrap
from runaudit.evaluation.clock import Clock
from runaudit.evaluation.evaluate import Subject
from runaudit.evaluation.facts import InterventionFacts
from runaudit.evaluation.fine_tuning import GAINS, Material, Recipe, fine_tuned, material
from runaudit.evaluation.labels import Labelled
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.paired import Scores, intervention, scores
from runaudit.evaluation.pixel_change import PixelChange
from runaudit.evaluation.selection import grouped_like, labelled_part, sampled
from runaudit.evaluation.summary import Measured
from runaudit.evaluation.validation_pass import PassSettings
from runaudit.runs.facts import RunFacts

EPOCHS: Final = 3
"""diagnostics.md E2 asks for 3 to 10. From 3 to 8, a clean run of the planted benchmark lost 0.009, and repeating rare
classes gained as much over the sham."""
RATE: Final = 0.002
"""Of 0.0005, 0.002 and 0.008, on clean runs of four data sets (benchmarks/planted, two seeds each): mAP50-95 moved by
-0.007 to +0.007, -0.003 to +0.009 and -0.022 to +0.005. A run of a quarter of its epochs gained 0.018, 0.030 and 0.025.
"""
BATCH: Final = 16
SEEDS: Final = 3
"""E2: two or three"""
TRAINING_IMAGES: Final = 512
VALIDATION_IMAGES: Final = 500
"""The most of each. With all arms that is 18,432 images there and back and 6,500 passed, a minute or two of a GPU."""
MOST_SECONDS: Final = 600.0
"""of all arms together. An audit may take 7,200 by default, and must not fail by what it can do without."""
TOO_SLOW: Final = f"Fine-tuning would take more than {MOST_SECONDS / 60:.0f} minutes on this machine."
MATERIAL_BYTES: Final = 2**30
"""The most of decoded images that are held: fewer are used where imgsz is large."""
LEAST_RATIO: Final = 10.0
"""most over fewest training objects of a class, from which repeating the rare is tried (diagnostics.md B1)"""
REPEATED_BY: Final = 0.5
"""power of (share of images with the most frequent class / share with this one) by which an image is repeated: LVIS's
repeat factor (arXiv 1908.03195). On four data sets with a twentieth of two classes' objects left it gained 0.009,
0.000, 0.005 and 0.009 over the sham; the power 1 gained 0.008, -0.007, 0.021 and -0.001; weights of the class loss
gained nothing (-0.003 to 0.000)."""
LARGER_INPUT: Final = 1.5
SMALL_OBJECT: Final = 16.0
"""pixels: where the median object of validation is smaller at imgsz, a larger input is tried (diagnostics.md B5)"""


@dataclass(frozen=True)
class Probe:
    """What all arms share: some `training` and `validation` images, and a pass over all of the latter.

    `until` is when they have to be done, by time.perf_counter.
    """

    subject: Subject
    run: RunFacts
    weights: Path
    training: Labelled
    validation: Labelled
    validated: Measured
    replicates: int
    seed: int
    until: float

    @classmethod
    def of(
        cls,
        subject: Subject,
        run: RunFacts,
        weights: Path,
        everything: Labelled,
        validated: Measured,
        *,
        replicates: int,
        seed: int,
        seconds: float = MOST_SECONDS,
    ) -> Probe:
        """The probe of a run's network, which stays as it is, on images drawn with `seed` from `everything`, all
        training images, and from those of the pass `validated`. It has to be done within `seconds` from now."""
        labelled = validated.passed.labelled
        return cls(
            subject=subject,
            run=run,
            weights=weights,
            training=labelled_part(everything, sampled(len(everything.entries), TRAINING_IMAGES, seed)),
            validation=labelled_part(labelled, sampled(len(labelled.entries), VALIDATION_IMAGES, seed)),
            validated=validated,
            replicates=replicates,
            seed=seed,
            until=time.perf_counter() + seconds,
        )

    @property
    def settings(self) -> PassSettings:
        """Of the validation passes."""
        return self.validated.passed.settings

    @property
    def recipe(self) -> Recipe:
        """Of the sham, but for the seed: the run's own gains and flips, where it names them."""
        asked = {name: self.run.argument(name) for name in (*GAINS, "fliplr")}
        known = {name: float(value) for name, value in asked.items() if isinstance(value, int | float)}
        return Recipe(
            epochs=EPOCHS,
            batch=BATCH,
            rate=RATE,
            seed=self.seed,
            gains={name: known.get(name, usual) for name, usual in GAINS.items()},
            mirrored=min(1.0, max(0.0, known.get("fliplr", 0.5))),
        )

    def material(self, imgsz: int, change: PixelChange | None = None) -> Material:
        """Training images at `imgsz`, as they are and, with `change`, changed as well."""
        protocol, channels = self.settings.protocol, self.subject.network.channels
        changes = (None,) if change is None else (None, change)
        size = rounded_size(imgsz, self.subject.network.stride)
        most = max(BATCH, MATERIAL_BYTES // (size**2 * channels * len(changes)))
        part = labelled_part(self.training, sampled(len(self.training.entries), most, self.seed))
        root = Path(self.subject.index.root)
        return material(part, root, imgsz=size, channels=channels, protocol=protocol, changes=changes)

    def before(self) -> Scores:
        """The scores of the checkpoint as it is."""
        return self._scored([self._passed(self.subject, self.settings)])

    def after(self, shown: Material, recipe: Recipe, settings: PassSettings) -> Scores | None:
        """The scores of the checkpoint after fine-tuning, of all seeds together; None if time would not suffice."""
        found: list[Matches] = []
        begin = time.perf_counter()
        for number in range(SEEDS):
            now = time.perf_counter()
            each = (now - begin) / max(1, number)
            if now + each * (SEEDS - number) > self.until:
                return None
            seeded = replace(recipe, seed=self.seed + number)
            network = fine_tuned(self.subject.checkpoint, self.weights, self.subject.network.device, shown, seeded)
            found.append(self._passed(replace(self.subject, network=network), settings))
        return self._scored(found)

    def _passed(self, subject: Subject, settings: PassSettings) -> Matches:
        """A pass over the validation images, which are grouped as in the pass over all of them."""
        return grouped_like(subject.passed(self.validation, settings, clock=Clock()).matches, self.validated.matches)

    def _scored(self, passes: list[Matches]) -> Scores:
        """The mean scores of passes over the same images. A replicate draws images, the same in all, and passes."""
        kind = self.settings.protocol.average_precision
        each = [
            scores(one, kind, drawn=bootstrap(one, replicates=self.replicates, seed=self.seed, kind=kind))
            for one in passes
        ]
        drawn = np.random.default_rng(self.seed).integers(len(each), size=(self.replicates, len(each)))
        stacked = np.stack([one.replicates for one in each], axis=1)
        mixed = np.take_along_axis(stacked, drawn[:, :, None], axis=1).mean(axis=1)
        average = np.mean([one.average for one in each], axis=0)
        return replace(each[0], average=average, replicates=mixed)


def why_not_probed(one: Probe) -> str | None:
    """Why the network can't be fine-tuned here, a sentence; None if it can."""
    network = one.subject.network
    if network.task != "detect" or network.protocol.name != "ultralytics":
        return "Only detection networks of ultralytics are fine-tuned: the loss of others is not known here."
    if network.device.type == "cpu":
        return "Fine-tuning needs a GPU: what takes it a minute or two takes a CPU hours."
    if not len(one.training.cls) or not len(one.validation.cls):
        return "None of the images that were drawn from a split has a label."
    return None


def probe(one: Probe, *, toward_validation: PixelChange | None, attempts: Attempts) -> tuple[InterventionFacts, ...]:
    """What more training gains, and what each fix that applies gains beyond that.

    `toward_validation` makes training images look like validation; None without a shift. `attempts` is told of what
    failed or had no time, as `intervention NAME`; without the sham no other arm is tried.
    """
    name = "intervention continued_training"
    sham = attempts.at(name, lambda: _Sham.of(one))
    if sham is None:
        attempts.not_run.setdefault(name, TOO_SLOW)
        return ()
    found = [sham.facts]
    for name, arm in sham.arms(toward_validation).items():
        after = attempts.at(f"intervention {name}", arm.after)
        if after is None:
            attempts.not_run.setdefault(f"intervention {name}", TOO_SLOW)
            continue
        what = f"{arm.what}, for {EPOCHS} epochs with {SEEDS} seeds, against as long a training without."
        found.append(intervention(name, what, "intervention", sham.scores, after))
    return tuple(change for change in found if change is not None)


@dataclass(frozen=True)
class _Arm:
    """A fix: `what` is done, as the beginning of a sentence, and the scores `after` it, None if it takes too long."""

    what: str
    after: Callable[[], Scores | None]


@dataclass(frozen=True)
class _Sham:
    """The arm without a fix, and what it was shown. `facts` hold it against the checkpoint."""

    one: Probe
    shown: Material
    scores: Scores
    facts: InterventionFacts | None

    @classmethod
    def of(cls, one: Probe) -> _Sham | None:
        shown = one.material(one.settings.imgsz)
        after = one.after(shown, one.recipe, one.settings)
        if after is None:
            return None
        what = (
            f"Training went on for {EPOCHS} epochs over {shown.images} training images, at a rate of {RATE:g} falling "
            f"to 0, with {SEEDS} seeds; nothing else was changed."
        )
        facts = intervention("continued_training", what, "intervention", one.before(), after)
        return cls(one, shown, after, facts)

    def arms(self, toward_validation: PixelChange | None) -> dict[str, _Arm]:
        """The fixes that apply, by name."""
        one, settings = self.one, self.one.settings
        found = {}
        drawn = repeat_factors(self.shown, one.subject.network.classes)
        if drawn is not None:
            found["rare_classes_repeated"] = _Arm(
                "Images with rare classes were shown more often",
                lambda: one.after(self.shown, replace(one.recipe, drawn=drawn), settings),
            )
        if toward_validation is not None and toward_validation != PixelChange():
            found["trained_on_validation_look"] = _Arm(
                "Every second training image was given the look of the validation images",
                lambda: one.after(one.material(settings.imgsz, toward_validation), one.recipe, settings),
            )
        if median_side(one.validation, settings.imgsz) < SMALL_OBJECT:
            size = rounded_size(math.ceil(LARGER_INPUT * settings.imgsz), one.subject.network.stride)
            found["trained_at_larger_input"] = _Arm(
                f"The network was trained on and validated at {size} pixels instead of {settings.imgsz}",
                lambda: one.after(one.material(size), one.recipe, replace(settings, imgsz=size)),
            )
        return found


def repeat_factors(shown: Material, classes: int) -> NDArray[np.float64] | None:
    """How often each image (n,) is shown for one that holds the most frequent class; None where no class is rare."""
    counts = np.bincount(shown.cls, minlength=classes)
    counts = counts[counts > 0]
    if len(counts) < 2 or counts.max() < LEAST_RATIO * counts.min():
        return None
    of_label = np.repeat(np.arange(shown.images), np.diff(shown.start))
    present = np.unique(np.stack([shown.cls, of_label]), axis=1)[0]
    images = np.maximum(np.bincount(present, minlength=classes), 1)
    factor = (images.max() / images) ** REPEATED_BY
    repeated = np.ones(shown.images)
    np.maximum.at(repeated, of_label, factor[shown.cls])
    return repeated


def median_side(labelled: Labelled, imgsz: int) -> float:
    """Of the objects, the root of their area in pixels where the longer side of an image has `imgsz`."""
    sizes = np.array([(entry.width, entry.height) for entry in labelled.entries], dtype=np.float64)
    shares = sizes / sizes.max(axis=1, keepdims=True) * imgsz
    of_label = np.repeat(np.arange(len(labelled.entries)), np.diff(labelled.start))
    sides = (labelled.box[:, 2:] - labelled.box[:, :2]) * shares[of_label]
    return float(np.median(np.sqrt(sides.prod(axis=1))))
