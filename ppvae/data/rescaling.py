"""From raw rows to data: split, scaled, binarized."""

from dataclasses import replace

from ppvae.data.binarization import binarization
from ppvae.data.dataset import Data
from ppvae.data.disk_rows import surveyed
from ppvae.data.rows import Rows
from ppvae.data.rules import (
    Values,
    as_fitted,
    check_finite,
    check_intensities,
    check_observed,
    infer_scaling,
)
from ppvae.data.scaling import Scaling
from ppvae.data.size_factors import with_totals
from ppvae.data.source import Source
from ppvae.data.split import Split
from ppvae.errors import InputError
from ppvae.settings import Binarize, Scale


def suited(
    data: Data,
    values: Values | None,
    scale: Scale | None = None,
    *,
    may_binarize: bool = False,
) -> Data:
    """Return the data scaled for a likelihood of ``values``; unchanged if they are already.

    Args:
        data: read before the likelihood was known.
        values: the values of the likelihood; see :func:`ppvae.data.rules.infer_scaling`.
        scale: the user's choice, which takes precedence.
        may_binarize: whether intensities become zeros and ones if ``values`` are binary and the
            data are meant for that, such as the digits.

    Raises:
        InputError: as for :func:`load`.
    """
    source, binarize = data.source, data.binarize
    if source is None or (data.is_asked and scale is None):
        return data
    if may_binarize and values == "binary":
        binarize = source.binarize
    if values == "counts":
        source = totalled(data).source or source
    rescaled = data_of(data.name, source, binarize, data.seed, None, scale, values)
    if source is not data.source:
        return rescaled
    same = (rescaled.scaling, rescaled.binarize) == (data.scaling, data.binarize)
    return data if same and scale is None else rescaled


def scaled_as(data: Data, scaling: Scaling) -> Data:
    """Return the data with the ``scaling`` of a fit, ``run.scaling``.

    Raises:
        InputError: if they cannot have that unit.
    """
    if data.source is None:
        raise InputError(f"{data.name} was not read by load or from_arrays, and stays as it is.")
    return data_of(data.name, data.source, data.binarize, data.seed, scaling)


def totalled(data: Data) -> Data:
    """Return data of cells with totals as size factors, unless the user chose some."""
    if data.source is None or data.size_factor != "auto":
        return data
    return replace(data, source=with_totals(data.source))


def data_of(
    name: str,
    source: Source,
    binarize: Binarize,
    seed: int,
    fitted: Scaling | None,
    scale: Scale | None = None,
    values: Values | None = None,
    asked: str | None = None,
) -> Data:
    """Return the rows of a source, split and scaled.

    Args:
        name: the name of the data.
        source: the raw rows.
        binarize: see `ppvae.data.load`; so are ``seed`` and ``scale``.
        seed: of the split and of all fixed noise.
        fitted: the scaling of a fit, for values read in the same way.
        scale: the user's choice of scaling.
        values: the values of the likelihood, if it is known.
        asked: the user's choice of size factors.

    Raises:
        InputError: if the rows cannot be read in this way.
    """
    parts = source.parts(seed)
    note = None
    surveyed(parts)
    for part, rows in parts.items():
        check_observed(rows, part, source.where)
    if fitted is None:
        is_binarized = binarize != "none"
        scaling, note = infer_scaling(source, parts, values, scale, binarized=is_binarized)
    else:
        scaling = as_fitted(fitted, parts, source.scaling, source.where)
    splits = {
        part: split_of(source, rows, part, binarize, seed, scaling) for part, rows in parts.items()
    }
    return Data(
        name,
        source.train.shape,
        **splits,
        scaling=scaling,
        binarize=binarize,
        labels=source.labels,
        notes=source.notes if note is None else (*source.notes, note),
        source=source,
        seed=seed,
        is_asked=scale is not None or fitted is not None,
        size_factor=_size_factor(source, asked),
    )


def split_of(
    source: Source, rows: Rows, part: str, binarize: Binarize, seed: int, scaling: Scaling
) -> Split:
    """Return a part of the raw rows, scaled and binarized.

    Raises:
        InputError: for values that single precision or the binarization cannot hold.
    """
    check_finite(rows, scaling, part, source.where)
    if binarize != "none":
        check_intensities(rows, scaling, binarize, source.where)
    return rows.split(scaling, binarization(binarize, part, seed))


def _size_factor(source: Source, asked: str | None) -> str:
    """The user's choice of size factors, or ``"auto"`` until a likelihood decides."""
    if source.size_unit is None:
        return "auto" if asked is None and source.is_sequenced else "none"
    return asked or "total"
