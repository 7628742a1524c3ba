"""Latents given in Python: an array, a table of codes, or values by site."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppvae.data import Batch
from ppvae.data.containers import plain
from ppvae.data.objects import is_annotated
from ppvae.errors import InputError
from ppvae.programs.generation import posterior_means
from ppvae.run.answers import is_frame
from ppvae.run.run import Run

CODES = "X_ppvae"
"""The entry of ``obsm`` of an AnnData with its codes."""


def codes_by_site(run: Run, z: Any) -> dict[str, Tensor]:
    """The given values of each latent site, ``(data, dimensions)``.

    Args:
        run: the run.
        z: an array ``(data, latent)``, for a model with one latent per datum; a table from
            `ppvae.Run.encode`, of which the columns ``loc`` are used; or a mapping from sites to
            arrays.

    Raises:
        InputError: for latents that are not in the model, or not finite.
    """
    sites = [name for name in run.audit.latents if name != "y"]
    if is_frame(z):
        z = _of_table(z, sites)
    if not isinstance(z, Mapping):
        if len(sites) != 1:
            raise InputError(
                f"`z` is one array, but the model has the latents {', '.join(sites) or 'none'}; "
                "give a mapping from their names to arrays, or the result of encode"
            )
        z = {sites[0]: z}
    unknown = [name for name in z if name not in run.audit.latents]
    if unknown:
        raise InputError(
            f"`z` has {unknown[0]!r}, but the model's latents are {', '.join(run.audit.latents)}"
        )
    found = {}
    for site, value in z.items():
        values = plain(value, "z", "x").values
        if values.dtype.kind not in "biuf" or not values.ndim or not np.isfinite(values).all():
            raise InputError(f"`z`: the values of {site} are not all finite numbers")
        found[str(site)] = torch.as_tensor(values.astype(np.float64))
    if len({len(value) for value in found.values()}) != 1:
        sizes = {name: tuple(value.shape) for name, value in found.items()}
        raise InputError(f"`z` has the shapes {sizes}; give equally many rows of each")
    return found


def of_annotated(z: Any) -> Any:
    """The codes of an encoded AnnData as a table; anything else unchanged.

    Raises:
        InputError: for an AnnData without codes.
    """
    if not is_annotated(z):
        return z
    import pandas as pd

    if CODES not in z.obsm:
        raise InputError(
            f"`z` is an AnnData without obsm[{CODES!r}]; give run.encode(adata), or the file of "
            "ppvae.encode.encode(run, data=adata, out='coded.h5ad')"
        )
    codes = np.asarray(z.obsm[CODES])
    names = [f"loc_{i}" for i in range(codes.shape[1])]
    return pd.DataFrame(codes, index=z.obs_names, columns=names)


def shaped(run: Run, codes: Mapping[str, Tensor], like: Batch) -> dict[str, Tensor]:
    """Codes in the shapes of their sites, and latents shared by all data, if the guide has any.

    Raises:
        InputError: for codes of another size.
    """
    means, rows = posterior_means(run.pair, run.audit, like), len(like["x"])
    found = {
        name: mean for name, mean in means.items() if mean.shape[:1] != (rows,) and name != "y"
    }
    for site, value in codes.items():
        mean = means[site]
        if mean.shape[:1] != (rows,) or mean.numel() != value.numel():
            raise InputError(
                f"`z`: the values of {site} have shape {tuple(value.shape)}, and {rows} of its "
                f"draws {tuple(mean.shape)}"
            )
        found[site] = value.reshape(mean.shape).to(mean)
    return found


def _of_table(table: Any, sites: list[str]) -> dict[str, Any]:
    """The columns ``loc`` of a table of codes by site; without them all columns, for one site."""
    ends = {site: f"loc_{site}_" if len(sites) > 1 else "loc_" for site in sites}
    found = {
        site: table[[name for name in table.columns if str(name).startswith(start)]]
        for site, start in ends.items()
    }
    found = {site: columns for site, columns in found.items() if columns.shape[1]}
    return found or dict.fromkeys(sites[:1], table)
