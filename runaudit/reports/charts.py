"""Pictures as SVG: lines, bars with intervals, and a reliability diagram. Plain shapes, no style, no script.

Words are in the colour of the page (`currentColor`); the colours of data have a contrast of 3 or more against white and
against near black (WCAG 2.2, 1.4.11), so that one picture serves light and dark pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from runaudit.reports.axes import Axis, axis, label
from runaudit.reports.elements import Markup, element, joined
from runaudit.reports.escape import visible

WIDTH: Final = 640
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 16, 44
COLOURS: Final = ("#2f7fd0", "#c2610c", "#2b8a57", "#9a5fc4", "#b0703a", "#0f8591")
GREY: Final = "#7c7c7c"
LONGEST_NAME: Final = 26
# More points than pixels can't be seen, and a run may have many thousands of rows.
MOST_POINTS: Final = 1200


@dataclass(frozen=True)
class Line:
    """A named series; None is a gap. Series of one `colour` index belong together, a `dashed` one is the second."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    colour: int
    dashed: bool = False


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart: its value, whole where it is a count, and 95 % interval, in the chart's unit."""

    name: str
    value: float
    ci95: tuple[float, float] | None = None
    colour: int = 0


@dataclass(frozen=True)
class Band:
    """A level across a line chart, with its interval."""

    name: str
    value: float
    ci95: tuple[float, float] | None = None


@dataclass(frozen=True)
class Dot:
    """One bin of a reliability diagram; `share` of all detections, in [0, 1], is its area."""

    x: float
    y: float
    share: float


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_title: str,
    marked: tuple[float, str] | None = None,
    band: Band | None = None,
    least: float | None = None,
    may_be_logarithmic: bool = False,
) -> Markup:
    """Series over a common x; `marked` is an x with its name, drawn as a vertical line; `least` is always shown."""
    height = 320
    across = axis((value for line in lines for value in line.x), LEFT, WIDTH - RIGHT)
    levels = [value for line in lines for value in line.y if value is not None]
    levels += [band.value, *(band.ci95 or ())] if band is not None else []
    top = TOP + 18 * _legend_rows(lines, band)
    upright = axis(levels, height - BOTTOM, top, least=least, may_be_logarithmic=may_be_logarithmic)
    parts = [*_grid(across, upright, x_title, height)]
    if band is not None:
        parts += _band(band, across, upright)
    if marked is not None:
        parts += _marker(marked, across, upright)
    parts += [_polyline(line, across, upright) for line in lines]
    parts += _legend(lines, band)
    return _picture(title, height, parts)


def bar_chart(
    title: str, bars: Sequence[Bar], *, x_title: str, least: float = 0.0, most: float | None = None
) -> Markup:
    """A horizontal bar a row, from 0, with its interval as a whisker, and its value in words."""
    row, left, right = 22, 190, 64
    height = TOP + row * len(bars) + BOTTOM
    values = [end for bar in bars for end in (bar.value, *(bar.ci95 or ()))]
    spread = axis(values, left, WIDTH - right, least=min(least, 0.0), most=most if most is not None else 0.0)
    across = Axis(spread.low, spread.high, left, WIDTH - right)
    parts = [*_vertical_marks(across, TOP, height - BOTTOM), _words(x_title, (left + WIDTH - right) / 2, height - 8)]
    for index, bar in enumerate(bars):
        middle = TOP + row * (index + 0.5)
        zero, end = across.at(0.0), across.at(bar.value)
        colour = COLOURS[bar.colour % len(COLOURS)]
        parts.append(_words(_short(bar.name), left - 8, middle + 4, anchor="end", whole=bar.name))
        parts.append(element("rect", x=min(zero, end), y=middle - 7, width=abs(end - zero), height=14.0, fill=colour))
        if bar.ci95 is not None:
            parts += _whisker(across.at(bar.ci95[0]), across.at(bar.ci95[1]), middle)
        said = str(bar.value) if isinstance(bar.value, int) else f"{bar.value:.3f}"
        parts.append(_words(said, WIDTH - right + 8, middle + 4, anchor="start"))
    return _picture(title, height, parts)


def reliability(title: str, dots: Sequence[Dot], *, x_title: str, y_title: str) -> Markup:
    """Precision over confidence, both in [0, 1], with the diagonal on which a calibrated model lies."""
    height = 380
    across, upright = Axis(0.0, 1.0, LEFT, LEFT + height - BOTTOM - TOP), Axis(0.0, 1.0, height - BOTTOM, TOP)
    parts = [
        *_grid(across, upright, x_title, height),
        element("line", x1=across.start, y1=upright.start, x2=across.end, y2=upright.end, stroke=GREY,
                stroke_dasharray="4 4"),
        _words(y_title, across.end + 16, upright.at(0.5), anchor="start"),
    ]  # fmt: skip
    for dot in dots:
        # The area, not the radius, tells the number; the least dot can still be seen.
        radius = 3 + 12 * dot.share**0.5
        parts.append(
            element("circle", cx=across.at(dot.x), cy=upright.at(dot.y), r=radius, fill=COLOURS[0], fill_opacity=0.75)
        )
    return _picture(title, height, parts)


def _picture(title: str, height: int, parts: Iterable[Markup]) -> Markup:
    return element(
        "svg",
        element("title", title),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height}",
        width=WIDTH,
        height=height,
        role="img",
        aria_label=title,
        font_family="system-ui, sans-serif",
        font_size=12,
        fill="currentColor",
    )


def _grid(across: Axis, upright: Axis, x_title: str, height: int) -> list[Markup]:
    parts = _vertical_marks(across, upright.end, upright.start)
    for mark in upright.marks():
        y = upright.at(mark)
        parts.append(_rule(across.start, y, across.end, y))
        parts.append(_words(label(mark), across.start - 6, y + 4, anchor="end"))
    parts.append(_words(x_title, (across.start + across.end) / 2, height - 8))
    return parts


def _vertical_marks(across: Axis, top: float, bottom: float) -> list[Markup]:
    parts = []
    for mark in across.marks():
        x = across.at(mark)
        parts += [_rule(x, top, x, bottom), _words(label(mark), x, bottom + 16)]
    return parts


def _rule(x1: float, y1: float, x2: float, y2: float) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=GREY, stroke_opacity=0.3)


def _words(text: str, x: float, y: float, *, anchor: str = "middle", whole: str | None = None) -> Markup:
    """Text at a place; `whole` is what a shortened one stands for, shown when pointed at."""
    children = [element("title", whole)] if whole is not None and whole != text else []
    return element("text", *children, text, x=x, y=y, text_anchor=anchor)


def _short(name: str) -> str:
    shown = visible(name)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"


def _whisker(low: float, high: float, middle: float) -> list[Markup]:
    ends = ((low, middle, high, middle), (low, middle - 4, low, middle + 4), (high, middle - 4, high, middle + 4))
    return [element("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke="currentColor") for x1, y1, x2, y2 in ends]


def _band(band: Band, across: Axis, upright: Axis) -> list[Markup]:
    y = upright.at(band.value)
    parts = []
    if band.ci95 is not None:
        low, high = upright.at(band.ci95[0]), upright.at(band.ci95[1])
        parts.append(
            element("rect", x=across.start, y=high, width=across.end - across.start, height=max(low - high, 1.0),
                    fill=GREY, fill_opacity=0.25)
        )  # fmt: skip
    parts.append(element("line", x1=across.start, y1=y, x2=across.end, y2=y, stroke=GREY, stroke_width=2))
    return parts


def _marker(marked: tuple[float, str], across: Axis, upright: Axis) -> list[Markup]:
    value, name = marked
    x = across.at(value)
    anchor = "end" if x > (across.start + across.end) / 2 else "start"
    return [
        element("line", x1=x, y1=upright.end, x2=x, y2=upright.start, stroke="currentColor", stroke_dasharray="2 3"),
        _words(name, x + (-4 if anchor == "end" else 4), upright.start - 6, anchor=anchor),
    ]


def _polyline(line: Line, across: Axis, upright: Axis) -> Markup:
    """The series as one path; a gap lifts the pen, and a point alone between gaps is a dot."""
    drawn: list[str] = []
    pen_down = False
    for x, y in _thinned(line):
        if y is None:
            pen_down = False
            continue
        place = f"{across.at(x):.1f} {upright.at(y):.1f}"
        # A move followed by a line of no length: with round caps that shows as a dot where nothing follows.
        drawn.append(f"L{place}" if pen_down else f"M{place}L{place}")
        pen_down = True
    return element(
        "path",
        d="".join(drawn),
        fill="none",
        stroke=COLOURS[line.colour % len(COLOURS)],
        stroke_width=2,
        stroke_linecap="round",
        stroke_linejoin="round",
        stroke_dasharray="6 4" if line.dashed else None,
    )


def _thinned(line: Line) -> list[tuple[float, float | None]]:
    """The points, or the lowest and the highest of each of MOST_POINTS / 2 stretches, in their order."""
    points = list(zip(line.x, line.y, strict=False))
    if len(points) <= MOST_POINTS:
        return points
    stretch = -(-len(points) // (MOST_POINTS // 2))
    kept: list[tuple[float, float | None]] = []
    for begin in range(0, len(points), stretch):
        some = points[begin : begin + stretch]
        finite = [index for index, (_, y) in enumerate(some) if y is not None]
        if not finite:
            kept.append(some[0])
            continue
        ends = {
            min(finite, key=lambda index: some[index][1] or 0.0),
            max(finite, key=lambda index: some[index][1] or 0.0),
        }
        kept += [some[index] for index in sorted(ends)]
    return kept


def _legend_rows(lines: Sequence[Line], band: Band | None) -> int:
    return -(-(len(lines) + (band is not None)) // 3)


def _legend(lines: Sequence[Line], band: Band | None) -> list[Markup]:
    """Three names a row above the picture, each beside a piece of its line."""
    entries = [(line.name, COLOURS[line.colour % len(COLOURS)], "6 4" if line.dashed else None) for line in lines]
    entries += [(band.name, GREY, None)] if band is not None else []
    column = (WIDTH - LEFT - RIGHT) / 3
    parts = []
    for index, (name, colour, dashes) in enumerate(entries):
        x, y = LEFT + column * (index % 3), TOP + 18 * (index // 3)
        sample = element("line", x1=x, y1=y - 4, x2=x + 22, y2=y - 4, stroke=colour, stroke_width=2,
                         stroke_dasharray=dashes)  # fmt: skip
        parts.append(joined(sample, _words(_short(name), x + 28, y, anchor="start", whole=name)))
    return parts
