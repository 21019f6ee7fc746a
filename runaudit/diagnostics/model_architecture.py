"""Do stride, anchors, imgsz and max_det fit the objects?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.answers import inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.box_sizes import best_possible_recall, input_size, share_beyond, share_smaller, size_for
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy
from runaudit.diagnostics.history import number
from runaudit.diagnostics.parts import Part, joined, present
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.detection_facts import SizeMetrics
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.runs.facts import BoxCensus, RunFacts, SplitFacts

CAUSE: Final = "model_architecture"


@dataclass(frozen=True)
class Thresholds:
    reach: float = threshold(
        0.75,
        "Side of an object over the finest stride. Of clear discs and squares a network trained on all sizes finds "
        "0.17 below 0.5, 0.55 from there to 0.75, 0.95 up to 1 and all above (benchmarks/small_objects.py: 600 "
        "objects); real objects are harder.",
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
    tiled: float = threshold(
        2.0,
        "Times imgsz that the images' own longer side must have before tiling is proposed: two tiles a side then show "
        "them at their own resolution.",
    )
    beyond: float = threshold(
        0.02, "Share of the boxes beyond max_det, from which it is major: recall can't exceed what is left."
    )
    best_possible_recall: float = threshold(0.98, "YOLOv5 fits new anchors from here on down (diagnostics.md 0.2).")
    best_possible_recall_major: float = threshold(
        0.9,
        "A tenth of the objects has no anchor to be learnt by: more than 2 points of mAP50-95 wherever the others "
        "reach 0.2. Reported cases have 0.11, 0.38 and 0.70 (yolo.md row 54).",
    )
    boxes: int = threshold(
        30, "Boxes below which shares of them are not judged: the standard error of a tenth is 0.055 then."
    )


LIMITS = Thresholds()

DEFAULT_STRIDE = 8.0
"""The finest stride of every stock detector of both families but the `-p2` ones."""
DEFAULT_MAX_DET = 300


def examine(evidence: Evidence) -> CheckResult:
    run, dataset = evidence.run, evidence.dataset
    if run.task == "classify":
        return not_run(CAUSE, "A classifier has neither boxes nor strides to hold against them.")
    if dataset is None:
        return not_run(CAUSE, why_absent(evidence, "dataset"))
    train, val = dataset.splits.get("train"), dataset.splits.get("val")
    judged = next((split for split in (val, train) if _counted(split)), None)
    if judged is None or judged.box_census is None:
        return inconclusive(CAUSE, f"Fewer than {LIMITS.boxes} boxes were counted, too few to judge sizes by.", n=0)
    size = input_size(run)
    if size is None:
        return inconclusive(
            CAUSE, "Nothing tells the imgsz of the run, so that the objects' size is not known.", n=judged.instances
        )
    parts = present(
        (
            _small(evidence, judged, judged.box_census, size),
            _crowded(evidence, val),
            _anchors(run, train if _counted(train) else judged, size[0]),
        )
    )
    if parts:
        return joined(CAUSE, parts)
    return _fits(run, judged, judged.box_census, size[0])


def _counted(split: SplitFacts | None) -> bool:
    return split is not None and split.box_census is not None and split.box_census.boxes >= LIMITS.boxes


def finest_stride(run: RunFacts) -> float:
    """Pixels of the input a cell of the finest level: the checkpoint's, else by the architecture's name, else 8."""
    strides = run.checkpoint.stride if run.checkpoint is not None else ()
    if strides and all(1 <= stride <= 1024 for stride in strides):
        return min(strides)
    return 4.0 if re.search(r"[-_]p2\b", (run.architecture or "").lower()) else DEFAULT_STRIDE


def _small(evidence: Evidence, split: SplitFacts, census: BoxCensus, size: tuple[float, str]) -> Part | None:
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
            *((Measurement("median longer side of the images", round(native, 1)),) if native is not None else ()),
        ),
        _remedies_of_small(run, census, size[0], stride),
        Impact("lowers", sizes.stake, None, "observational") if sizes is not None else Impact("lowers"),
        effect=share,
        n=census.boxes,
    )


@dataclass(frozen=True)
class _Sizes:
    """COCO's AP of the small labels and of the best larger ones, and the small ones' share of all labels."""

    small: SizeMetrics
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
        return (
            Measurement("AP of labels below 32 x 32 pixels", round(self.small_map, 4), n=self.small.labels),
            Measurement(f"AP of {self.larger.size} labels", round(self.larger_map, 4), n=self.larger.labels),
        )


def _sizes(evaluation: EvaluationFacts | None, side: float) -> _Sizes | None:
    """AP by size, if objects of `side` pixels of the image are among the small ones, and there are enough labels."""
    measured = {entry.size: entry for entry in (evaluation.per_size if evaluation is not None else ())}
    small, total = measured.get("small"), sum(entry.labels for name, entry in measured.items() if name != "all")
    if small is None or small.map50_95 is None or small.labels < LIMITS.boxes or side**2 > (small.most or 0.0):
        return None
    others = [entry for name in ("medium", "large") if (entry := measured.get(name)) and entry.labels >= LIMITS.boxes]
    rated = [(entry.map50_95, entry) for entry in others if entry.map50_95 is not None]
    if not rated:
        return None
    best, larger = max(rated, key=lambda pair: pair[0])
    return _Sizes(small, small.map50_95, larger, best, small.labels / total)


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


def _remedies_of_small(run: RunFacts, census: BoxCensus, size: float, stride: float) -> tuple[Remedy, ...]:
    """A larger input as far as the images have the pixels, then a finer head, then tiles."""
    native = census.longer_sides[1] if census.longer_sides is not None else size
    wanted = size_for(census, LIMITS.reach * stride, LIMITS.small)
    largest = 32 * round(native / 32)
    remedies = []
    if largest > size:
        proposed = min(wanted or largest, largest)
        enough = wanted is not None and wanted <= largest
        remedies.append(
            Remedy(
                f"Train and validate at imgsz={proposed}",
                f"That leaves at most {LIMITS.small:.0%} of the objects below the reach of the stride. "
                if enough
                else "The images have no more pixels than that, and some objects stay too small. ",
                {"imgsz": proposed},
            )
        )
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


def _crowded(evidence: Evidence, val: SplitFacts | None) -> Part | None:
    census = val.box_census if val is not None else None
    if val is None or census is None or not census.fullest:
        return None
    asked = number(evidence.run.argument("max_det"), 0.0)
    most = int(asked) if 1 <= asked <= 1e6 else DEFAULT_MAX_DET
    share = share_beyond(census, most)
    if share <= 0:
        return None
    measured = evidence.evaluation.metrics.map50_95 if evidence.evaluation is not None else None
    # The lost boxes would be found about as often as the others are.
    stake = None if measured is None else round(min(1.0, measured * share), 4)
    places = evidence.run.configuration.places if evidence.run.configuration is not None else {}
    return Part(
        "major" if share >= LIMITS.beyond else "minor",
        f"Images hold up to {census.fullest[0]} objects, and max_det={most} detections are kept",
        f"{share:.1%} of the validation objects can't be found whatever the model sees. ultralytics raises the default "
        "from 8.4 on while it validates, but not when the model is used.",
        (
            Measurement("most objects in one image", census.fullest[0], most, n=val.images, source=val.source),
            Measurement("share of objects beyond max_det", round(share, 4), LIMITS.beyond, n=census.boxes),
            Measurement("max_det", most, source=places.get("max_det")),
        ),
        (
            Remedy(
                f"Keep max_det={_above(census.fullest[0])} detections",
                "In validation, and where the model is used.",
                {"max_det": _above(census.fullest[0])},
            ),
        ),
        Impact("lowers", stake, None, "observational") if stake else Impact("lowers"),
        effect=share,
        n=census.boxes,
    )


def _above(count: int) -> int:
    """A quarter more than `count`, in hundreds: other images may be fuller than those of the split."""
    return 100 * -(-5 * count // 400)


def _anchors(run: RunFacts, split: SplitFacts | None, size: float) -> Part | None:
    checkpoint, census = run.checkpoint, split.box_census if split is not None else None
    if checkpoint is None or not checkpoint.anchors or split is None or census is None:
        return None
    ratio = number(run.argument("anchor_t"), 4.0)
    found = best_possible_recall(census, checkpoint.anchors, size, ratio if 1 < ratio <= 100 else 4.0)
    if found is None or found[0] >= LIMITS.best_possible_recall or found[1] < LIMITS.boxes:
        return None
    recall, boxes = found
    return Part(
        "major" if recall < LIMITS.best_possible_recall_major else "minor",
        f"The anchors fit {recall:.0%} of the objects at imgsz {size:g}",
        f"An object whose width or height is more than {ratio:g} times off every anchor is assigned to none, and "
        "nothing is learnt from it.",
        (
            Measurement(
                "best possible recall of the anchors",
                round(recall, 4),
                LIMITS.best_possible_recall,
                n=boxes,
                source=split.source,
            ),
            Measurement("anchors", sum(len(level) for level in checkpoint.anchors), source=checkpoint.source),
        ),
        (
            Remedy(
                "Let autoanchor fit the anchors",
                "YOLOv5 does it at the start of a training, unless it was forbidden or imgsz was another one then.",
                {"noautoanchor": False},
                _AUTOANCHOR_CODE.format(size=round(size), ratio=ratio),
                "https://github.com/ultralytics/yolov5/blob/master/utils/autoanchor.py",
            ),
        ),
        effect=recall,
        n=boxes,
    )


def _fits(run: RunFacts, split: SplitFacts, census: BoxCensus, size: float) -> CheckResult:
    stride = finest_stride(run)
    share = share_smaller(census, LIMITS.reach * stride, size)
    said = [
        f"{share:.1%} of {census.boxes} objects ({split.source}) are below the reach of the finest stride, {stride:g} "
        f"pixels at imgsz {size:g}",
        f"the fullest image holds {census.fullest[0] if census.fullest else 0}",
    ]
    if run.checkpoint is not None and run.checkpoint.anchors:
        found = best_possible_recall(census, run.checkpoint.anchors, size, 4.0)
        said += [f"the anchors fit {found[0]:.1%}"] if found is not None else []
    return passed(CAUSE, f"{'; '.join(said)}.", effect=share, n=census.boxes)


_TILING_CODE = """\
from sahi import AutoDetectionModel
from sahi.predict import get_sliced_prediction

model = AutoDetectionModel.from_pretrained(model_type="ultralytics", model_path="weights/best.pt")
result = get_sliced_prediction(image, model, slice_height={size}, slice_width={size},
                               overlap_height_ratio=0.2, overlap_width_ratio=0.2)
"""

_AUTOANCHOR_CODE = """\
from utils.autoanchor import kmean_anchors  # in YOLOv5's folder

anchors = kmean_anchors("data.yaml", n=9, img_size={size}, thr={ratio:g}, gen=1000)
"""

CHECK = Check(
    cause=CAUSE,
    title="Model architecture and input size",
    question=__doc__ or "",
    statistic=(
        "Share of the validation objects (of training's, where there is no validation split) whose side, sqrt(w h) at "
        "the run's imgsz, is below the reach of the finest stride; refuted where the measured recall shows that they "
        "are found, or where AP of small labels is no lower than that of larger ones. Share of the objects beyond "
        "max_det in their image. For anchor-based heads the best possible recall: the share of training objects that "
        "some anchor of the checkpoint fits within a factor of four in width and height (a sample of 5000)."
    ),
    thresholds=LIMITS,
    false_positives=(
        "Small objects that the user doesn't need; whether they cost mAP where nothing was validated is not measured.",
        "Multi-scale training and scale augmentation show small objects larger at times, and anchors other sizes.",
        "Labels far smaller than their objects (points) look like small objects.",
        "Measured on the corpus (read and not fitted to): no finding in the 13 runs whose data are there; of coco128's "
        "objects 1.1 % are below the reach and its anchors fit 99.5 %.",
    ),
    references=(
        "benchmarks/small_objects.py; yolo.md rows 41, 53, 54",
        "YOLOv5 utils/autoanchor.py",
        "Akyon, Altinuc and Temizel, Slicing aided hyper inference and fine-tuning for small object detection, 2022",
    ),
    examine=examine,
)
