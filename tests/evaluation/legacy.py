"""Small networks as YOLOv5 lays them out, written here in plain torch, and checkpoints of them as its trainer saves.

Nothing of ultralytics or of the code under test is in them: their layers, their decoding (cell by cell) and the pickles
that name `models.yolo` and `models.common` are what a rebuilt network is compared with.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ANCHORS = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119]]
STRIDES = (8.0, 16.0)


def description(generation: str, classes: int = 3) -> dict[str, Any]:
    """The model yaml of the two small networks: `current` is as YOLOv5 6.0 and later write it, `old` as 3.1 did."""
    block = "C3" if generation == "current" else "BottleneckCSP"
    first = ["Conv", [64, 6, 2, 2]] if generation == "current" else ["Focus", [64, 3]]
    pool = ["SPPF", [128, 5]] if generation == "current" else ["SPP", [128, [5, 9, 13]]]
    return {
        "nc": classes,
        "depth_multiple": 0.33,
        "width_multiple": 0.25,
        "anchors": ANCHORS,
        "ch": 3,
        "backbone": [
            [-1, 1, *first],
            [-1, 1, "Conv", [64, 3, 2]],
            [-1, 3, block, [64]],
            [-1, 1, "Conv", [128, 3, 2]],
            [-1, 3, block, [128]],
            [-1, 1, "Conv", [128, 3, 2]],
            [-1, 1, *pool],
        ],
        "head": [
            [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
            [[-1, 4], 1, "Concat", [1]],
            [-1, 3, block, [64, False]],
            [[9, 6], 1, "Detect", ["nc", "anchors"]],
        ],
    }


class Conv(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, act: nn.Module, stride: int = 1, margin: int = -1):
        super().__init__()
        padding = kernel // 2 if margin < 0 else margin
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    def __init__(self, width: int, act: nn.Module, shortcut: bool):
        super().__init__()
        self.cv1, self.cv2 = Conv(width, width, 1, act), Conv(width, width, 3, act)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y


class C3(nn.Module):
    def __init__(self, inputs: int, outputs: int, act: nn.Module, shortcut: bool = True):
        super().__init__()
        half = outputs // 2
        self.cv1, self.cv2, self.cv3 = (
            Conv(inputs, half, 1, act),
            Conv(inputs, half, 1, act),
            Conv(outputs, outputs, 1, act),
        )
        self.m = nn.Sequential(Bottleneck(half, act, shortcut))

    def forward(self, x: Tensor) -> Tensor:
        return self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], dim=1))


class BottleneckCSP(nn.Module):
    def __init__(self, inputs: int, outputs: int, act: nn.Module, shortcut: bool = True):
        super().__init__()
        half = outputs // 2
        self.cv1, self.cv4 = Conv(inputs, half, 1, act), Conv(outputs, outputs, 1, act)
        self.cv2 = nn.Conv2d(inputs, half, 1, bias=False)
        self.cv3 = nn.Conv2d(half, half, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)
        self.act = nn.LeakyReLU(0.1)
        self.m = nn.Sequential(Bottleneck(half, act, shortcut))

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.cv3(self.m(self.cv1(x))), self.cv2(x)], dim=1)
        return self.cv4(self.act(self.bn(both)))


class SPP(nn.Module):
    """Three pools of different sizes side by side."""

    def __init__(self, width: int, act: nn.Module):
        super().__init__()
        self.cv1, self.cv2 = Conv(width, width // 2, 1, act), Conv(width * 2, width, 1, act)
        self.m = nn.ModuleList(nn.MaxPool2d(size, 1, size // 2) for size in (5, 9, 13))

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv1(x)
        return self.cv2(torch.cat([y, *(pool(y) for pool in self.m)], dim=1))


class SPPF(nn.Module):
    """One pool, three times after each other."""

    def __init__(self, width: int, act: nn.Module):
        super().__init__()
        self.cv1, self.cv2 = Conv(width, width // 2, 1, act), Conv(width * 2, width, 1, act)
        self.m = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.cv1(x)]
        for _ in range(3):
            found.append(self.m(found[-1]))
        return self.cv2(torch.cat(found, dim=1))


class Focus(nn.Module):
    """Each 2 x 2 square of pixels becomes one cell with four times the channels."""

    def __init__(self, inputs: int, outputs: int, act: nn.Module):
        super().__init__()
        self.conv = Conv(4 * inputs, outputs, 3, act)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.conv(torch.cat(corners, dim=1))


class Concat(nn.Module):
    pass


class Detect(nn.Module):
    def __init__(self, classes: int, widths: tuple[int, ...], *, anchor_grid: bool):
        super().__init__()
        pixels = torch.tensor(ANCHORS, dtype=torch.float32).view(len(ANCHORS), -1, 2)
        self.register_buffer("anchors", pixels / torch.tensor(STRIDES).view(-1, 1, 1))
        if anchor_grid:
            self.register_buffer("anchor_grid", pixels.clone().view(len(ANCHORS), 1, -1, 1, 1, 2))
        self.m = nn.ModuleList(nn.Conv2d(width, 3 * (5 + classes), 1) for width in widths)


class DetectionModel(nn.Module):
    """One of the two networks of `description`, with random weights; `forward` gives the raw maps of the levels."""

    def __init__(self, generation: str, classes: int = 3, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        old = generation == "old"
        act: nn.Module = nn.Hardswish() if old else nn.SiLU()
        block: Any = BottleneckCSP if old else C3
        self.model = nn.Sequential(
            Focus(3, 16, act) if old else Conv(3, 16, 6, act, 2, 2),
            Conv(16, 16, 3, act, 2),
            block(16, 16, act),
            Conv(16, 32, 3, act, 2),
            block(32, 32, act),
            Conv(32, 32, 3, act, 2),
            SPP(32, act) if old else SPPF(32, act),
            nn.Upsample(None, 2, "nearest"),
            Concat(),
            block(64, 16, act, False),
            Detect(classes, (16, 32), anchor_grid=old),
        )
        self.yaml = description(generation, classes)
        self.names = [f"kind {number}" for number in range(classes)]
        self.stride = torch.tensor(STRIDES)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.6, 1.4)
                module.weight.data.uniform_(0.7, 1.3)
                module.bias.data.uniform_(-0.2, 0.2)
            elif isinstance(module, nn.Conv2d):
                # Wide enough that what an image shows is still seen in the last layer.
                nn.init.kaiming_normal_(module.weight, a=0.1)
        self.eval()

    def forward(self, x: Tensor) -> list[Tensor]:
        for layer in self.model[:5]:
            x = layer(x)
        eighth = x
        sixteenth = self.model[6](self.model[5](x))
        x = self.model[9](torch.cat([self.model[7](sixteenth), eighth], dim=1))
        return [convolution(level) for convolution, level in zip(self.model[-1].m, (x, sixteenth), strict=True)]


def decoded(maps: list[Tensor], anchors: Tensor, strides: tuple[float, ...], classes: int) -> np.ndarray[Any, Any]:
    """The equations of YOLOv5's head for one image, cell by cell: (boxes, 4 + classes), levels one after the other."""
    rows = []
    for level, raw in enumerate(maps):
        values = raw[0].double().numpy()
        _, height, width = values.shape
        for anchor, (anchor_width, anchor_height) in enumerate(anchors[level].double().tolist()):
            for y in range(height):
                for x in range(width):
                    first = anchor * (5 + classes)
                    s = 1 / (1 + np.exp(-values[first : first + 5 + classes, y, x]))
                    box = [
                        (2 * s[0] - 0.5 + x) * strides[level],
                        (2 * s[1] - 0.5 + y) * strides[level],
                        (2 * s[2]) ** 2 * anchor_width * strides[level],
                        (2 * s[3]) ** 2 * anchor_height * strides[level],
                    ]
                    rows.append([*box, *(s[4] * s[5:])])
    return np.array(rows)


_PLACES = {
    "models.common": (Conv, Bottleneck, C3, BottleneckCSP, SPP, SPPF, Focus, Concat),
    "models.yolo": (Detect, DetectionModel),
}


@contextmanager
def _importable(model_class: str) -> Iterator[None]:
    """While this lasts, torch pickles the classes under the names that they have in YOLOv5."""
    before = {name: sys.modules.get(name) for name in ("models", *_PLACES)}
    names = {kind: (kind.__module__, kind.__name__, kind.__qualname__) for kinds in _PLACES.values() for kind in kinds}
    try:
        sys.modules["models"] = ModuleType("models")
        for place, kinds in _PLACES.items():
            sys.modules[place] = ModuleType(place)
            for kind in kinds:
                name = model_class if kind is DetectionModel else kind.__name__
                kind.__module__, kind.__name__, kind.__qualname__ = place, name, name
                setattr(sys.modules[place], name, kind)
        yield
    finally:
        for kind, (module, name, qualified) in names.items():
            kind.__module__, kind.__name__, kind.__qualname__ = module, name, qualified
        for place, module in before.items():
            if module is None:
                del sys.modules[place]
            else:
                sys.modules[place] = module


def write_checkpoint(model: DetectionModel, path: Path, *, model_class: str = "DetectionModel", **opt: Any) -> Path:
    """A stripped best.pt: half precision, no optimizer. Up to 6.2 the model's class was called `Model`."""
    checkpoint = {
        **{"epoch": -1, "best_fitness": None, "model": model.half(), "ema": None, "updates": None, "optimizer": None},
        **{"opt": {"imgsz": 64, "single_cls": False, **opt}, "git": None, "date": "2026-11-24T08:00:00"},
    }
    with _importable(model_class):
        torch.save(checkpoint, path)
    model.float()
    return path
