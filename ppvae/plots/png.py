"""A figure as PNG bytes."""

import io

from matplotlib.figure import Figure

from ppvae.plots.style import DPI, house_style


@house_style
def png(figure: Figure) -> bytes:
    """A figure as PNG: the same figure gives the same bytes.

    Where things go is settled by the first call; what is added to the figure later finds no room
    made for it.
    """
    picture = io.BytesIO()
    # matplotlib signs what it writes with its version, which would change the bytes.
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)  # one pass does not always find room for a legend
    figure.savefig(picture, format="png", dpi=DPI, metadata={"Software": None})
    # A second pass of the layout would start from the first one's result and move a pixel.
    figure.set_layout_engine("none")
    return picture.getvalue()
