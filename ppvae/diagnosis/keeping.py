"""Draws that are kept for ArviZ: ``posterior.nc``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ppvae.diagnosis.case import Case
from ppvae.diagnosis.finding import Finding

if TYPE_CHECKING:
    import xarray

__all__ = ["kept"]


def kept(case: Case, findings: Mapping[str, Finding]) -> "xarray.DataTree":
    """The run on some of the examined data as an ArviZ DataTree, its calibration with it."""
    from ppvae.arviz import to_datatree

    trust = findings.get("trust")
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
