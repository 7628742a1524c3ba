"""Figures as files."""

import io
import os
import uuid
from pathlib import Path

from matplotlib.figure import Figure

from ppvae.plots.style import DPI, house_style


@house_style
def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a PNG, whole or not at all: the same figure gives the same bytes.

    Where things go is settled by the first save; what is added to the figure later finds no room
    made for it.

    Args:
        figure: any.
        path: the file; its folder must exist. A file that is there is replaced.

    Returns:
        The path.

    """
    target = Path(path)
    picture = io.BytesIO()
    # matplotlib signs what it writes with its version, which would change the bytes.
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()  # one pass does not always find room for a legend
    figure.savefig(picture, format="png", dpi=DPI, metadata={"Software": None})
    # A second pass of the layout would start from the first one's result and move a pixel.
    figure.set_layout_engine("none")
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        draft.write_bytes(picture.getvalue())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return target
