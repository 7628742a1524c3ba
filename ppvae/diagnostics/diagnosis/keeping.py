"""Draws that are kept for ArviZ: ``posterior.nc``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ppvae.diagnostics.diagnosis.case import Case
from ppvae.diagnostics.diagnosis.finding import Finding
from ppvae.errors import InputError

if TYPE_CHECKING:
    import xarray

__all__ = ["kept"]


def kept(case: Case, findings: Mapping[str, Finding]) -> "xarray.DataTree | str":
    """The run on some of the examined data as an ArviZ DataTree, its calibration with it.

    Or why there is none: the answers are not lost for that.
    """
    from ppvae.arviz import to_datatree

    trust = findings.get("trust")
    try:
        return to_datatree(
            case.run,
            case.data,
            rows=case.order[: case.effort.kept_rows].tolist(),
            draws=case.effort.kept_draws,
            samples=case.effort.samples,
            seed=case.seed,
            calibration=None if trust is None else trust.results.get("calibration"),
            device=case.device,
        )
    except InputError as error:
        return str(error)
