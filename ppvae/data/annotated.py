"""Gene counts of cells with their annotations: AnnData, and its file .h5ad."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ppvae.data.arrays import array_source
from ppvae.data.beside import beside_x, size_factors
from ppvae.data.cells_file import CellsFile
from ppvae.data.columns import Column, ColumnKind
from ppvae.data.disk_rows import DiskRows
from ppvae.data.downloads import parsing
from ppvae.data.optional import needed
from ppvae.data.options import ReadOptions, Schema
from ppvae.data.rows import ArrayRows, Rows
from ppvae.data.source import Source
from ppvae.errors import InputError


def h5ad_source(path: Path, options: ReadOptions, schema: Schema) -> Source:
    """Read the file at ``path``; see `annotated_source`.

    Raises:
        InputError: if anndata is not installed, or the data cannot be used.
    """
    anndata = needed("anndata", f"reading {path}")
    with parsing(path, "an .h5ad file"):
        annotated = anndata.read_h5ad(path, backed="r")
        opened = None
        if annotated.X is not None and annotated.n_obs and annotated.n_vars:
            opened = CellsFile(path, annotated, options.memory)
        if opened is None or opened.is_read_whole:
            annotated, opened = annotated.to_memory(), None
    return annotated_source(annotated, str(path), options, schema, opened=opened)


def annotated_source(
    annotated: Any,
    where: str,
    options: ReadOptions,
    schema: Schema,
    obs: Any = None,
    opened: CellsFile | None = None,
) -> Source:
    """Return an AnnData as raw rows: x is X, and labels and the like are columns of obs.

    Rows are named by ``obs_names``, and columns by ``var_names``; the columns of new data are put
    in the order of the fit. ``obs``, if given, replaces that of the AnnData, and ``opened`` its X,
    which stays on disk.

    Raises:
        InputError: if X is not an array of numbers, or obs lacks a column.
    """
    annotated = annotated.to_memory() if annotated.isbacked and opened is None else annotated
    obs = annotated.obs if obs is None else obs
    names = tuple(map(str, annotated.var_names))
    if annotated.X is None:
        raise InputError(f"{where} has no X: put the counts there, as `X = layers['counts']`.")
    if len(set(names)) < len(names):
        raise InputError(f"{where}: var_names are not unique: call var_names_make_unique().")
    if options.may_lack:
        options = options.of_new(obs.columns)
    if options.drop:
        raise InputError(f"{where}: `drop` is for tables: take columns by adata[:, genes].")
    if schema.columns is not None:
        wanted = [column.name for column in schema.columns]
        lacking = sorted(set(wanted) - set(names))
        if lacking:
            raise InputError(
                f"{where} lacks {len(lacking)} of the {len(wanted)} variables that the model was "
                f"fitted on ({', '.join(lacking[:3])}, ...): give it those."
            )
        if opened is None:
            annotated = annotated[:, wanted]
        else:
            opened.take_columns([names.index(name) for name in wanted])
        names = tuple(wanted)
    if opened is None:
        source = array_source(annotated.X, where)
        x = source.train.read(torch.arange(len(source.train)))["x"]
        is_count, told = bool((x >= 0).all() and (x == x.round()).all()), source.notes
    else:
        every = DiskRows(opened, torch.arange(opened.rows))
        is_count = every.survey.is_whole and bool((every.survey.lowest >= 0).all())
        told = (opened.note,)
    beside = beside_x(obs, where, options, schema)
    size, unit = size_factors(beside, options.size_factor, schema.size_unit)
    beside.faults.check()
    kind: ColumnKind = "count" if is_count else "real"
    known = beside.annotations
    if options.index is None:
        known = replace(known, index=annotated.obs_names.astype(str).to_numpy(object))
    rows: Rows
    if opened is None:
        rows = ArrayRows(x, beside.y, names=names, size_factor=size, known=known)
    else:
        rows = replace(every, y=beside.y, names=names, size_factor=size, known=known)
    notes = [*told]
    if not is_count:
        where_counts = "layers['counts']" if "counts" in annotated.layers else "the raw counts"
        notes.append(f"X holds no counts, and is fitted as real numbers: put {where_counts} there")
    return Source(
        where,
        **beside.divided(rows),
        labels=beside.labels,
        columns=tuple(Column(name, kind) for name in names),
        covariates=beside.covariates,
        is_sequenced=is_count,
        size_unit=unit,
        notes=tuple(notes),
    )
