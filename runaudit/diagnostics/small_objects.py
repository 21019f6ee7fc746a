"""Objects too small for the finest stride, and images shrunk until their objects are: by the census and AP by size."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from runaudit.diagnostics.box_sizes import share_smaller, size_for
from runaudit.diagnostics.evidence import Evidence, Impact, Measurement, Remedy
from runaudit.diagnostics.fitted import fits_training_images
from runaudit.diagnostics.parts import Part, present
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.detection_facts import SizeMetrics
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.runs.facts import BoxCensus, RunFacts, SplitFacts


@dataclass(frozen=True)
class Thresholds:
    reach: float = threshold(
        0.75,
        "Side of an object over the finest stride. Of clear discs and squares a network trained on all sizes finds "
        "0.17 below 0.5, 0.55 from there to 0.75, 0.95 up to 1 and all above (benchmarks/small_objects.py with 240 "
        "images and 30 epochs: 600 objects; with 24 epochs 0.12, 0.57, 0.73 and all); real objects are harder.",
    )
    small: float = threshold(
        0.05, "Share of objects below the reach: at least 0.035 of recall is lost by it, seven tenths of them."
    )
    small_major: float = threshold(
        0.15, "A tenth of recall by the same measure: more than 2 points of mAP50-95 wherever the others reach 0.2."
    )
    still_found: float = threshold(
        0.5, "Recall of the small objects, as the measured recall bounds it from below, from which they are no loss."
    )
    shrunk: float = threshold(
        1.5, "Times that images are shrunk from which more than half of their pixels are given away (1.5 squared)."
    )
    cells: float = threshold(
        2.0,
        "Side of an object over the finest stride (diagnostics.md B7, architecture issues). All are found from 1 on, "
        "but on average over IoU 0.5 to 0.95 it is 0.84 up to 1.5, 0.91 up to 2, 0.95 up to 3 and 0.99 above: half of "
        "the objects below 2 cost 4 to 8 points there (benchmarks/small_objects.py with 240 images and 24 epochs).",
    )
    few_cells: float = threshold(0.5, "Share of such objects from which they dominate (diagnostics.md B5).")
    at_stake: float = threshold(0.02, "The report contract's 2 points of mAP50-95, by AP of small and larger labels.")
    tiled: float = threshold(
        2.0,
        "Times imgsz that the images' own longer side must have before tiling is proposed: two tiles a side then show "
        "them at their own resolution.",
    )
    labels: int = threshold(
        30,
        "Labels of a size from which its AP is compared: the standard error of AP50 is 0.085 (diagnostics.md A2(4)).",
    )


LIMITS = Thresholds()

DEFAULT_STRIDE = 8.0
"""The finest stride of every stock detector of both families but the `-p2` ones."""


def finest_stride(run: RunFacts) -> float:
    """Pixels of the input a cell of the finest level: the checkpoint's, else by the architecture's name, else 8."""
    strides = run.checkpoint.stride if run.checkpoint is not None else ()
    if strides and all(1 <= stride <= 1024 for stride in strides):
        return min(strides)
    return 4.0 if re.search(r"[-_]p2\b", (run.architecture or "").lower()) else DEFAULT_STRIDE


def too_few_pixels(evidence: Evidence, split: SplitFacts, census: BoxCensus, size: tuple[float, str]) -> Part | None:
    """The graver of the two ways to show objects too small, the first where they are equal.

    The other is left out: objects below the reach are among those of few cells, and both propose a larger input.
    """
    found = present((_small_objects(evidence, split, census, size), _shrunk_images(evidence, split, census, size)))
    return found[0] if found else None


def _small_objects(evidence: Evidence, split: SplitFacts, census: BoxCensus, size: tuple[float, str]) -> Part | None:
    """Objects below the reach of the finest stride, unless the metrics show that they are found."""
    run, stride = evidence.run, finest_stride(evidence.run)
    share = share_smaller(census, LIMITS.reach * stride, size[0])
    if share < LIMITS.small or _found_anyway(evidence.evaluation, share):
        return None
    native = census.longer_sides[1] if census.longer_sides is not None else None
    side = LIMITS.reach * stride * (native or size[0]) / size[0]
    sizes = _sizes(evidence.evaluation, side)
    if sizes is not None and sizes.lacking <= 0:
        return None
    shown = f" The images themselves are {native:.0f} pixels long." if native is not None else ""
    return Part(
        "major" if share >= LIMITS.small_major else "minor",
        f"{share:.0%} of the objects are smaller than the finest stride of {stride:g} pixels can tell",
        f"At imgsz {size[0]:g} they have a side below {LIMITS.reach * stride:g} pixels, less than a cell. Most objects "
        f"of that size are not found, even if they are clear.{shown}",
        (
            Measurement(
                f"share of objects with a side below {LIMITS.reach * stride:g} pixels",
                round(share, 4),
                LIMITS.small,
                n=census.boxes,
                source=split.source,
            ),
            *(sizes.evidence() if sizes is not None else ()),
            Measurement("imgsz", size[0], source=size[1]),
            *(
                (Measurement("median longer side of the images", round(native, 1), n=split.images),)
                if native is not None
                else ()
            ),
        ),
        _remedies_of_small(run, census, size[0], stride),
        Impact("lowers", sizes.stake, None, "observational") if sizes is not None else Impact("lowers"),
        effect=share,
        n=census.boxes,
    )


def _shrunk_images(evidence: Evidence, split: SplitFacts, census: BoxCensus, size: tuple[float, str]) -> Part | None:
    """Images are made much smaller than they are, and most objects end up with few cells of the finest level."""
    stride = finest_stride(evidence.run)
    native = census.longer_sides[1] if census.longer_sides is not None else 0.0
    few = LIMITS.cells * stride
    share = share_smaller(census, few, size[0])
    if native < LIMITS.shrunk * size[0] or share < LIMITS.few_cells:
        return None
    sizes = _sizes(evidence.evaluation, few * native / size[0])
    if sizes is not None and sizes.lacking <= 0:
        return None
    stake = sizes.stake if sizes is not None else 0.0
    # Where the sizes' own AP can't tell, a model that fails on its training images too does.
    costly = stake >= LIMITS.at_stake or fits_training_images(evidence) is False
    return Part(
        "major" if costly else "minor",
        f"Images of {native:.0f} pixels are shrunk to {size[0]:g}, and {share:.0%} of the objects to less than {few:g}",
        "So few pixels tell little of an object, and a box of few pixels can't be placed well: each is more of it. At "
        f"{native:.0f} pixels they are {native / size[0]:.2g} times as large.",
        (
            Measurement(
                f"share of objects with a side below {few:g} pixels",
                round(share, 4),
                LIMITS.few_cells,
                n=census.boxes,
                source=split.source,
            ),
            Measurement(
                "times that images are shrunk",
                round(native / size[0], 2),
                LIMITS.shrunk,
                n=split.images,
                source=size[1],
            ),
            *(sizes.evidence() if sizes is not None else ()),
        ),
        _larger_input(census, size[0], native, few, LIMITS.few_cells),
        Impact("lowers", stake, None, "observational") if stake > 0 else Impact("lowers"),
        effect=share,
        n=census.boxes,
    )


@dataclass(frozen=True)
class _Sizes:
    """COCO's AP of the small labels and of the best larger ones, and the small ones' share of all labels.

    `small` are their sizes with an AP of enough labels, rising; `small_map` is the mean of these by labels.
    """

    small: tuple[SizeMetrics, ...]
    small_map: float
    larger: SizeMetrics
    larger_map: float
    share: float

    @property
    def lacking(self) -> float:
        return self.larger_map - self.small_map

    @property
    def stake(self) -> float:
        """mAP50-95 that the small labels would add if they were as easy as the larger ones, by their share."""
        return round(min(1.0, max(0.0, self.lacking * self.share)), 4)

    def evidence(self) -> tuple[Measurement, ...]:
        least, most = (math.sqrt(area or 0.0) for area in (self.small[0].least, self.small[-1].most))
        place = f"from {least:g} x {least:g} to" if least else "below"
        mean = f", {' and '.join(entry.size for entry in self.small)} by their number" if len(self.small) > 1 else ""
        return (
            Measurement(
                f"AP of labels {place} {most:g} x {most:g} pixels{mean}",
                round(self.small_map, 4),
                n=sum(entry.labels for entry in self.small),
            ),
            Measurement(f"AP of {self.larger.size} labels", round(self.larger_map, 4), n=self.larger.labels),
        )


def _sizes(evaluation: EvaluationFacts | None, side: float) -> _Sizes | None:
    """AP by size, if there are enough labels on both sides of `side` pixels of the image.

    The small ones are COCO's sizes that lie wholly below `side`, or its smallest where none does. A size of few labels
    counts by its share, as if it did as well as the others. None, too, where nothing is lacking up to a limit below
    `side`: what is larger than that and smaller than `side` may lack all the same.
    """
    measured = {entry.size: entry for entry in (evaluation.per_size if evaluation is not None else ())}
    sizes = [entry for name in ("small", "medium", "large") if (entry := measured.get(name)) is not None]
    below = [entry for entry in sizes if entry.most is not None and (entry.size == "small" or entry.most <= side**2)]
    rated = [(entry.map50_95, entry) for entry in sizes if entry.map50_95 is not None and entry.labels >= LIMITS.labels]
    small = [(value, entry) for value, entry in rated if entry in below]
    others = [(value, entry) for value, entry in rated if entry not in below]
    if not small or not others:
        return None
    best, larger = max(others, key=lambda pair: pair[0])
    mean = sum(value * entry.labels for value, entry in small) / sum(entry.labels for _, entry in small)
    if best <= mean and side**2 > max(entry.most or 0.0 for entry in below):
        return None
    share = sum(entry.labels for entry in below) / sum(entry.labels for entry in sizes)
    return _Sizes(tuple(entry for _, entry in small), mean, larger, best, share)


def _found_anyway(evaluation: EvaluationFacts | None, share: float) -> bool:
    """Whether so many objects were found that half of the small ones must be among them.

    Of all objects R are found. Were all larger ones, that leaves (R - (1 - share)) / share of the small ones.
    """
    if evaluation is None:
        return False
    judged = [(entry.recall, entry.instances) for entry in evaluation.per_class if entry.recall is not None]
    total = sum(instances for _, instances in judged)
    if not total:
        return False
    recall = sum(value * instances for value, instances in judged) / total
    return (recall - (1.0 - share)) / share >= LIMITS.still_found


def _larger_input(census: BoxCensus, size: float, native: float, side: float, share: float) -> tuple[Remedy, ...]:
    """The input at which at most `share` of the objects are below `side` pixels, as far as the images have pixels."""
    wanted = size_for(census, side, share)
    largest = 32 * round(native / 32)
    if largest <= size:
        return ()
    proposed = min(wanted or largest, largest)
    enough = wanted is not None and wanted <= largest
    return (
        Remedy(
            f"Train and validate at imgsz={proposed}",
            (
                f"That leaves at most {share:.0%} of the objects below {side:g} pixels."
                if enough
                else "The images have no more pixels than that, and some objects stay too small."
            )
            + " Memory and time grow with its square.",
            {"imgsz": proposed},
        ),
    )


def _remedies_of_small(run: RunFacts, census: BoxCensus, size: float, stride: float) -> tuple[Remedy, ...]:
    """A larger input as far as the images have the pixels, then a finer head, then tiles."""
    native = census.longer_sides[1] if census.longer_sides is not None else size
    remedies = [*_larger_input(census, size, native, LIMITS.reach * stride, LIMITS.small)]
    if stride > DEFAULT_STRIDE / 2:
        remedies.append(_finer_head(run, stride))
    if native >= LIMITS.tiled * size:
        remedies.append(
            Remedy(
                "Cut images into overlapping tiles, for training and for use",
                "Each tile then shows its part at the images' own resolution (slicing aided hyper inference).",
                code=_TILING_CODE.format(size=round(size)),
                reference="https://arxiv.org/abs/2202.06934",
            )
        )
    return tuple(remedies)


def _finer_head(run: RunFacts, stride: float) -> Remedy:
    """A P2 head halves the finest stride; ultralytics ships one for YOLOv8 and YOLO26."""
    scaled = re.fullmatch(r"yolo(?:v8|26)([nsmlx])(?:\.yaml)?", (run.architecture or "").lower())
    stock = f"{(run.architecture or '').lower().removesuffix('.yaml')}-p2.yaml" if scaled else None
    return Remedy(
        f"Use a P2 head, with a finest stride of {stride / 2:g} pixels",
        "It sees objects of half the size, at about twice the memory of activations. Its new layers have to be learnt."
        + ("" if stock else " ultralytics has one for YOLOv8 and YOLO26 (yolov8n-p2.yaml, yolo26n-p2.yaml)."),
        {"model": stock, "pretrained": f"{stock.removesuffix('-p2.yaml')}.pt"} if stock else {},
    )


_TILING_CODE = """\
from sahi import AutoDetectionModel
from sahi.predict import get_sliced_prediction

model = AutoDetectionModel.from_pretrained(model_type="ultralytics", model_path="weights/best.pt")
result = get_sliced_prediction(image, model, slice_height={size}, slice_width={size},
                               overlap_height_ratio=0.2, overlap_width_ratio=0.2)
"""
