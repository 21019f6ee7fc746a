"""What helps against class imbalance, as remedies with the weights that the counts give."""

from __future__ import annotations

from typing import Final

from runaudit.diagnostics.counting import Counts, balanced_weights
from runaudit.diagnostics.evidence import Evidence, Remedy
from runaudit.diagnostics.label_issues import labels_are_missing
from runaudit.runs.facts import DatasetFacts, SplitFacts

MOST_WEIGHTS: Final = 200
"""Classes up to which a list of weights is still of use to a reader of the report."""

_REPEAT_FACTOR_CODE: Final = """\
share = (image_has_class.sum(0) / len(image_has_class)).clamp(min=1e-6)  # image_has_class: (images, classes) bool
factor = (0.001 / share).sqrt().clamp(min=1.0)
repeat = torch.where(image_has_class, factor, 1.0).amax(1)
sampler = torch.utils.data.WeightedRandomSampler(repeat, num_samples=len(repeat))
"""

_CLASS_SAMPLER_CODE: Final = """\
count = torch.bincount(torch.tensor(dataset.targets)).clamp(min=1)  # dataset: torchvision.datasets.ImageFolder
weight = count[torch.tensor(dataset.targets)].rsqrt()
sampler = torch.utils.data.WeightedRandomSampler(weight, num_samples=len(weight))
"""


def remedies(
    evidence: Evidence, dataset: DatasetFacts, train: SplitFacts, counts: Counts, *, beta: float
) -> tuple[Remedy, ...]:
    """In the order of what helped on YOLO: more and mixed instances, then sampling, then weights (B1).

    `counts` are the training instances of each class; `beta` is that of the effective number of samples.
    """
    if evidence.run.task == "classify":
        return _of_classifier(counts, beta)
    weights = ", ".join(f"{weight:.3f}" for weight in balanced_weights(counts, beta))
    found = [
        Remedy("Collect more of the rare classes", "The only remedy without a side effect."),
        Remedy(
            "Show rare classes more often by mosaic, mixup and copy-paste",
            "Mosaic with mixup helped a YOLOv5 on a long-tailed COCO where sampling and weights did not (arXiv "
            "2403.07113). "
            "copy_paste needs polygons in the labels.",
            {"mosaic": 1.0, "mixup": 0.15, "copy_paste": 0.3},
        ),
        Remedy(
            "Sample images by repeat factors",
            "Images of a rare class are shown max(1, sqrt(t / f)) times, f the share of images with it (LVIS).",
            code=_REPEAT_FACTOR_CODE,
            reference="https://arxiv.org/abs/1908.03195",
        ),
        Remedy(
            "Weight the class loss by the effective number of samples",
            "Mean 1, computed from this training split's counts; only in a training loop of one's own.",
            {"cls_pw": 0.25} if evidence.run.argument("cls_pw") is not None else {},
            f"weights = torch.tensor([{weights}])\nloss = torch.nn.BCEWithLogitsLoss(pos_weight=weights)\n"
            if counts.size <= MOST_WEIGHTS
            else None,
            "https://arxiv.org/abs/1901.05555",
        ),
    ]
    if train.missing_labels == 0 and not dataset.notes and not labels_are_missing(evidence):
        found.append(
            Remedy(
                "Focal loss, as the last resort",
                "Only where no label is missing: it raises the weight of unlabelled objects most (SAFECOMP 2021).",
                {"fl_gamma": 1.5} if evidence.run.framework == "yolov5" else {},
                "loss = torchvision.ops.sigmoid_focal_loss(logits, targets, alpha=0.25, gamma=1.5, reduction='mean')\n",
            )
        )
    return tuple(found)


def _of_classifier(counts: Counts, beta: float) -> tuple[Remedy, ...]:
    """Mixing images by mosaic or copy-paste is not there for class folders; sampling and weights are."""
    weights = ", ".join(f"{weight:.3f}" for weight in balanced_weights(counts, beta))
    return (
        Remedy("Collect more of the rare classes", "The only remedy without a side effect."),
        Remedy(
            "Sample images of rare classes more often",
            "By the root of the inverse count, which lies between the classes' own shares and equal shares; only in a "
            "training loop of one's own.",
            code=_CLASS_SAMPLER_CODE,
            reference="https://arxiv.org/abs/1805.00932",
        ),
        Remedy(
            "Weight the loss by the effective number of samples",
            "Mean 1, computed from this training split's counts; only in a training loop of one's own.",
            code=f"weights = torch.tensor([{weights}])\nloss = torch.nn.CrossEntropyLoss(weight=weights)\n"
            if counts.size <= MOST_WEIGHTS
            else None,
            reference="https://arxiv.org/abs/1901.05555",
        ),
    )
