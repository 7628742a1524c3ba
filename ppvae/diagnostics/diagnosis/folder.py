"""What a diagnosis leaves on disk."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppvae.errors import InputError
from ppvae.run import versions
from ppvae.run.store import (
    MissingError,
    ReadError,
    demand_writable,
    discard,
    is_there,
    plain,
    read_json,
    write_bytes,
    write_text,
)

if TYPE_CHECKING:  # they take seconds to import
    import xarray

    from ppvae.diagnostics.diagnosis.result import Diagnosis

__all__ = ["refuse_occupied", "write_diagnosis"]

_RECORD = "diagnostics.json"

_BEGUN = ".diagnosis"
"""Pictures of a diagnosis that is being written, and of the one before: another clears them."""


def refuse_occupied(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds a diagnosis already, unless it may be replaced.

    Raises:
        InputError: naming the file, and the way out.
    """
    if is_there(folder) and not folder.is_dir():
        raise InputError(f"--out {folder} is a file; give a folder")
    for name in ("figures", _RECORD, "posterior.nc", "report.html"):
        demand_writable(folder / name)
    file = folder / _RECORD
    if is_there(file) and not overwrite:
        raise InputError(
            f"{file} is there already; replace it by --overwrite, or write elsewhere by --out"
        )


def write_diagnosis(
    result: "Diagnosis", settings: Mapping[str, Any], tree: "xarray.DataTree | str"
) -> None:
    """Leave ``diagnostics.json``, the pictures, and ``posterior.nc``, or the reason without."""
    from ppvae import plots

    folder = result.path
    drawn = [name for finding in result.findings.values() for name in finding.pictures]
    names = [*drawn, *(["budget"] if result.verdict.losses else [])]
    _clear(folder, names)
    for finding in result.findings.values():
        for name, draw in finding.pictures.items():
            plots.save(draw(), folder / "figures" / f"{name}.png")
    if result.verdict.losses:
        lost = [(loss.where, loss.nats, loss.error) for loss in result.verdict.losses]
        plots.save(plots.budget(lost), folder / "figures" / "budget.png")
    if not isinstance(tree, str):
        write_bytes(folder / "posterior.nc", bytes(tree.to_netcdf(None, engine="h5netcdf")))
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
        "figures": names,
        "settings": dict(settings),
        "versions": versions(),
    }
    # Last, so that where there is such a file the rest of the diagnosis is there too.
    text = json.dumps(plain(record), indent=1, allow_nan=False)
    write_text(folder / _RECORD, text + "\n")
    discard(folder / _BEGUN)


def _clear(folder: Path, names: Sequence[str]) -> None:
    """Take away an earlier diagnosis, so that nothing of it stands beside the new one.

    Its record goes first; which pictures go with it, and which are about to be drawn, is kept until
    the new record is there, for the process may be killed in between.
    """
    before = {name for file in (_RECORD, _BEGUN) for name in _pictures(folder / file)}
    write_text(folder / _BEGUN, json.dumps({"figures": sorted(before | set(names))}) + "\n")
    discard(folder / _RECORD)
    discard(folder / "posterior.nc")
    for name in sorted(before):
        discard(folder / "figures" / f"{name}.png")


def _pictures(file: Path) -> Sequence[str]:
    """Names of the pictures that a record lists; a stranger's may list anything."""
    try:
        listed = read_json(file).get("figures")
    except (MissingError, ReadError):
        return ()
    names = listed if isinstance(listed, list) else []
    return [Path(str(name)).name for name in names]
