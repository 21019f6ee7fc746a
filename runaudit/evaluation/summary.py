"""The facts of a pass: metrics, intervals, classes and settings, read off its matches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from pydantic import JsonValue

from runaudit.evaluation.average_precision import DetectionMetrics, detection_metrics
from runaudit.evaluation.blank_images import blank_facts
from runaudit.evaluation.bootstrap import Bootstrap, bootstrap, interval, metric_interval
from runaudit.evaluation.clock import Clock
from runaudit.evaluation.distinct_images import distinct_images
from runaudit.evaluation.facts import BoxMetrics, ClassMetrics, EvaluationFacts, FurtherGeometry, Interval
from runaudit.evaluation.framework import framework
from runaudit.evaluation.image_groups import Split, image_groups
from runaudit.evaluation.inference import describe_device
from runaudit.evaluation.keypoints import scales
from runaudit.evaluation.labels import Labelled, no_labels, too_crowded
from runaudit.evaluation.masks import RATIO
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.network import Network
from runaudit.evaluation.polygons import OUTLINE_POINTS
from runaudit.evaluation.rotated_boxes import similarity_of
from runaudit.evaluation.statistics import statistics
from runaudit.evaluation.touching_boxes import TooCrowdedError
from runaudit.evaluation.validation_pass import Passed
from runaudit.runs.facts import CheckpointFacts, Task

FURTHER: Final[dict[Task, FurtherGeometry]] = {"segment": "mask", "pose": "pose"}
"""what a task is measured by beside boxes"""


@dataclass(frozen=True)
class Measured:
    """What a validation yields: the facts for the report, and the pass and replicates that all else is read from.

    `repeated` images of it are copies of an earlier one.
    """

    facts: EvaluationFacts
    passed: Passed
    replicates: Bootstrap
    repeated: int = 0

    @property
    def matches(self) -> Matches:
        """The matches of the pass."""
        return self.passed.matches


def summarize(
    checkpoint: CheckpointFacts, network: Network, passed: Passed, *, replicates: int, seed: int, clock: Clock
) -> Measured:
    """Metrics by the protocol of the pass, with intervals by bootstrap over images, or over groups of those that belong
    together where the pass took properties by which these are found.

    Raises DatasetError `no_labelled_validation_images` if no image that could be decoded has a label, or
    `boxes_too_crowded`.
    """
    settings, labelled = passed.settings, passed.labelled
    protocol = settings.protocol
    if not len(passed.matches.gt_cls):
        raise no_labels(labelled.split)
    repeated = 0
    if passed.properties is not None:
        with clock.stage("group"):
            together = image_groups(Split.of(passed), seed=seed)
        repeated = together.repeated
        passed = replace(passed, matches=replace(passed.matches, group=together.group))
    matches = passed.matches
    with clock.stage("metrics"):
        metrics = detection_metrics(
            matches.tp, matches.det_conf, matches.det_cls, matches.gt_cls, kind=protocol.average_precision
        )
    with clock.stage("bootstrap"):
        samples = bootstrap(matches, replicates=replicates, seed=seed, kind=protocol.average_precision)
    with clock.stage("statistics"):
        try:
            found = statistics(
                matches,
                confidence=protocol.confidence,
                replicates=replicates,
                seed=seed,
                similarity=similarity_of(matches),
            )
        except TooCrowdedError as error:
            raise too_crowded(passed.file_of(error.group), labelled.split) from error
    further, geometry = None, FURTHER.get(network.task)
    ci95 = intervals(samples, metrics)
    if geometry is not None and matches.tp_further is not None:
        # The same detections and labels, with other true positives.
        by_further = replace(matches, tp=matches.tp_further)
        with clock.stage("metrics"):
            further = detection_metrics(
                by_further.tp, matches.det_conf, matches.det_cls, matches.gt_cls, kind=protocol.average_precision
            )
        with clock.stage("bootstrap"):
            replicated = bootstrap(by_further, replicates=replicates, seed=seed, kind=protocol.average_precision)
        ci95 |= {f"{geometry}_{name}": found for name, found in intervals(replicated, further).items()}
    facts = EvaluationFacts(
        split=labelled.split,
        images=len(matches.image),
        instances=len(matches.gt_cls),
        task=network.task,
        metrics=box_metrics(metrics),
        further={geometry: box_metrics(further)} if geometry is not None and further is not None else {},
        ci95=ci95,
        replicates=replicates,
        distinct_images=distinct_images(matches),
        groups=int(matches.unit.max()) + 1,
        confidence_threshold=metrics.confidence_threshold,
        per_class=per_class_metrics(checkpoint, network, matches, metrics, samples, further=further),
        settings=_settings(network, passed, seed=seed),
        device=describe_device(network.device),
        seconds={name: round(seconds, 4) for name, seconds in clock.seconds.items()},
        skipped=passed.skipped,
        blank=blank_facts(passed),
        error_types=found.error_types,
        per_size=found.per_size,
        thresholds=found.thresholds,
        calibration=found.calibration,
        lrp=found.lrp,
    )
    return Measured(facts=facts, passed=passed, replicates=samples, repeated=repeated)


def box_metrics(metrics: DetectionMetrics) -> BoxMetrics:
    """The mean over classes."""
    return BoxMetrics(
        map50=metrics.map50,
        map50_95=metrics.map50_95,
        precision=float(metrics.precision.mean()),
        recall=float(metrics.recall.mean()),
        f1=float(metrics.f1.mean()),
    )


def intervals(samples: Bootstrap, metrics: DetectionMetrics) -> dict[str, Interval]:
    """The intervals of mAP50 and mAP50-95, as far as there are any."""
    named = {
        "map50": metric_interval(interval(samples.map50), metrics.map50, samples.distinct),
        "map50_95": metric_interval(interval(samples.map50_95), metrics.map50_95, samples.distinct),
    }
    return {name: found for name, found in named.items() if found is not None}


def per_class_metrics(
    checkpoint: CheckpointFacts,
    network: Network,
    matches: Matches,
    metrics: DetectionMetrics,
    samples: Bootstrap,
    *,
    further: DetectionMetrics | None = None,
) -> tuple[ClassMetrics, ...]:
    """One entry a class of the network, with metrics where it has labels; `further` are those by masks or keypoints."""
    pairs = np.unique(np.stack([matches.gt_image, matches.gt_cls]), axis=1)
    images = np.bincount(pairs[1], minlength=network.classes)
    row_of = {int(class_id): row for row, class_id in enumerate(metrics.classes)}
    entries = []
    for class_id in range(network.classes):
        name, row = checkpoint.names.get(class_id, str(class_id)), row_of.get(class_id)
        if row is None:
            entries.append(ClassMetrics(class_id=class_id, name=name, images=0, instances=0))
            continue
        entries.append(
            ClassMetrics(
                class_id=class_id,
                name=name,
                images=int(images[class_id]),
                instances=int(metrics.instances[row]),
                precision=float(metrics.precision[row]),
                recall=float(metrics.recall[row]),
                f1=float(metrics.f1[row]),
                map50=float(metrics.average_precision[row, 0]),
                map50_95=float(metrics.average_precision[row].mean()),
                map50_95_ci95=metric_interval(
                    interval(samples.class_map50_95[:, row]),
                    float(metrics.average_precision[row].mean()),
                    int(samples.class_distinct[row]),
                ),
                further_map50_95=float(further.average_precision[row].mean()) if further is not None else None,
            )
        )
    return tuple(entries)


def _settings(network: Network, passed: Passed, *, seed: int) -> dict[str, JsonValue]:
    """All that the figures depend on."""
    settings, labelled = passed.settings, passed.labelled
    units = int(passed.matches.unit.max()) + 1
    protocol, max_detections, single_cls = settings.protocol, settings.max_detections, settings.single_cls
    common: dict[str, JsonValue] = {
        "protocol": protocol.name,
        "framework_version": str(framework().__version__),
        "task": network.task,
        "imgsz": settings.imgsz,
        "batch": protocol.batch,
        "rect": True,
        "pad": protocol.pad,
        "shrinking": "area" if protocol.shrinks_by_area else "linear",
        "sides_capped": protocol.capped_sides,
        "box_margins": "whole" if protocol.whole_margins else "half",
        "stride": network.stride,
        "single_cls": single_cls,
        "conf": protocol.confidence,
        "iou": protocol.iou,
        "max_det": max_detections,
        "max_det_raised": max_detections > protocol.max_detections,
        "multi_label": True,
        "agnostic_nms": single_cls,
        "nms_time_limit": None,
        "head": "one-to-many" if network.two_heads else "single",
        "half": False,
        "fused": True,
        "tf32": network.device.type == "cuda" and bool(torch.backends.cudnn.allow_tf32),
        "augment": False,
        "matching": protocol.matching,
        "matched_in": protocol.matched_in,
        "average_precision": protocol.average_precision.convention,
        "labels_of_unknown_classes": labelled.unknown,
        "bootstrap_seed": seed,
        "bootstrap_unit": "image" if units == len(passed.matches.image) else "group",
        "bootstrap_groups": units,
    }
    return common | _further_settings(network, labelled)


def _further_settings(network: Network, labelled: Labelled) -> dict[str, JsonValue]:
    """What only one task's figures depend on."""
    if network.task == "segment":
        return {"overlap_mask": True, "mask_ratio": RATIO, "polygon_points": OUTLINE_POINTS}
    if network.task == "obb":
        return {"box_similarity": "probabilistic IoU"}
    if network.keypoint_shape is not None:
        sigmas = scales(network.keypoint_shape, labelled.sigmas)
        return {"kpt_shape": list(network.keypoint_shape), "kpt_oks_sigmas": [round(float(s), 6) for s in sigmas]}
    return {}
