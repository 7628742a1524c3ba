"""Figures as PNG bytes."""

import io

from matplotlib.figure import Figure

from ppvae.plots.style import DPI, house_style


@house_style
def png(figure: Figure) -> bytes:
    """A figure as PNG: the same figure gives the same bytes.

    The first call fixes the layout; it makes no room for anything added to the figure later.
    """
    picture = io.BytesIO()
    # matplotlib writes its version into the file, which would change the bytes.
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)  # one pass does not always find room for a legend
    figure.savefig(picture, format="png", dpi=DPI, metadata={"Software": None})
    # A second pass of the layout would start from the first one's result and move a pixel.
    figure.set_layout_engine("none")
    return picture.getvalue()
