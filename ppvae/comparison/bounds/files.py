"""What a comparison of bounds leaves."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ppvae.comparison.bounds.result import Comparison
from ppvae.comparison.files import write_comparison


def write_bounds(
    result: Comparison, settings: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Leave ``comparison.json``, with the ``settings``, and the figure: a folder, whole or not."""
    from ppvae.comparison.bounds.figure import draw_comparison

    record = asdict(result) | {"settings": settings}
    del record["path"]
    sides = record["sides"]
    write_comparison(result.path, record, lambda: draw_comparison(sides), overwrite=overwrite)
