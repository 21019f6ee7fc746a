"""The anchor-based detection head of YOLOv5, written from its equations: one convolution a level, decoded to boxes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AnchorHead(nn.Module):
    """Decodes each level's map of raw values into boxes and class scores.

    A level's convolution gives, for each cell and anchor, 5 + classes values t. With s = sigmoid(t), the cell's column
    and row as (cx, cy), the level's stride d in pixels and the anchor's size (aw, ah) in pixels (research page yolo.md
    B, "v5 inference"):

        x, y = (2 s[0:2] - 0.5 + (cx, cy)) d        w, h = (2 s[2:4])^2 (aw, ah)
        objectness = s[4]                           score of class k = s[4] s[5 + k]

    Names of parameters are those of YOLOv5's state dict: `anchors` (levels, anchors, 2) in cells of its level, and
    `m.<level>.weight` and `.bias`. Anchors are scaled by the stride here; a buffer `anchor_grid` of older versions, the
    same in pixels, is not used.
    """

    def __init__(self, classes: int, anchors: Tensor, channels: list[int], strides: tuple[float, ...]) -> None:
        super().__init__()
        self.classes = classes
        self.strides = strides
        self.anchors: Tensor
        self.register_buffer("anchors", anchors.float())
        per_cell = anchors.shape[1] * (5 + classes)
        self.m = nn.ModuleList(nn.Conv2d(width, per_cell, 1) for width in channels)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps of (images, channels, rows, columns), finest first, to (images, 4 + classes, boxes).

        Boxes are centre x, centre y, width, height in pixels of the input.
        """
        decoded = [self._decoded(index, convolution(levels[index])) for index, convolution in enumerate(self.m)]
        return torch.cat(decoded, dim=1).transpose(1, 2)

    def _decoded(self, index: int, raw: Tensor) -> Tensor:
        """One level, to (images, anchors * rows * columns, 4 + classes)."""
        images, _, rows, columns = raw.shape
        anchors = self.anchors[index]
        values = raw.view(images, len(anchors), 5 + self.classes, rows, columns).permute(0, 1, 3, 4, 2).sigmoid()
        stride = self.strides[index]
        row, column = torch.meshgrid(
            torch.arange(rows, device=raw.device), torch.arange(columns, device=raw.device), indexing="ij"
        )
        cell = torch.stack((column, row), dim=-1).to(raw.dtype)
        centre = (values[..., 0:2] * 2 - 0.5 + cell) * stride
        size = (values[..., 2:4] * 2) ** 2 * (anchors * stride).view(1, -1, 1, 1, 2)
        scores = values[..., 5:] * values[..., 4:5]
        return torch.cat((centre, size, scores), dim=-1).reshape(images, -1, 4 + self.classes)
