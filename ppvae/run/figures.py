"""Figures as files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ppvae.run.store import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save(figure: "Figure", path: str | os.PathLike[str]) -> Path:
    """Write a PNG, whole or not at all; see `ppvae.plots.png`.

    Args:
        figure: any.
        path: the file. Its folder is made, and a file that is there is replaced.

    Returns:
        The path.
    """
    from ppvae import plots  # late: matplotlib takes a second to import

    target = Path(path)
    write_bytes(target, plots.png(figure))
    return target
