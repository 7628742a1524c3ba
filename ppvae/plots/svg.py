"""Figures as SVG: sharp at any size, in light and dark."""

import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ppvae.plots.style import DPI, house_style

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
"""The font of the page around the figure."""

_DARK = {
    "#000000": "#e8eaed", "#222222": "#e8eaed", "#333333": "#c9ced4", "#444444": "#c9ced4",
    "#6e6e6e": "#a9b0b7", "#8a8a8a": "#8a9199", "#e6e6e6": "#2b3036", "#efefef": "#23282d",
    "#dddddd": "#343a41", "#bbbbbb": "#5a626b", "#a9a9a9": "#6b737c", "#ffffff": "#14171a",
    "#7fb8d8": "#2a5f80",
}  # fmt: skip
"""Text, lines and background of the house style on a dark page; other colours suit both."""

_RULES = "".join(
    f"[style*='fill: {light}']{{fill:{dark}!important}}"
    f"[style*='stroke: {light}']{{stroke:{dark}!important}}"
    for light, dark in _DARK.items()
)


@house_style
def svg(figure: Figure) -> bytes:
    """A figure as SVG: the same figure gives the same bytes; its background is transparent.

    Text stays text. Browsers that prefer dark pages show it in dark colours; other programs show
    the colours of the PNG.
    """
    picture = io.StringIO()
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)  # one pass does not always find room for a legend
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "ppvae"}
    with mpl.rc_context(settings):
        figure.savefig(
            picture, format="svg", dpi=DPI, transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )  # fmt: skip
    figure.set_layout_engine("none")
    text = re.sub(r"'DejaVu Sans'(?:, [^;\"]*?sans-serif)?", FONT, picture.getvalue())
    style = (
        ":root{color-scheme:light dark}text{fill:#000000}"
        f"@media (prefers-color-scheme:dark){{text{{fill:#e8eaed}}{_RULES}}}"
    )
    return text.replace("<defs>", f"<style>{style}</style>\n <defs>", 1).encode()
