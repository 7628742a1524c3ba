"""What a diagnosis leaves on disk."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppvae.errors import InputError
from ppvae.run import versions
from ppvae.store import replacing, write_text

if TYPE_CHECKING:  # they take seconds to import
    import xarray

    from ppvae.diagnosis.result import Diagnosis

__all__ = ["plain", "refuse_occupied", "write_diagnosis"]


def refuse_occupied(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds a diagnosis already, unless it may be replaced.

    Raises:
        InputError: naming the file, and the way out.
    """
    file = folder / "diagnostics.json"
    if file.exists() and not overwrite:
        raise InputError(
            f"{file} is there already; replace it by --overwrite, or write elsewhere by --out"
        )


def write_diagnosis(
    result: "Diagnosis", settings: Mapping[str, Any], tree: "xarray.DataTree | None"
) -> None:
    """Leave ``diagnostics.json``, the pictures, and ``posterior.nc`` where there is a tree."""
    from ppvae import plots

    folder = result.path
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for finding in result.findings.values():
        for name, draw in finding.pictures.items():
            plots.save(draw(), folder / "figures" / f"{name}.png")
    if result.verdict.losses:
        lost = [(loss.where, loss.nats, loss.error) for loss in result.verdict.losses]
        plots.save(plots.budget(lost), folder / "figures" / "budget.png")
    if tree is not None:
        with replacing(folder / "posterior.nc") as fresh:
            tree.to_netcdf(fresh, engine="h5netcdf")
    record = {
        "unit": "nats per datum",
        "data": result.data,
        "rows": result.rows,
        "verdict": list(result.verdict.sentences),
        "losses": [
            {
                "where": loss.where,
                "nats": loss.nats,
                "standard_error": loss.error,
                "remedy": loss.remedy,
            }
            for loss in result.verdict.losses
        ],
        "answers": {name: dict(finding.figures) for name, finding in result.findings.items()},
        "not_answered": {
            f"{name}: {what}": why
            for name, finding in result.findings.items()
            for what, why in finding.refusals.items()
        },
        "settings": dict(settings),
        "versions": versions(),
    }
    # Last, so that where there is such a file the rest of the diagnosis is there too.
    text = json.dumps(plain(record), indent=1, allow_nan=False)
    write_text(folder / "diagnostics.json", text + "\n")


def plain(value: Any) -> Any:
    """The same of what JSON has: ``None`` for numbers that it lacks, text for paths."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)
