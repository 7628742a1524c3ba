"""Runs of the bad fits, fitted once and opened with their data."""

from pathlib import Path
from typing import Any, override

from ppvae.data import Data, scaled_as
from ppvae.fit import fit
from ppvae.run import Run

from .cases import FITS
from .data import DATA

_PARTS = "tests.benchmarks.bad_fits.parts"


class RunWithData(Run):
    """A run with the data that it was fitted to.

    Args:
        path: the run directory.
        handed: its data.
    """

    def __init__(self, path: Path, handed: Data) -> None:
        super().__init__(path, trust=[_PARTS])
        self._data = handed

    @override
    def data(self, data_dir: Path | None = None, *, hidden: bool = True, way_out: str = "") -> Data:
        return self._data


def opened(name: str, folder: Path, **others: Any) -> Run:
    """The run of a fit in ``folder``, fitted if it is missing; ``others`` override settings."""
    made, data = FITS[name], DATA[FITS[name].data]()
    path = folder / name
    if not (path / "summary.json").is_file():
        fit(data=data, **made.whole | others, out=path, overwrite=True, device="cpu")
    run = RunWithData(path, data)
    return run if data.source is None else RunWithData(path, scaled_as(data, run.scaling))
