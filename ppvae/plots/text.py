"""Names and numbers fitted to the available room: text is measured before it is drawn."""

import math
import re
from itertools import pairwise

from matplotlib.axis import Axis
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from ppvae.plots.style import four_digits

_POINTS = 72  # an inch
_WORD = re.compile(r"[^ _]*_?")


def fitted(text: str, inches: float, *, size: float = 11, lines: int = 1) -> str:
    """``text`` broken into ``lines`` of that width; if too long, its middle is left out.

    Lines end at spaces, or after an underscore of a long word. Both ends distinguish names. A
    dollar sign is literal, and starts no formula.
    """
    rest, parts = " ".join(text.split()), list[str]()
    while len(parts) < lines - 1 and _width(rest, size) > inches:
        most = _that_fit(rest, inches, size)
        cut = max(rest.rfind(" ", 1, most + 1), 0) or rest.rfind("_", 0, most) + 1
        if not cut:  # a word without a break is shortened in its own line
            word = _WORD.match(rest)
            cut = len(rest) if word is None else word.end()
        parts.append(_without_middle(rest[:cut], inches, size))
        rest = rest[cut:].lstrip()
    parts.append(_without_middle(rest, inches, size))
    parts = [part for part in parts if part] or [""]
    return "\n".join(parts).replace("$", r"\$")


def in_parts(caption: str, inches: float, *, size: float = 11, lines: int = 3) -> str:
    """A caption of parts separated by two spaces, in lines that end with a part."""
    parts = [" ".join(part.split()) for part in caption.split("  ") if part.strip()]
    rows: list[str] = []
    for part in parts:
        both = f"{rows[-1]}, {part}" if rows else part
        if rows and _width(both, size) <= inches:
            rows[-1] = both
        else:
            rows.append(part)
    if len(rows) == 1 or len(rows) > lines:
        return fitted(", ".join(parts), inches, size=size, lines=lines)
    return "\n".join(fitted(line, inches, size=size) for line in rows)


def probability(p: float, least: float = 0.0) -> str:
    """A p-value, formatted; ``least`` is the smallest possible one."""
    if math.isnan(p):
        return "no p"
    if 0.001 <= p <= least * (1 + 1e-9):
        return f"p \N{LESS-THAN OR EQUAL TO} {p:.2g}"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _width(text: str, size: float) -> float:
    """Width of a line in inches, in the current font."""
    # Empty text has no outline to measure.
    if not text:
        return 0.0
    points, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(size=size), ismath=False
    )
    return float(points) / _POINTS


def _that_fit(text: str, inches: float, size: float) -> int:
    """How many of the first characters are no wider than ``inches``."""
    count = min(len(text), max(1, round(inches * _POINTS / (0.2 * size))))
    while count and _width(text[:count], size) > inches:
        count -= 1
    return count


def _without_middle(text: str, inches: float, size: float) -> str:
    if _width(text, size) <= inches:
        return text
    # Each half takes at most half the room.
    half = (inches - _width("…", size)) / 2
    head = text[: _that_fit(text, half, size)].rstrip()
    tail = text[::-1][: _that_fit(text[::-1], half, size)][::-1].lstrip()
    return f"{head}…{tail}"


def labelled(name: str, said: str, inches: float, *, size: float = 11) -> str:
    """``name: said`` in a line of that width; only the name is shortened."""
    return f"{fitted(name, inches - _width(f': {said}', size), size=size)}: {said}"


def measured(value: float, error: float | None = None) -> str:
    """A number with its standard error, to the first digit of the error, or the second if small.

    "Small" is up to 3.5, as in the tables of the Particle Data Group.
    """
    if not math.isfinite(value):
        return "not finite"
    if error is None or not math.isfinite(error):
        # Large bounds differ by a few nats.
        wide = 1e3 <= abs(value) < 1e7
        return f"{value:.1f}".replace("-", "\N{MINUS SIGN}") if wide else four_digits(value)
    if error <= 0:
        return f"{four_digits(value)} ± 0"
    order = math.floor(math.log10(error))
    places = (1 if error < 3.55 * 10.0**order else 0) - order
    if not -4 <= places <= 6:  # too many zeros to read
        return f"{four_digits(value)} ± {error:.1e}"
    kept = max(0, places)
    text = f"{round(value, places) + 0.0:.{kept}f} ± {round(error, places):.{kept}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def few_numbers(axis: Axis, most: int = 4, room: float | None = None) -> None:
    """Full numbers instead of offsets along a linear axis, at ``most`` intervals.

    On a horizontal axis they fit its ``room``, the length in inches; its limits are then final.
    """
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_powerlimits((-5, 8))
    axis.set_major_formatter(formatter)
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10], min_n_ticks=min(2, most)))
    if room is not None and most > 1 and _are_crowded(axis, room):
        few_numbers(axis, most - 1, room)


def _are_crowded(axis: Axis, room: float) -> bool:
    low, high = axis.get_view_interval()
    places = [place for place in axis.get_majorticklocs() if low <= place <= high]
    widths = [_width(text, 11) for text in axis.get_major_formatter().format_ticks(places)]
    return any(
        (right - left) / (high - low) * room < (a + b) / 2 + 0.12
        for (left, right), (a, b) in zip(pairwise(places), pairwise(widths), strict=True)
    )
