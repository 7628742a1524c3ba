"""Bokeh plots as items of the page: equal plots give equal text, and none needs the network."""

import functools
import re
from typing import Any

_SERIAL = re.compile(r"p\d+")


def plot(**settings: Any) -> Any:
    """An empty transparent figure without a toolbar."""
    from bokeh.plotting import figure

    made = figure(
        tools="", toolbar_location=None, background_fill_alpha=0, border_fill_alpha=0,
        outline_line_color=None, **settings,
    )  # fmt: skip
    made.axis.axis_label_text_font_style = "normal"
    made.axis.minor_tick_line_color = None
    made.xgrid.grid_line_color = None
    return made


def plain_text(text: str) -> Any:
    """Literal text: Bokeh would read $$ as mathematics and load MathJax from the network."""
    from bokeh.models import PlainText

    return PlainText(text=text)


def item(model: Any, target: str) -> dict[str, Any]:
    """Input of ``embed_item``, with ids that are counted from the start for each page."""
    from bokeh.core.types import ID
    from bokeh.embed import json_item

    numbers: dict[str, str] = {}

    def renumber(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: _number(key, renumber(value)) for key, value in node.items()}
        return [renumber(value) for value in node] if isinstance(node, (list, tuple)) else node

    def _number(key: str, value: Any) -> Any:
        if key in ("id", "root_id") and isinstance(value, str) and _SERIAL.fullmatch(value):
            return numbers.setdefault(value, f"{target}-{len(numbers)}")
        return value

    renumbered: dict[str, Any] = renumber(json_item(model, ID(target)))
    return renumbered


@functools.cache
def inline_script() -> str:
    """The core of BokehJS."""
    from bokeh.resources import Resources

    return "\n".join(Resources(mode="inline", components=["bokeh"], log_level="error").js_raw)
