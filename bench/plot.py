"""A plot of medians with their spread, as SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_LABEL, _PLOT, _VALUE = 500, 380, 70
_ROW, _TOP, _BOTTOM = 24, 44, 34
# Beyond this ratio the small ones would be one dot on a linear axis.
_LOGARITHMIC = 60.0


@dataclass(frozen=True)
class Bar:
    """One line of the plot. ours: whether the collection did it."""

    label: str
    low: float
    median: float
    high: float
    ours: bool


def number(value: float) -> str:
    """Return a figure with as many digits as a person reads."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 or value == 0 else 3
    return f"{value:.{digits}f}"


def ticks(high: float) -> list[float]:
    """Return round numbers from 0 to the one that is at least as high, four to eight of them."""
    high = high or 1.0
    step = 10.0 ** math.floor(math.log10(high))
    while high / step < 3:
        step /= 2
    while high / step > 7:
        step *= 2
    return [step * count for count in range(math.ceil(high / step - 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Return the powers of ten from one that is at most as low to one that is at least as high."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def draw(title: str, bars: Sequence[Bar]) -> str:
    """Return the picture: a dot for each median, a line from the smallest to the largest value."""
    lowest, highest = min(row.low for row in bars), max(row.high for row in bars)
    logarithmic = lowest > 0 and highest / lowest > _LOGARITHMIC
    marks = decades(lowest, highest) if logarithmic else ticks(highest)

    def x(value: float) -> float:
        if logarithmic:
            share = math.log(value / marks[0]) / math.log(marks[-1] / marks[0])
        else:
            share = value / marks[-1]
        return _LABEL + share * _PLOT

    width, end = _LABEL + _PLOT + _VALUE, _TOP + _ROW * len(bars)
    height = end + _BOTTOM
    scale = ", logarithmic axis" if logarithmic else ""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="24" font-size="14" font-weight="bold">{escape(title)}</text>',
        f'<text x="{width - 12}" y="24" text-anchor="end" fill="#666">dot: median, line: min to max{scale}</text>',
    ]
    for mark in marks:
        lines.append(f'<line x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="{_TOP}" y2="{end}" stroke="#ddd"/>')
        lines.append(f'<text x="{x(mark):.1f}" y="{end + 18}" text-anchor="middle" fill="#666">{mark:g}</text>')
    for count, row in enumerate(bars):
        y = _TOP + _ROW * (count + 0.5)
        colour = "#1565a8" if row.ours else "#777"
        lines += [
            f'<text x="{_LABEL - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(row.label)}</text>',
            f'<line x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
            'stroke-width="3" stroke-linecap="round"/>',
            f'<circle cx="{x(row.median):.1f}" cy="{y}" r="5" fill="{colour}"/>',
            f'<text x="{x(row.high) + 10:.1f}" y="{y + 4:.1f}" fill="{colour}">{number(row.median)}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
