"""Axis limits that show where curves settle."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ppvae.plots.arrays import Array, Limits
from ppvae.plots.style import four_digits


class Window(NamedTuple):
    """Axis limits, and a sentence about the values outside."""

    limits: Limits | None
    outside: str


def window_on(series: Sequence[Array], keep: Sequence[float] = ()) -> Window:
    """Limits that show where curves settle rather than their first values.

    The middle 90% of the values with a margin, the last point of each curve and ``keep`` are always
    inside; so are all values, if that costs little room.
    """
    values = np.concatenate([s[np.isfinite(s)] for s in series] or [np.empty(0)])
    if not len(values):
        return Window(None, "no finite value")
    low, high = float(values.min()), float(values.max())
    if max(len(s) for s in series) >= 8:
        bottom, top = np.quantile(values, [0.1, 0.9])
        spread = top - bottom
        last = [float(s[np.isfinite(s)][-1]) for s in series if np.isfinite(s).any()]
        anchors = [*last, *(k for k in keep if math.isfinite(k))]
        inner_low = max(low, min(bottom - 0.75 * spread, *anchors))
        inner_high = min(high, max(top + 0.75 * spread, *anchors))
        if high - low > 2 * (inner_high - inner_low) > 0:
            low, high = float(inner_low), float(inner_high)
    margin = 0.06 * (high - low) or max(1e-3, 0.05 * abs(high))
    low, high = low - margin, high + margin
    below, above = values[values < low], values[values > high]
    notes = []
    if len(below):
        notes.append(f"{_points(below)} below the axis, to {four_digits(below.min())}")
    if len(above):
        notes.append(f"{_points(above)} above the axis, to {four_digits(above.max())}")
    return Window((low, high), "; ".join(notes))


def _points(values: Array) -> str:
    return "1 point" if len(values) == 1 else f"{len(values)} points"
