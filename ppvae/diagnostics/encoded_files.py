"""Files of encoded data: a table, arrays, or columns of the encoded AnnData."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ppvae.data.optional import needed
from ppvae.data.options import Schema
from ppvae.diagnostics.encoding import Array, encoded_table
from ppvae.errors import InputError
from ppvae.run.latents import CODES
from ppvae.run.store import aside

if TYPE_CHECKING:  # slow to import
    from pandas import DataFrame

SUFFIXES = (".csv", ".parquet", ".npz", ".h5ad")

TOGETHER = 2**16
"""Rows written at a time."""


def check_suffix(target: Path) -> None:
    """Refuse an unknown file format, or one whose package is not installed."""
    if target.suffix not in SUFFIXES:
        raise InputError(
            f"`out={str(target)!r}`: the embedding is written as {', '.join(SUFFIXES)}; name such "
            "a file"
        )
    package = {".parquet": "pyarrow", ".h5ad": "anndata"}.get(target.suffix)
    if package is not None:
        needed(package, f"writing {target}")


def write_encoded(
    target: Path, found: Mapping[str, Array], schema: Schema, annotated: Any = None
) -> None:
    """Write the result of `ppvae.diagnostics.encoding.encoded` in the format of the suffix.

    A table (``.csv``, ``.parquet``) is that of `ppvae.diagnostics.encoding.encoded_table`, with the
    names of the rows, or their numbers, in the first column. Arrays (``.npz``) are those of the
    result, with ``label`` as names, empty if unknown. An AnnData (``.h5ad``) is the encoded one
    after `annotate`. Rows are written in chunks.

    Args:
        target: the file.
        found: the result.
        schema: names of labels and covariates.
        annotated: the encoded AnnData, or its file, for ``.h5ad``.
    """
    with aside(target, annotated if isinstance(annotated, Path) else None) as file:
        if target.suffix == ".npz":
            names = {"name": found["name"].astype(str)} if "name" in found else {}
            arrays = dict(found) | names | _named_labels(found, schema)
            np.savez(file, allow_pickle=False, **arrays)
        elif target.suffix == ".h5ad":
            _write_h5ad(file, annotated, found)
        elif target.suffix == ".csv":
            for number, table in enumerate(_tables(found, schema)):
                file.write(table.to_csv(header=number == 0, lineterminator="\n").encode())
        else:
            _write_parquet(file, _tables(found, schema))


def annotate(annotated: Any, found: Mapping[str, Array]) -> Any:
    """Return a copy of an AnnData with codes: ``obsm["X_ppvae"]`` and ``obs["ppvae_log_p"]``.

    ``obsm`` has the concatenated ``loc`` of all latents, and ``obs`` also the error, the bound and
    the split, if known. Rows that were not encoded are NaN.
    """
    annotated = annotated.copy()
    codes, columns = _of_cells(annotated.n_obs, found)
    annotated.obsm[CODES] = codes
    for name, column in columns.items():
        annotated.obs[name] = column
    return annotated


def _of_cells(count: int, found: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
    """The codes of all cells of an AnnData, and new columns of its obs."""
    rows = found["row"]
    if len(np.unique(rows)) < len(rows) or rows.max(initial=-1) >= count:
        raise InputError(
            "the encoded rows are from several files, or not from this AnnData; give a .csv or "
            ".parquet file as `out`"
        )
    locs = [found[name] for name in found if name == "loc" or name.startswith("loc_")]
    of_rows = np.concatenate([loc.reshape(len(rows), -1) for loc in locs], 1)
    codes = np.full((count, of_rows.shape[1]), np.nan, of_rows.dtype)
    codes[rows] = of_rows
    columns: dict[str, Array] = {}
    for name in ("log_p", "log_p_error", "elbo"):
        if name in found:
            columns[f"ppvae_{name}"] = np.full(count, np.nan)
            columns[f"ppvae_{name}"][rows] = found[name]
    if "split" in found:
        columns["ppvae_split"] = np.full(count, "", object)
        columns["ppvae_split"][rows] = found["split"]
    return codes, columns


def _tables(found: Mapping[str, Array], schema: Schema) -> Iterator["DataFrame"]:
    """The table in chunks of rows; an empty table is one chunk."""
    for start in range(0, max(1, len(found["row"])), TOGETHER):
        some = {name: values[start : start + TOGETHER] for name, values in found.items()}
        yield encoded_table(some, schema)


def _write_parquet(file: BinaryIO, tables: Iterator["DataFrame"]) -> None:
    arrow = needed("pyarrow", "writing .parquet")
    parquet = needed("pyarrow.parquet", "writing .parquet")
    writer = None
    try:
        for frame in tables:
            table = arrow.Table.from_pandas(frame)
            writer = writer or parquet.ParquetWriter(file, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _write_h5ad(file: BinaryIO, annotated: Any, found: Mapping[str, Array]) -> None:
    """Write an AnnData with codes; of a file, into a copy of it, without reading X."""
    import h5py

    io = needed("anndata", "writing .h5ad").io
    if not isinstance(annotated, Path):
        with h5py.File(file, "w") as content:
            io.write_elem(content, "/", annotate(annotated, found))
        return
    with h5py.File(file, "r+") as content:
        obs = io.read_elem(content["obs"])
        codes, columns = _of_cells(len(obs), found)
        io.write_elem(content["obsm"], CODES, codes)
        io.write_elem(content, "obs", obs.assign(**columns))


def _named_labels(found: Mapping[str, Array], schema: Schema) -> dict[str, Array]:
    codes = found.get("label", found.get("y"))
    if codes is None or schema.labels is None or codes.dtype.kind != "i":
        return {}
    return {"label": np.array([*schema.labels, ""])[codes]}  # the last is for -1, unknown
