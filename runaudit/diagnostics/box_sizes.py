"""What a census of boxes says at an input of a given size: shares below a side, anchors' recall, boxes beyond a count.

Images are scaled so that their longer side becomes imgsz (letterbox), and boxes with them.
"""

from __future__ import annotations

import numpy as np

from runaudit.diagnostics.history import number
from runaudit.runs.facts import BoxCensus, RunFacts

BINS_PER_OCTAVE = 8
FIRST_OCTAVE = -12
"""of `BoxCensus.sizes`"""


def input_size(run: RunFacts) -> tuple[float, str] | None:
    """The longer side of the network's input in pixels and the place that says so; None where nothing does."""
    for key in ("imgsz", "img_size"):
        value = run.argument(key)
        sides = [number(item, 0.0) for item in (value if isinstance(value, list) else [value])]
        if sides and 32 <= max(sides) <= 65_536:
            places = run.configuration.places if run.configuration is not None else {}
            return max(sides), places.get(key, key)
    log = run.log
    if log is not None and log.image_size is not None and 32 <= log.image_size <= 65_536:
        return float(log.image_size), log.places.get("image_size", "the log")
    return None


def share_smaller(census: BoxCensus, side: float, size: float) -> float:
    """Share of the boxes whose sqrt(w h) is below `side` pixels at an input of `size` pixels, in [0, 1]."""
    if census.boxes <= 0 or side <= 0:
        return 0.0
    position = (np.log2(side / size) - FIRST_OCTAVE) * BINS_PER_OCTAVE
    cumulative = np.concatenate([[0.0], np.cumsum(census.sizes)])
    return float(np.interp(position, np.arange(cumulative.size), cumulative) / census.boxes)


def size_for(census: BoxCensus, side: float, share: float) -> int | None:
    """The smallest input, a multiple of 32 pixels, at which at most `share` of the boxes are below `side` pixels.

    None without boxes, or where more than that share have no size to enlarge.
    """
    # The first bin holds boxes without an area too, which no input makes large enough.
    if census.boxes <= 0 or census.sizes[0] > share * census.boxes:
        return None
    cumulative = np.concatenate([[0.0], np.cumsum(census.sizes)]) / census.boxes
    # The last edge up to which no more than `share` lies; from there to the next the census is taken for even.
    positions = np.linspace(0, cumulative.size - 1, 16 * (cumulative.size - 1) + 1)
    below = positions[np.interp(positions, np.arange(cumulative.size), cumulative) <= share]
    size = side / 2.0 ** (float(below[-1]) / BINS_PER_OCTAVE + FIRST_OCTAVE)
    return 32 * int(np.ceil(size / 32 - 1e-9))


def share_beyond(census: BoxCensus, most: int) -> float:
    """Share of all boxes that exceed `most` in their image, in [0, 1]: no detection is left for them.

    A lower bound where more than 1000 images are fuller than `most`, since the census keeps 1000.
    """
    if census.boxes <= 0:
        return 0.0
    beyond = sum(max(0, count - most) for count in census.fullest)
    return min(1.0, beyond / census.boxes)


def best_possible_recall(
    census: BoxCensus, anchors: tuple[tuple[tuple[float, float], ...], ...], size: float, ratio: float
) -> tuple[float, int] | None:
    """Share of the boxes that some anchor may be assigned to in training, and of how many; None without either.

    A box fits an anchor if neither its width nor its height is more than `ratio` times the anchor's or less than 1 /
    `ratio` of it: YOLOv5's own rule (utils/autoanchor.py check_anchors; diagnostics.md "Architecture issues").
    """
    flat = np.asarray([anchor for level in anchors for anchor in level], dtype=np.float64).reshape(-1, 2)
    boxes = np.maximum(np.asarray(census.sample, dtype=np.float64).reshape(-1, 2) * size, 1e-6)
    if not len(flat) or not len(boxes) or ratio <= 1:
        return None
    quotient = boxes[:, None, :] / flat[None, :, :]
    worst = np.minimum(quotient, 1.0 / quotient).min(axis=2)
    return float((worst.max(axis=1) > 1.0 / ratio).mean()), len(boxes)
