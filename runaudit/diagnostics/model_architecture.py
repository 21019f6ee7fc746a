"""Do stride, anchors, imgsz and max_det fit the objects?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.answers import inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.box_sizes import best_possible_recall, input_size, share_beyond, share_smaller
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy
from runaudit.diagnostics.history import number
from runaudit.diagnostics.parts import Part, joined, present
from runaudit.diagnostics.small_objects import LIMITS as SMALL
from runaudit.diagnostics.small_objects import Thresholds as SmallThresholds
from runaudit.diagnostics.small_objects import finest_stride, too_few_pixels
from runaudit.diagnostics.thresholds import threshold
from runaudit.runs.facts import BoxCensus, RunFacts, SplitFacts

CAUSE: Final = "model_architecture"


@dataclass(frozen=True)
class Thresholds:
    beyond: float = threshold(
        0.02, "Share of the boxes beyond max_det, from which it is major: recall can't exceed what is left."
    )
    best_possible_recall: float = threshold(0.98, "YOLOv5 fits new anchors from here on down (diagnostics.md 0.2).")
    best_possible_recall_major: float = threshold(
        0.9,
        "A tenth of the objects has no anchor to be learnt by: more than 2 points of mAP50-95 wherever the others "
        "reach 0.2. Reported cases have 0.11, 0.38 and 0.70 (yolo.md row 54).",
    )
    swept: float = threshold(
        0.02,
        "The report contract's 2 points, at the lower end of what another imgsz gains without training again. Networks "
        "gain a little at somewhat more than they were trained at (Touvron et al., NeurIPS 2019): the healthy example "
        "0.020 (0.008 to 0.031) at 192 instead of 160.",
    )
    small: SmallThresholds = SMALL
    boxes: int = threshold(
        30, "Boxes below which shares of them are not judged: the standard error of a tenth is 0.055 then."
    )


LIMITS = Thresholds()

DEFAULT_MAX_DET = 300
SWEPT: Final = "imgsz_"
"""how the names of interventions begin that pass the images at another size"""


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
            too_few_pixels(evidence, judged, judged.box_census, size),
            _crowded(evidence, val),
            _anchors(run, train if _counted(train) else judged, size[0]),
            _served_better(evidence, size[0]),
        )
    )
    if parts:
        return joined(CAUSE, parts)
    return _fits(run, judged, judged.box_census, size[0])


def _counted(split: SplitFacts | None) -> bool:
    return split is not None and split.box_census is not None and split.box_census.boxes >= LIMITS.boxes


def _served_better(evidence: Evidence, size: float) -> Part | None:
    """Another size of the input that the same weights do surely better at (depth `deep` tries some)."""
    swept = [one for one in evidence.interventions if one.name.startswith(SWEPT)]
    better = [one for one in swept if one.ci95 is not None and one.ci95[0] >= LIMITS.swept]
    if not better:
        return None
    best = max(better, key=lambda one: one.difference)
    imgsz = int(best.name.removeprefix(SWEPT))
    return Part(
        "major",
        f"The same weights do better at imgsz {imgsz} than at {size:g}, by {best.difference:.3f} mAP50-95",
        f"{len(swept)} other sizes were tried without training again, so that the best of them is a little flattered.",
        tuple(
            Measurement(
                f"mAP50-95 gained at imgsz {one.name.removeprefix(SWEPT)}",
                round(one.difference, 4),
                LIMITS.swept,
                one.ci95,
                one.images,
            )
            for one in swept
        ),
        (
            Remedy(
                f"Use the model at imgsz={imgsz}, and train the next one there",
                "Inference costs as many times more as the image has more pixels.",
                {"imgsz": imgsz},
            ),
        ),
        Impact("lowers", best.difference, best.ci95, "intervention"),
        effect=best.difference,
        n=best.images,
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
    share = share_smaller(census, SMALL.reach * stride, size)
    said = [
        f"{share:.1%} of {census.boxes} objects ({split.source}) are below the reach of the finest stride, {stride:g} "
        f"pixels at imgsz {size:g}",
        f"the fullest image holds {census.fullest[0] if census.fullest else 0}",
    ]
    if run.checkpoint is not None and run.checkpoint.anchors:
        found = best_possible_recall(census, run.checkpoint.anchors, size, 4.0)
        said += [f"the anchors fit {found[0]:.1%}"] if found is not None else []
    return passed(CAUSE, f"{'; '.join(said)}.", effect=share, n=census.boxes)


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
        "are found, or where AP of small labels is no lower than that of larger ones. Whether images are shrunk while "
        "most objects end below two cells; of the two the graver is told. At stake is what AP of the labels of COCO's "
        "sizes below the limit lacks against larger ones, by their share. Share of the objects beyond max_det in their "
        "image. For anchor-based heads the best possible recall: the share of training objects that some anchor of the "
        "checkpoint fits within a factor of four in width and height (a sample of 5000). At depth deep, mAP50-95 of "
        "the same weights at three other sizes of the input, paired by image."
    ),
    thresholds=LIMITS,
    false_positives=(
        "Small objects that the user doesn't need; whether they cost mAP where nothing was validated is not measured.",
        "Multi-scale training and scale augmentation show small objects larger at times, and anchors other sizes.",
        "Labels far smaller than their objects (points) look like small objects.",
        "Measured on the corpus (read and not fitted to): no finding in the 13 runs on three data sets that are there; "
        "of coco128's objects 1.1 % are below the reach and its anchors fit 99.5 %.",
    ),
    references=(
        "benchmarks/small_objects.py; yolo.md rows 41, 53, 54",
        "YOLOv5 utils/autoanchor.py",
        "Touvron, Vedaldi, Douze and Jegou, Fixing the train-test resolution discrepancy, NeurIPS 2019",
        "Akyon, Altinuc and Temizel, Slicing aided hyper inference and fine-tuning for small object detection, 2022",
    ),
    examine=examine,
)
