"""Files of a comparison of bounds."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ppvae.comparison.bounds.result import Comparison
from ppvae.comparison.files import write_comparison
from ppvae.settings.values import Figures


def write_bounds(
    result: Comparison,
    settings: Mapping[str, Any],
    *,
    overwrite: bool = False,
    kind: Figures = "both",
) -> None:
    """Write ``comparison.json`` with the ``settings``, the figures and the page, all or nothing."""
    from ppvae.comparison.bounds.figure import draw_comparison, draw_glance
    from ppvae.comparison.bounds.page import page_of

    record = asdict(result) | {"settings": settings}
    del record["path"]
    sides = record["sides"]
    pages = {"compare.html": page_of(result, sides)}
    drawings = {
        "glance": lambda: draw_glance(sides),
        "compare": lambda: draw_comparison(sides),
    }
    write_comparison(result.path, record, drawings, pages, overwrite=overwrite, kind=kind)
