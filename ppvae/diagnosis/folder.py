"""What a diagnosis leaves on disk."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppvae.errors import InputError
from ppvae.run import versions
from ppvae.store import plain, replacing, write_text

if TYPE_CHECKING:  # they take seconds to import
    import xarray

    from ppvae.diagnosis.result import Diagnosis

__all__ = ["refuse_occupied", "write_diagnosis"]


def refuse_occupied(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds a diagnosis already, unless it may be replaced.

    Raises:
        InputError: naming the file, and the way out.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder} is a file; give a folder")
    file = folder / "diagnostics.json"
    if file.exists() and not overwrite:
        raise InputError(
            f"{file} is there already; replace it by --overwrite, or write elsewhere by --out"
        )


def write_diagnosis(
    result: "Diagnosis", settings: Mapping[str, Any], tree: "xarray.DataTree | str"
) -> None:
    """Leave ``diagnostics.json``, the pictures, and ``posterior.nc``, or the reason without."""
    from ppvae import plots

    folder = result.path
    _clear(folder)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for finding in result.findings.values():
        for name, draw in finding.pictures.items():
            plots.save(draw(), folder / "figures" / f"{name}.png")
    if result.verdict.losses:
        lost = [(loss.where, loss.nats, loss.error) for loss in result.verdict.losses]
        plots.save(plots.budget(lost), folder / "figures" / "budget.png")
    if not isinstance(tree, str):
        with replacing(folder / "posterior.nc") as fresh:
            tree.to_netcdf(fresh, engine="h5netcdf")
    drawn = [name for finding in result.findings.values() for name in finding.pictures]
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
        }
        | ({"posterior.nc": tree} if isinstance(tree, str) else {}),
        "figures": [*drawn, *(["budget"] if result.verdict.losses else [])],
        "settings": dict(settings),
        "versions": versions(),
    }
    # Last, so that where there is such a file the rest of the diagnosis is there too.
    text = json.dumps(plain(record), indent=1, allow_nan=False)
    write_text(folder / "diagnostics.json", text + "\n")


def _clear(folder: Path) -> None:
    """Take away an earlier diagnosis, so that nothing of it stands beside the new one."""
    file = folder / "diagnostics.json"
    if not file.is_file():
        return
    try:
        names = json.loads(file.read_text()).get("figures", [])
    except (ValueError, AttributeError):
        names = []
    file.unlink()
    (folder / "posterior.nc").unlink(missing_ok=True)
    for name in names:
        (folder / "figures" / f"{Path(str(name)).name}.png").unlink(missing_ok=True)
