"""The model families that runs are trained with, as narrow networks: their kept checkpoints stay below a megabyte."""

from __future__ import annotations

from typing import Any, Final, Literal

Family = Literal["v8", "11", "26", "v5"]
FAMILIES: Final[tuple[Family, ...]] = ("v8", "11", "26")
"""those of the data sets that may set thresholds"""
HELD_OUT_FAMILIES: Final[tuple[Family, ...]] = ("v5", "26")
"""those of the held-out data set, as slim networks: YOLOv5u's blocks, which no other has, and a YOLO26 of another
shape than the others'"""
_BLOCK: Final[dict[Family, str]] = {"v8": "C2f", "11": "C3k2", "26": "C3k2", "v5": "C3"}


def description(family: Family, classes: int, *, width: float = 1.0, slim: bool = False) -> dict[str, Any]:
    """The network's description in ultralytics' form: strides 8 and 16 (`slim`: 8 alone), channels times `width`.

    The families differ in their block (C3, C2f, C3k2) and head (YOLO26: a second head without NMS, no distribution of
    distances). ultralytics rounds channels up to multiples of 8.
    """

    def channels(number: int) -> int:
        return max(4, round(number * width / 4) * 4)

    block = _BLOCK[family]

    def blocks(number: int) -> list[Any]:
        extra: list[Any] = [False, 0.5] if block == "C3k2" else [True]
        return [channels(number), *extra]

    if slim:
        # A checkpoint is mostly bookkeeping, some 3 kB a convolution: few of them, and distances up to 48 pixels.
        layers: dict[str, Any] = {
            "nc": classes,
            "reg_max": 1 if family == "26" else 7,
            "backbone": [
                [-1, 1, "Conv", [channels(8), 3, 2]],
                [-1, 1, "Conv", [channels(16), 3, 2]],
                [-1, 1, "Conv", [channels(24), 3, 2]],
                [-1, 1, block, blocks(24)],
                [-1, 1, "Conv", [channels(40), 3, 2]],
                [-1, 1, block, blocks(40)],
            ],
            "head": [
                [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
                [[-1, 3], 1, "Concat", [1]],
                [-1, 1, block, blocks(24)],
                [[8], 1, "Detect", ["nc"]],
            ],
        }
        return layers | ({"end2end": True} if family == "26" else {})

    layers = {
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
