"""Files of figures."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ppvae.run.store import discard, is_there, write_bytes
from ppvae.settings.values import Figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")


def save(figure: "Figure", path: str | os.PathLike[str]) -> Path:
    """Write a PNG or an SVG atomically; see `ppvae.plots.png` and `ppvae.plots.svg`.

    Args:
        figure: the figure.
        path: the file, whose suffix is the format. Its folder is created, and an existing file
            replaced.

    Returns:
        The path.
    """
    from ppvae import plots  # late: matplotlib takes a second to import

    target = Path(path)
    write_bytes(target, (plots.svg if target.suffix == ".svg" else plots.png)(figure))
    return target


def leave(figure: "Figure", folder: Path, name: str, figures: Figures = "both") -> None:
    """Write a figure to a folder, in the formats of ``figures``; others of its name are removed."""
    for suffix in SUFFIXES:
        file = folder / f"{name}{suffix}"
        if figures in ("both", suffix[1:]):
            save(figure, file)
        else:
            discard(file)


def forget(folder: Path, name: str) -> None:
    """Remove a figure."""
    for suffix in SUFFIXES:
        discard(folder / f"{name}{suffix}")


def file_of(folder: Path, name: str) -> Path | None:
    """The file of a figure: the SVG, else the PNG, else None."""
    files = (folder / f"{name}{suffix}" for suffix in reversed(SUFFIXES))
    return next((file for file in files if is_there(file)), None)
