"""What was encoded, as a file: a table, arrays, or columns of the AnnData that it came from."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppvae.data.optional import needed
from ppvae.data.options import Schema
from ppvae.diagnostics.encoding import encoded_table
from ppvae.errors import InputError
from ppvae.run.latents import CODES
from ppvae.run.store import write_arrays, write_bytes, write_text

SUFFIXES = (".csv", ".parquet", ".npz", ".h5ad")


def check_suffix(target: Path) -> None:
    """Refuse a kind of file that is not written, or that takes a package which is not there."""
    if target.suffix not in SUFFIXES:
        raise InputError(
            f"`out={str(target)!r}`: the embedding is written as {', '.join(SUFFIXES)}; name such "
            "a file"
        )
    package = {".parquet": "pyarrow", ".h5ad": "anndata"}.get(target.suffix)
    if package is not None:
        needed(package, f"writing {target}")


def write_encoded(
    target: Path, found: Mapping[str, NDArray[Any]], schema: Schema, annotated: Any = None
) -> None:
    """Write what `ppvae.diagnostics.encoding.encoded` found, by the suffix of the file.

    A table (``.csv``, ``.parquet``) is that of `ppvae.diagnostics.encoding.encoded_table`, with the
    names of the rows, or their numbers, in the first column. Arrays (``.npz``) are what was found,
    with ``label`` as names, empty where they are not known. An AnnData (``.h5ad``) is the one that
    was encoded with `annotate`.

    Args:
        target: the file.
        found: what was found.
        schema: names of labels and covariates.
        annotated: the AnnData that was encoded, for ``.h5ad``.
    """
    if target.suffix == ".npz":
        names = {"name": found["name"].astype(str)} if "name" in found else {}
        write_arrays(target, dict(found) | names | _named_labels(found, schema))
    elif target.suffix == ".h5ad":
        write_bytes(target, _h5ad(annotate(annotated, found)))
    elif target.suffix == ".csv":
        write_text(target, encoded_table(found, schema).to_csv(lineterminator="\n"))
    else:
        packed = io.BytesIO()
        encoded_table(found, schema).to_parquet(packed)
        write_bytes(target, packed.getvalue())


def annotate(annotated: Any, found: Mapping[str, NDArray[Any]]) -> Any:
    """Return a copy of an AnnData with codes: ``obsm["X_ppvae"]`` and ``obs["ppvae_log_p"]``.

    ``obsm`` has ``loc`` of all latents side by side, and ``obs`` the error, the bound and the part
    of the data too, where they are known. Rows that were not encoded are not a number.
    """
    annotated, rows = annotated.copy(), found["row"]
    if len(np.unique(rows)) < len(rows) or rows.max(initial=-1) >= annotated.n_obs:
        raise InputError(
            "the rows that were encoded are of several files, or not of this AnnData; give a .csv "
            "or .parquet file as `out`"
        )
    locs = [found[name] for name in found if name == "loc" or name.startswith("loc_")]
    codes = np.concatenate([loc.reshape(len(rows), -1) for loc in locs], 1)
    annotated.obsm[CODES] = np.full((annotated.n_obs, codes.shape[1]), np.nan, codes.dtype)
    annotated.obsm[CODES][rows] = codes
    for name in ("log_p", "log_p_error", "elbo"):
        if name in found:
            column = np.full(annotated.n_obs, np.nan)
            column[rows] = found[name]
            annotated.obs[f"ppvae_{name}"] = column
    if "split" in found:
        parts = np.full(annotated.n_obs, "", object)
        parts[rows] = found["split"]
        annotated.obs["ppvae_split"] = parts
    return annotated


def _named_labels(found: Mapping[str, NDArray[Any]], schema: Schema) -> dict[str, NDArray[Any]]:
    codes = found.get("label", found.get("y"))
    if codes is None or schema.labels is None or codes.dtype.kind != "i":
        return {}
    return {"label": np.array([*schema.labels, ""])[codes]}  # the last stands for -1, not known


def _h5ad(annotated: Any) -> bytes:
    import h5py

    write = needed("anndata", "writing .h5ad").io.write_elem
    packed = io.BytesIO()
    with h5py.File(packed, "w") as file:
        write(file, "/", annotated)
    return packed.getvalue()
