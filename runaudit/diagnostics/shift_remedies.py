"""Augmentation aimed at the properties that drifted, as training arguments and as an albumentations Compose."""

from __future__ import annotations

from typing import Any, Final

from runaudit.diagnostics.evidence import Remedy
from runaudit.diagnostics.history import number
from runaudit.evaluation.facts import PropertyShift
from runaudit.runs.facts import RunFacts

TRANSFORMS: Final = {
    "brightness": "A.RandomBrightnessContrast(brightness_limit=(-{far:.2f}, {far:.2f}), contrast_limit=0.2, p=0.5)",
    "contrast": "A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=(-{far:.2f}, {far:.2f}), p=0.5)",
    "saturation": "A.HueSaturationValue(hue_shift_limit=0, sat_shift_limit=(-100, 60), val_shift_limit=0, p=0.5)",
    "green_red": "A.ColorJitter(brightness=0, contrast=0, saturation=0.2, hue=0.05, p=0.5)",
    "blue_yellow": "A.PlanckianJitter(mode='blackbody', p=0.5)",
    "sharpness": "A.OneOf([A.GaussianBlur(sigma_limit=(0.5, 3.0)), A.MotionBlur(blur_limit=7)], p=0.5)",
    "noise": "A.OneOf([A.GaussNoise(std_range=(0.02, 0.12)), A.ISONoise()], p=0.5)",
    "blockiness": "A.ImageCompression(quality_range=(30, 90), p=0.5)",
    "pixels": "A.Downscale(scale_range=(0.4, 0.9), p=0.3)",
}
"""The transform of albumentations 2 that spreads a property; others have none that keeps boxes right."""

OTHER_WAY: Final[dict[str, str | None]] = {
    "sharpness": "A.Sharpen(alpha=(0.2, 0.5), p=0.5)",
    "noise": None,
    "blockiness": None,
    "pixels": None,
}
"""What to do instead where validation lies on the other side: sharper, cleaner or larger than training."""

CODE: Final = """\
import albumentations as A

transform = A.Compose(
    [
{lines}
    ],
    bbox_params=A.BboxParams(format="yolo", label_fields=["class_labels"]),
)
"""


def remedies(shifted: tuple[PropertyShift, ...], run: RunFacts) -> tuple[Remedy, ...]:
    """What would cover or mend the shift, most specific first."""
    found = []
    covered = [(one, transform) for one in shifted[:4] if (transform := _transform(one)) is not None]
    if covered:
        lines = dict.fromkeys(f"        {transform.format(far=_far(one))}," for one, transform in covered)
        found.append(
            Remedy(
                "Augment the properties that drifted: " + ", ".join(one.name for one, _ in covered),
                "Training images then cover the range that validation images have. Give it to training as "
                "`augmentations=[...]` (ultralytics 8.4.190 has it), or in one's own loop.",
                code=CODE.format(lines="\n".join(lines)),
                reference="https://albumentations.ai/docs/",
            )
        )
    patch = _patch({one.name: one for one in shifted}, run)
    if patch:
        found.append(Remedy("Widen the framework's own augmentation", "The same by training arguments alone.", patch))
    found += [
        Remedy(
            "Split again, stratified by group",
            "If both splits are meant to be of one kind, draw them again, whole scenes or days at a time.",
        ),
        Remedy(
            "Collect and label training images of validation's kind, or curate validation again",
            "Validation has to look like what the model will meet; if it does, training has to follow.",
        ),
    ]
    return tuple(found)


def _transform(one: PropertyShift) -> str | None:
    upward = one.validation > one.training
    # Training is made less sharp and noisier to meet such images; the property's usual transform is that.
    other_way = upward if one.name in ("sharpness", "pixels") else not upward
    return OTHER_WAY[one.name] if one.name in OTHER_WAY and other_way else TRANSFORMS.get(one.name)


def _far(one: PropertyShift) -> float:
    """How far validation lies from training, as a share of training's mean, with a margin, at most 0.8."""
    return min(0.8, max(0.2, 1.3 * abs(one.validation / one.training - 1))) if one.training else 0.3


def _patch(shifted: dict[str, PropertyShift], run: RunFacts) -> dict[str, Any]:
    """Wider hsv_* and scale where the property is one that they move. Defaults: 0.015, 0.7, 0.4, 0.5."""
    patch: dict[str, Any] = {}
    if "brightness" in shifted:
        patch["hsv_v"] = round(min(0.9, max(number(run.argument("hsv_v"), 0.4), _far(shifted["brightness"]))), 2)
    if "saturation" in shifted:
        patch["hsv_s"] = 0.9
    if shifted.keys() & {"green_red", "blue_yellow"}:
        patch["hsv_h"] = round(max(0.03, 2 * number(run.argument("hsv_h"), 0.015)), 3)
    if shifted.keys() & {"object_size", "pixels"}:
        patch["scale"] = round(min(0.9, max(0.7, number(run.argument("scale"), 0.5) + 0.2)), 2)
    return patch
