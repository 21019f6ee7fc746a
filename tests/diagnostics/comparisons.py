"""Facts of both splits together for tests of checks: nothing leaked, nothing shifted, and what to spoil them with."""

from __future__ import annotations

from typing import Any

from runaudit.evaluation.facts import InterventionFacts, LeakageFacts, LeakedPair, PropertyShift, ShiftFacts


def change(name: str, before: float, after: float, half_width: float, **changes: Any) -> InterventionFacts:
    """An intervention on 120 images whose difference is known to `half_width` each way."""
    facts: dict[str, Any] = {
        "name": name,
        "description": "Something was changed.",
        "grade": "intervention",
        "before": before,
        "after": after,
        "difference": after - before,
        "ci95": (after - before - half_width, after - before + half_width),
        "images": 120,
    }
    return InterventionFacts(**(facts | changes))


def leakage(*, exact: int = 0, near: int = 0, scene: int = 0) -> LeakageFacts:
    """Of 100 validation images."""
    leaked = exact + near
    pairs = [("exact", exact), ("near", near), ("scene", scene)]
    return LeakageFacts(
        images=100,
        training_images=400,
        compared=400,
        exact=exact,
        near=near,
        scene=scene,
        share=leaked / 100,
        ci95=(max(0.0, leaked / 100 - 0.05), min(1.0, leaked / 100 + 0.05)),
        repeated=0,
        pairs=tuple(
            LeakedPair(image=f"val/{kind}{n}.jpg", training_image=f"train/{kind}{n}.jpg", kind=kind, similarity=0.99)
            for kind, count in pairs
            for n in range(min(count, 5))
        ),
        leaked=tuple(f"val/{n}.jpg" for n in range(leaked)),
        scene_similarity=0.6,
    )


def property_shift(name: str, distance: float, *, p_value: float = 0.012, upward: bool = False) -> PropertyShift:
    return PropertyShift(
        name=name,
        training=0.5,
        validation=0.8 if upward else 0.3,
        distance=distance,
        ci95=(max(0.0, distance - 0.08), min(1.0, distance + 0.08)),
        p_value=p_value,
        standardised=1.0 if upward else -1.0,
    )


def shift(*properties: PropertyShift, area: float = 0.52, images: int = 120) -> ShiftFacts:
    return ShiftFacts(
        training_images=images,
        validation_images=images,
        groups=2 * images,
        properties=properties or (property_shift("brightness", 0.09, p_value=0.8),),
        area=area,
        p_value=0.005 if area > 0.6 else 0.4,
        null_area=0.6,
    )
