"""Conversion of a fitted run to a tree: find sites, take rows, draw, and label."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ppvae.arviz.arrays import whole
from ppvae.arviz.drawing import draw
from ppvae.arviz.groups import constant_data, draw_groups, evidence_group, labelled, prior_sbc
from ppvae.arviz.names import data_dims
from ppvae.arviz.provenance import of_libraries, of_run, why_no_evidence
from ppvae.arviz.rows import example, find_data, row_labels, row_numbers, take
from ppvae.arviz.sites import find_sites
from ppvae.arviz.sizes import check_size, usual_rows
from ppvae.data import Split, as_split
from ppvae.diagnostics.evidence.importance_sampling import log_evidence
from ppvae.diagnostics.trust.calibration import Calibration
from ppvae.errors import check_at_least
from ppvae.programs import Pair, evaluating
from ppvae.programs.streams import OpenStream, Stream
from ppvae.run import Run

if TYPE_CHECKING:  # slow to import, and so imported where it is used
    import xarray as xr


def to_datatree(
    run: Run,
    data: Split | Mapping[str, Tensor] | Tensor | ArrayLike | str | Path | None = None,
    *,
    rows: int | Sequence[int] | None = None,
    chains: int = 4,
    draws: int = 100,
    samples: int = 1000,
    calibration: Calibration | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> "xr.DataTree":
    """A fitted run and its data as a DataTree of ArviZ 1.x.

    Dimensions are ``chain``, ``draw``, ``data`` (the numbers of the rows, with their ``label``
    where they have one), ``channel``, ``row`` and ``column`` of an image, ``column`` of a table,
    ``<site>_dim`` of a latent vector, and other plates by their names. The groups are

    * ``posterior``: z ~ q(z | x), by latent site; ``posterior_predictive``: x ~ p(x | z) at these
      z, under the name of the observed site;
    * ``prior``: z ~ p(z); ``prior_predictive``: x ~ p(x | z) at these z. Each datum has its own z
      here too, as a model may be conditional on its labels or covariates;
    * ``observed_data``: x, NaN where a mask hides it; ``constant_data``: the mask, and labels or
      covariates that the programs are conditional on;
    * ``sample_stats``: ``log_joint``, log p(x, z), and ``log_guide``, log q(z | x), at the draws of
      ``posterior``, in nats;
    * ``log_evidence``: ``log_p``, an estimate of log p(x) of each datum, its standard ``error``,
      and ``elbo``, all from `ppvae.diagnostics.log_evidence`;
    * ``prior_sbc``: the normalized ranks of ``calibration``, for ``arviz.plot_ecdf_pit``.

    A guide with a point mass has no density, and so neither ``log_guide`` nor ``log_evidence``.
    Latents that all data share have no dimension ``data``; ``sample_stats`` are then totals over
    the rows, and there is no ``log_evidence``; the root's attribute ``log_evidence_absent`` gives
    the reason. Observed sites of whole numbers have integer values (int8 for zeros and ones), the
    others float32. x is drawn in one call of the model, which still gets the observed x: if it
    reads x, as a decoder that is given the preceding pixels does, the draws depend on these.
    Observed labels are kept as they are.

    Draws of a guide are independent, and their division into chains has no meaning. It is made
    because R-hat is undefined for one chain: with several, ``arviz.summary`` shows the values
    expected of independent draws, an R-hat of 1 and effective sample sizes near ``chains * draws``.

    Args:
        run: the fitted run.
        data: a split; a batch ``{"x": (rows, *shape), ...}``, or its x, as the model sees it; or a
            name or path of other data, read as the run's was. Default: the run's test data.
        rows: number of rows, drawn by the seed and in their order, or the numbers of some. Default:
            all given rows; of the run's own data 100, or as many as fit in a tree of 100 MiB.
        chains: number of chains that the draws are divided into.
        draws: draws per chain.
        samples: importance samples per log p(x).
        calibration: a result of `ppvae.diagnostics.trust.calibration.calibrate`.
        seed: of all draws; the caller's random state is left unchanged.
        device: where to compute.

    Raises:
        InputError: for data that the run cannot take, or draws that would take more than 1 GiB.

    Example::

        tree = ppvae.to_datatree(run)
        arviz.plot_forest(tree, coords={"data": tree["posterior"]["data"].values[:3]})
        tree.to_netcdf("posterior.nc", engine="h5netcdf")
    """
    import xarray as xr

    check_at_least(1, chains=chains, draws=draws, samples=samples)
    source, count = find_data(run, data), chains * draws
    pair, audit, device = run.pair, run.audit, torch.device(device)
    absent = why_no_evidence(audit)
    with _visiting(pair, device, seed) as noise:
        sites = find_sites(pair, audit, example(source, audit, device))
        if rows is None:
            rows = usual_rows(sites, count) if data is None else len(source)
        numbers = row_numbers(rows, len(source), seed)
        check_size(sites, chains, draws, len(numbers))
        batch = take(source, numbers, audit)
        split = as_split(**batch)
        parts = draw(pair, audit, sites, split, count, noise=noise, device=device)
        arrays = whole(parts, count, len(numbers))
        if absent is None:
            evidence = log_evidence(pair, audit, split, samples=samples, seed=seed, device=device)

    groups = draw_groups(arrays, chains, batch)
    constants = constant_data(pair, batch)
    if constants.data_vars:
        groups["constant_data"] = constants
    if absent is None:
        groups["log_evidence"] = evidence_group(evidence)
    if calibration is not None:
        groups["prior_sbc"] = prior_sbc(calibration)
    common, labels = of_libraries(), row_labels(run, batch)
    named = {}
    if run.schema.columns is not None and audit.supports:
        _, *dims = data_dims(audit.data_site, batch["x"])
        named = {dims[-1]: [column.name for column in run.schema.columns]}
    for name, group in groups.items():
        groups[name] = labelled(group, numbers, labels, named)
        groups[name].attrs = common | group.attrs
    tree: xr.DataTree = xr.DataTree.from_dict(groups)
    tree.attrs = common | of_run(run, seed)
    if absent is not None:
        tree.attrs["log_evidence_absent"] = absent
    return tree


@contextmanager
def _visiting(pair: Pair, device: torch.device, seed: int) -> Iterator[OpenStream]:
    """The pair on ``device``, in evaluation mode, with its own random numbers; then as before."""
    home = next(pair.parameters()).device
    pair.to(device)
    try:
        with evaluating(pair), Stream.DATATREE.drawn(seed, device) as noise:
            yield noise
    finally:
        pair.to(home)
