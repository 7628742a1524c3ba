"""Provenance of a tree: attributes of each group and of the whole."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyro

from ppvae.programs.facts import Audit
from ppvae.run import Run, versions


def of_libraries() -> dict[str, Any]:
    """The attributes that ArviZ gives to each group: creation time and libraries."""
    return {
        "created_at": datetime.now(UTC).isoformat(),
        "creation_library": "ppvae",
        "creation_library_version": versions()["ppvae"],
        "creation_library_language": "Python",
        "inference_library": "pyro",
        "inference_library_version": pyro.__version__,
    }


def of_run(run: Run, seed: int) -> dict[str, Any]:
    """The run and its data, by name only, as paths are those of one machine."""
    record = {f"version_{name}": number for name, number in versions().items()}
    data = run.config.get("data")
    return record | {
        "run": run.path.resolve().name,
        "checkpoint": run.checkpoint,
        "data": Path(data).name if isinstance(data, str) else "arrays",
        "data_scaling": json.dumps(run.resolved["data"].get("scaling")),
        "seed": seed,
    }


def why_no_evidence(audit: Audit) -> str | None:
    """Why log p(x) of a datum cannot be estimated; ``None`` where it can."""
    if not audit.is_bound:
        return "the guide has a point mass, whose density is infinite: there are no weights"
    if not audit.is_local:
        return (
            "log p(x) of a datum needs every latent inside the plate of the data: here some are "
            "shared by all data, or there is no such plate"
        )
    if audit.scaled:
        return f"site '{audit.scaled[0]}' is scaled in the programs, so that there is no p(x, z)"
    if audit.summed:
        return f"the model sums over '{audit.summed[0]}', which the guide does not draw"
    return None
