"""The model families that runs are trained with, as narrow networks: their kept checkpoints stay below a megabyte."""

from __future__ import annotations

from typing import Any, Final, Literal

Family = Literal["v8", "11", "26"]
FAMILIES: Final[tuple[Family, ...]] = ("v8", "11", "26")


def description(family: Family, classes: int, *, width: float = 1.0) -> dict[str, Any]:
    """The network's description in ultralytics' form: strides 8 and 16, channels times `width`.

    The families differ in their block (C2f, C3k2) and head (YOLO26: a second head without NMS, no distribution of
    distances).
    """

    def channels(number: int) -> int:
        return max(4, round(number * width / 4) * 4)

    block = "C2f" if family == "v8" else "C3k2"

    def blocks(number: int) -> list[Any]:
        extra: list[Any] = [True] if family == "v8" else [False, 0.5]
        return [channels(number), *extra]

    layers: dict[str, Any] = {
        "nc": classes,
        "backbone": [
            [-1, 1, "Conv", [channels(12), 3, 2]],
            [-1, 1, "Conv", [channels(24), 3, 2]],
            [-1, 1, block, blocks(24)],
            [-1, 1, "Conv", [channels(32), 3, 2]],
            [-1, 1, block, blocks(48)],
            [-1, 1, "Conv", [channels(48), 3, 2]],
            [-1, 1, block, blocks(64)],
            [-1, 1, "SPPF", [channels(64), 5]],
        ],
        "head": [
            [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
            [[-1, 4], 1, "Concat", [1]],
            [-1, 1, block, blocks(48)],
            [-1, 1, "Conv", [channels(48), 3, 2]],
            [[-1, 7], 1, "Concat", [1]],
            [-1, 1, block, blocks(64)],
            [[10, 13], 1, "Detect", ["nc"]],
        ],
    }
    return layers | ({"end2end": True, "reg_max": 1} if family == "26" else {})
