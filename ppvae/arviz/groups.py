"""Groups of the tree, with their descriptions.

The groups are those of ArviZ's schema, so that its plots and summaries work unchanged. log p(x) has
its own group, ``log_evidence``: in ``log_likelihood`` it would invite a leave-one-out estimate,
which is invalid where each datum has a latent of its own.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ppvae.arviz.arrays import Array, Arrays
from ppvae.arviz.names import data_dims, own_dims, variable_name
from ppvae.data import Batch
from ppvae.diagnostics.evidence.importance_sampling import COVERAGE, Evidence
from ppvae.diagnostics.trust.calibration import Calibration
from ppvae.diagnostics.trust.ranks import JOINT
from ppvae.programs import Pair

if TYPE_CHECKING:  # slow to import, and so imported where it is used
    import xarray as xr

_DESCRIPTIONS = {
    "posterior": "draws from the guide q(z | x), independent of each other in all chains",
    "posterior_predictive": "draws from p(x | z) at the draws of posterior",
    "sample_stats": "log-densities at the draws of posterior",
    "prior": "draws from the model's prior p(z)",
    "prior_predictive": "draws from p(x | z) at the draws of prior",
    "observed_data": "the data",
}

_STATS = {"log_joint": JOINT[0], "log_guide": JOINT[1]}


def draw_groups(arrays: Arrays, chains: int, batch: Batch) -> "dict[str, xr.Dataset]":
    """Draws divided into chains, and the data that they belong to."""
    arrays = arrays | {"observed_data": _hidden(arrays["observed_data"], batch)}
    groups = {}
    for group, members in arrays.items():
        variables = {}
        for name, array in members.items():
            chained = _chained(array, chains)
            if group == "sample_stats":
                variables[name] = _variable(chained, _STATS[name], "nats")
            else:
                variables[name] = _variable(chained, f"{name}: {_DESCRIPTIONS[group]}")
        groups[group] = _dataset(variables, _DESCRIPTIONS[group])
    return groups


def constant_data(pair: Pair, batch: Batch) -> "xr.Dataset":
    """The fields of the data besides x that the programs take, and any covariates."""
    variables = {}
    if "mask" in batch:
        dims = data_dims("mask", batch["mask"])
        variables["mask"] = _variable(Array(dims, batch["mask"].numpy()), "whether x was observed")
    if "y" in batch:
        y, is_named = batch["y"], "y" in pair.names("model")
        if is_named or y.is_floating_point():
            dims = ("data", *own_dims("y", y.dim() - 1))
            variables["y"] = _variable(Array(dims, y.numpy()), "labels or covariates")
    if "size_factor" in batch and "size_factor" in pair.names("model"):
        sizes = Array(("data",), batch["size_factor"].numpy())
        variables["size_factor"] = _variable(sizes, "what the mean of counts is multiplied by")
    return _dataset(variables, "what the programs are conditional on")


def evidence_group(evidence: Evidence) -> "xr.Dataset":
    """The estimates of log p(x)."""
    by_name = {
        "log_p": (evidence.log_p, "log p(x), by importance sampling"),
        "error": (evidence.error, f"standard error of log_p, by the delta method; {COVERAGE}"),
        "elbo": (evidence.elbo, "evidence lower bound, by the same draws"),
    }
    return _dataset(
        {
            name: _variable(Array(("data",), value.numpy()), long_name, "nats")
            for name, (value, long_name) in by_name.items()
        },
        "log p(x) of each datum: in expectation a lower bound that rises with samples",
        samples=evidence.samples,
    )


def prior_sbc(calibration: Calibration) -> "xr.Dataset":
    """The ranks; all simulations form one chain, as their number need not divide evenly."""
    joint = {name: variable for variable, name in _STATS.items()}
    variables = {}
    for name, pit in calibration.by_site.items():
        dims = ("chain", "draw", *own_dims(name, pit.dim() - 1))
        ranks = Array(dims, pit[None].numpy())
        variables[joint.get(name) or variable_name(name)] = _variable(
            ranks, f"normalized ranks of {name}"
        )
    return _dataset(
        variables,
        "ranks, in (0, 1), of latents drawn with their data among the guide's draws: uniform if "
        "the guide is the model's posterior",
        draws=calibration.draws,
    )


def labelled(
    group: "xr.Dataset",
    numbers: NDArray[np.int64],
    labels: NDArray[Any] | None,
    columns: Mapping[str, Sequence[str]],
) -> "xr.Dataset":
    """A group with coordinates on all its dimensions; for data the row numbers, and labels.

    Args:
        group: the group.
        numbers: numbers of the rows.
        labels: labels of the data, or None.
        columns: names of the columns of x, by dimension.
    """
    coords: dict[Any, Any] = {dim: np.arange(size) for dim, size in group.sizes.items()}
    if "data" in coords:
        coords["data"] = numbers
        if labels is not None:
            coords["label"] = ("data", labels)
    for dim, names in columns.items():
        if group.sizes.get(dim) == len(names):
            coords["column"] = (dim, list(names))
    return group.assign_coords(coords)


def _hidden(observed: dict[str, Array], batch: Batch) -> dict[str, Array]:
    """Set entries to NaN where the mask hides x, and the split holds zeros."""
    if "mask" not in batch:
        return observed
    mask = batch["mask"].numpy()
    return {
        name: Array(dims, np.where(mask, x.astype(np.float32), np.float32(np.nan)))
        if x.shape == mask.shape
        else Array(dims, x)
        for name, (dims, x) in observed.items()
    }


def _chained(array: Array, chains: int) -> Array:
    """``(sample, ...)`` as ``(chain, draw, ...)``."""
    dims, values = array
    if dims[:1] != ("sample",):
        return array
    return Array(("chain", "draw", *dims[1:]), values.reshape(chains, -1, *values.shape[1:]))


def _variable(array: Array, long_name: str, units: str | None = None) -> "xr.Variable":
    import xarray as xr

    attrs = {"long_name": long_name} | ({} if units is None else {"units": units})
    return xr.Variable(array.dims, array.values, attrs)


def _dataset(
    variables: "Mapping[str, xr.Variable]", description: str, **attrs: Any
) -> "xr.Dataset":
    import xarray as xr

    return xr.Dataset(variables, attrs={"description": description, **attrs})
