"""What a validation pass and a training pass show together: leakage, shift, and what each of them costs in mAP."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.alone import CHANGED_IMAGES, Alone
from runaudit.evaluation.attempts import Attempts
from runaudit.evaluation.evaluate import Subject
from runaudit.evaluation.facts import InterventionFacts, LeakageFacts, ShiftFacts
from runaudit.evaluation.image_groups import Split
from runaudit.evaluation.image_properties import PROPERTIES, ImageProperties
from runaudit.evaluation.images import Pixels, decode
from runaudit.evaluation.labels import Labelled
from runaudit.evaluation.leakage import COMPARED, find_leakage
from runaudit.evaluation.paired import Scores, intervention, scores
from runaudit.evaluation.pixel_change import PixelChange, blur_to, colour_change, noise_to, quality_to
from runaudit.evaluation.reconcile import Depth
from runaudit.evaluation.selection import sampled
from runaudit.evaluation.shift import Shift, Side, find_shift
from runaudit.evaluation.summary import Measured

COLOURS: Final = ("brightness", "contrast", "saturation", "green_red", "blue_yellow")
PIXELS: Final = {*COLOURS, "sharpness", "noise", "blockiness"}
"""properties that a change of pixels moves"""
TRIED_ON: Final = 24
"""images on which blur and noise are tried until they match; a median of 24 is off by a fifth of its spread"""
TRIED_PIXELS: Final = 12_000_000
"""of all of them together, as long as LEAST_TRIED_ON are left"""
LEAST_TRIED_ON: Final = 6


@dataclass(frozen=True)
class Comparison:
    """The facts of both passes together, and the change of pixels that makes training images look like validation, if
    a property of pixels shifted."""

    leakage: LeakageFacts | None
    shift: ShiftFacts | None
    interventions: tuple[InterventionFacts, ...]
    toward_validation: PixelChange | None


def compare(
    subject: Subject,
    validation: Measured,
    training: Measured,
    everything: Labelled,
    *,
    depth: Depth,
    replicates: int,
    seed: int,
    attempts: Attempts,
) -> Comparison:
    """Hold both passes against each other.

    Args:
        subject: what both passes were done with.
        validation: of the validation images, drawn with `seed`.
        training: of some training images.
        everything: all training images and their labels.
        depth: `deep` compares all images and changes pixels even where no shift was found.
        replicates, seed: of the draws.
        attempts: told of what failed (`leakage`, `shift`, `intervention NAME`); the rest goes on.
    """
    root = Path(subject.index.root)
    pair = _Pair(subject, validation, replicates, seed, training)
    of_validation, of_training = Split.of(validation.passed), Split.of(training.passed)
    leakage = attempts.at(
        "leakage",
        lambda: find_leakage(
            of_validation,
            everything,
            of_training,
            root,
            repeated=validation.repeated,
            most=COMPARED[depth],
            seed=seed,
        ),
    )
    shift = attempts.at(
        "shift",
        lambda: find_shift(_side(training, of_training), _side(validation, of_validation), seed=seed),
    )
    like_validation = "training_images_like_validation"
    change = attempts.at(f"intervention {like_validation}", lambda: pair.toward_validation(shift, depth))
    kept = ~leakage.leaked if leakage is not None else np.ones(len(of_validation.entries), dtype=bool)
    tried = {
        "training_images": lambda: pair.training_images(kept),
        "without_leaked_images": lambda: pair.without_leaked(kept),
        "images_like_training": lambda: pair.like_training(shift),
        "match_photometry": lambda: pair.like_training_pixels(shift, depth),
    }
    if change is not None:
        tried[like_validation] = lambda: pair.like_validation_pixels(change, depth)
    found = [attempts.at(f"intervention {name}", change) for name, change in tried.items()]
    return Comparison(
        leakage.facts if leakage is not None else None,
        shift.facts if shift is not None else None,
        tuple(one for one in found if one is not None),
        change if _shifted(shift) & PIXELS else None,
    )


def _side(measured: Measured, split: Split) -> Side:
    return Side(_properties(measured), split.labelled, measured.matches.unit.astype(np.int64))


def _properties(measured: Measured) -> ImageProperties:
    if measured.passed.properties is None:
        raise ValueError("the pass took no properties")
    return measured.passed.properties


@dataclass(frozen=True)
class _Pair(Alone):
    """Both passes, and the interventions on them."""

    training: Measured

    @property
    def trained(self) -> Scores:
        kind = self.training.passed.settings.protocol.average_precision
        return scores(self.training.matches, kind, drawn=self.training.replicates)

    def training_images(self, kept: NDArray[np.bool_]) -> InterventionFacts | None:
        """Against validation images of which no copy stands in training (`kept`): leaked ones would hide a gap."""
        without = not kept.all() and self.enough(kept)
        return intervention(
            "training_images",
            "The same validation on images that the model was trained on"
            + (", against validation images that did not leak." if without else "."),
            "observational",
            self.kept(kept) if without else self.validated,
            self.trained,
        )

    def without_leaked(self, kept: NDArray[np.bool_]) -> InterventionFacts | None:
        """Of images of which no copy stands in training (`kept`); None if that is all or less than LEAST_LEFT."""
        if kept.all() or not self.enough(kept):
            return None
        return intervention(
            "without_leaked_images",
            f"{int((~kept).sum())} validation images of which copies stand in training were left out.",
            "intervention",
            self.validated,
            self.kept(kept),
        )

    def like_training(self, shift: Shift | None) -> InterventionFacts | None:
        """The half of the validation images that looks most like training; None without a shift to rank them by."""
        if shift is None or shift.facts.p_value > 0.05:
            return None
        known = shift.scores[~np.isnan(shift.scores)]
        kept = shift.scores <= np.median(known)
        if not self.enough(kept):
            return None
        return intervention(
            "images_like_training",
            "Only the half of the validation images that looks most like training, by the classifier's score.",
            "observational",
            self.validated,
            self.kept(kept),
        )

    def like_training_pixels(self, shift: Shift | None, depth: Depth) -> InterventionFacts | None:
        """A pass with changed pixels, where a colour shifted; at depth `deep` in any case."""
        if depth != "deep" and not _shifted(shift) & set(COLOURS):
            return None
        return self._with(
            self.validation,
            colour_change(_properties(self.validation), _properties(self.training), self._some(self.validation)),
            CHANGED_IMAGES[depth],
            "match_photometry",
            "Validation images were given the tones and colours of the training images.",
        )

    def toward_validation(self, shift: Shift | None, depth: Depth) -> PixelChange | None:
        """What makes training images look like validation, where a property of pixels shifted; at depth `deep` in any
        case."""
        if depth != "deep" and not _shifted(shift) & PIXELS:
            return None
        return self._toward_validation(_shifted(shift), all_of_it=depth == "deep")

    def like_validation_pixels(self, change: PixelChange, depth: Depth) -> InterventionFacts | None:
        """A pass over training images that look like validation."""
        return self._with(
            self.training,
            change,
            CHANGED_IMAGES[depth],
            "training_images_like_validation",
            "Training images were given the validation images' " + _described(change) + ".",
        )

    def _toward_validation(self, shifted: set[str], *, all_of_it: bool) -> PixelChange:
        first, second = _properties(self.training), _properties(self.validation)
        pixels = self._some(self.training)
        fine = [PROPERTIES.index(name) for name in ("sharpness", "noise", "blockiness")]
        medians = [np.median(side.values[:, fine], axis=0) for side in (first, second)]
        colours = shifted & set(COLOURS)
        if ("noise" in shifted and medians[1][1] > medians[0][1]) or (
            "sharpness" in shifted and medians[1][0] < medians[0][0]
        ):
            # Noise raises contrast and saturation, blur lowers them: matched beside it, they would count twice.
            colours -= {"contrast", "saturation"}
        change = colour_change(first, second, pixels) if all_of_it or colours else PixelChange()
        if pixels and (all_of_it or "sharpness" in shifted) and medians[1][0] < medians[0][0]:
            change = replace(change, blur=blur_to(pixels, change, float(medians[1][0])))
        if pixels and (all_of_it or "noise" in shifted) and medians[1][1] > medians[0][1]:
            change = replace(change, noise=noise_to(pixels, change, float(medians[1][1])))
        if pixels and (all_of_it or "blockiness" in shifted) and medians[1][2] > medians[0][2]:
            change = replace(change, quality=quality_to(pixels, change, float(medians[1][2])))
        return change

    def _some(self, measured: Measured) -> list[Pixels]:
        entries = measured.passed.labelled.entries
        typical = float(np.median([entry.width * entry.height for entry in entries]))
        count = int(np.clip(TRIED_PIXELS / max(typical, 1), LEAST_TRIED_ON, TRIED_ON))
        positions = sampled(len(entries), count, self.seed)
        root, channels = Path(self.subject.index.root), self.subject.network.channels
        read = (decode(root / entries[position].file, channels) for position in positions)
        return [pixels for pixels in read if pixels is not None]

    def _with(
        self, measured: Measured, change: PixelChange, most: int, name: str, description: str
    ) -> InterventionFacts | None:
        """A pass over at most `most` of the images with changed pixels, against the same images as they are."""
        if change == PixelChange():
            return None
        return self.again(measured, replace(measured.passed.settings, change=change), most, name, description)


def _shifted(shift: Shift | None) -> set[str]:
    return {one.name for one in shift.facts.properties if one.shifted} if shift is not None else set()


def _described(change: PixelChange) -> str:
    parts = [
        "colours" if change.tones is not None else "",
        "sharpness" if change.blur else "",
        "noise" if change.noise else "",
        "compression" if change.quality is not None else "",
    ]
    return " and ".join(part for part in parts if part) or "look"
