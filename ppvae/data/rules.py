"""Which scaling raw values ask for, and whether new ones can be read as fitted ones were."""

import math

import torch
from torch import Tensor

from ppvae.data.rows import ArrayRows, Rows
from ppvae.data.scaling import AS_IS, COUNTS, EIGHT_BIT, Scaling
from ppvae.errors import InputError

LARGEST = 1e18
"""The largest size of a number whose square, times the size of a datum, is finite in float32."""


def natural(parts: dict[str, Rows], where: str) -> Scaling:
    """Return the scaling that the values ask for; a table's is that of its training rows.

    Zeros and ones are themselves whatever they are stored as. Other bytes are intensities, other
    integers are counts, a float table is standardized unless its values are all in [0, 1] or all
    whole numbers from 0, and other float arrays are left alone.

    Raises:
        InputError: where a column is too wide to be standardized.

    """
    train = parts["train"]
    if not isinstance(train, ArrayRows):
        return EIGHT_BIT
    everything = _observed(parts)
    if all(_binary(values) for values in everything):
        return AS_IS
    if train.x.dtype == torch.uint8:
        return EIGHT_BIT
    if not train.x.is_floating_point():
        return COUNTS if all(_whole(values) for values in everything) else AS_IS
    if train.x.ndim > 2 or all(_unit(values) for values in everything):
        return AS_IS
    return COUNTS if all(_whole(values) for values in everything) else _standard(train, where)


def as_fitted(
    fitted: Scaling, parts: dict[str, Rows], known: Scaling | None, where: str
) -> Scaling:
    """Return how to read ``parts`` for a model that was fitted on data scaled by ``fitted``.

    It is ``fitted``, but for zeros and ones, which mean none and all of an intensity on every
    scale of intensities. ``known`` is the scaling that the format of the data tells, if it does.

    Raises:
        InputError: where the values cannot have the unit of the fitted ones.

    """
    everything = _observed(parts)
    shape = next(iter(parts.values())).shape
    binary = known in (None, AS_IS) and all(_binary(values) for values in everything)
    of_bytes = any(values.dtype == torch.uint8 for values in everything)
    eight_bit = known == EIGHT_BIT or (known is None and of_bytes and not binary)
    if fitted.loc is not None and shape != (len(fitted.loc),):
        raise InputError(
            f"{where} has data of shape {shape}, and the model was fitted on tables of "
            f"{len(fitted.loc)} columns: give it the same columns."
        )
    if binary and fitted.kind != "standardized":
        return AS_IS
    if eight_bit != (fitted.kind == "8-bit"):
        held = "8-bit intensities" if eight_bit else "no 8-bit intensities"
        raise InputError(
            f"{where} holds {held}, and the model was fitted on {fitted.sentence()}: give it "
            f"data in that unit{'' if eight_bit else ', as uint8 from 0 to 255'}."
        )
    if fitted.kind == "counts" and not all(_whole(values) for values in everything):
        raise InputError(
            f"{where} holds values that are not whole numbers from 0, and the model was fitted on "
            f"counts: give it counts."
        )
    return fitted


def demand_observed(rows: Rows, part: str, where: str) -> None:
    """Refuse a part of the data of which nothing was observed: no bound could tell fits apart.

    Raises:
        InputError: naming the part.

    """
    if isinstance(rows, ArrayRows) and rows.mask is not None and not rows.mask.any():
        raise InputError(
            f"{where}: mask is False in all {len(rows)} rows of the {part} part, so that nothing "
            f"was observed there; it must be True where x was: leave out rows with no such entry."
        )


def demand_finite(rows: Rows, scaling: Scaling, part: str, where: str) -> None:
    """Refuse numbers whose squares single precision cannot hold once they are scaled.

    Raises:
        InputError: naming the first such row.

    """
    if not isinstance(rows, ArrayRows) or not rows.x.is_floating_point():
        return
    fine = scaling.apply(rows.x).abs() <= LARGEST
    if rows.mask is not None:
        fine |= ~rows.mask
    wrong = (~fine).flatten(1).any(1).nonzero()
    if len(wrong):
        row = int(wrong[0])
        largest = float(rows.x[row].nan_to_num(0).abs().max())
        raise InputError(
            f"{where} holds {largest:.3g} in row {row} of the {part} part, whose square float32 "
            f"cannot hold once it is scaled: rescale the values."
        )


def demand_intensities(rows: Rows, scaling: Scaling, binarize: str, where: str) -> None:
    """Refuse to binarize what is not in [0, 1] once scaled.

    Raises:
        InputError: naming the first such value.

    """
    if not isinstance(rows, ArrayRows) or scaling.kind == "8-bit":
        return
    x = scaling.apply(rows.x)
    if rows.mask is not None:
        x = x[rows.mask]
    beyond = x[(x < 0) | (x > 1)]
    if len(beyond):
        raise InputError(
            f"--binarize {binarize} draws from intensities in [0, 1], and {where} holds "
            f"{beyond[0].item():g}: give --binarize none, or scale the values to [0, 1]."
        )


def _standard(train: ArrayRows, where: str) -> Scaling:
    x = train.x.to(torch.float64)
    if train.mask is not None:
        # Sums over what was observed; a column never observed gets mean 0 and scale 1.
        x = x.masked_fill(~train.mask, math.nan)
    count = (~x.isnan()).sum(0).clamp(min=1)
    loc = x.nansum(0) / count
    # By its values, not its spread: the rounded mean of equal numbers need not equal them.
    lowest, highest = x.nan_to_num(math.inf).amin(0), x.nan_to_num(-math.inf).amax(0)
    loc = torch.where(lowest == highest, lowest, loc)
    scale = ((x - loc).square().nansum(0) / count).sqrt()
    scale = scale.masked_fill(scale == 0, 1.0)
    if not (loc.isfinite() & scale.isfinite()).all():
        column = int((~(loc.isfinite() & scale.isfinite())).nonzero()[0])
        raise InputError(
            f"{where}: column {column} (counted from 0) is too wide to be standardized in double "
            f"precision: rescale it."
        )
    return Scaling("standardized", tuple(loc.tolist()), tuple(scale.tolist()))


def _observed(parts: dict[str, Rows]) -> list[Tensor]:
    return [rows.observed() for rows in parts.values() if isinstance(rows, ArrayRows)]


def _binary(values: Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _unit(values: Tensor) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())


def _whole(values: Tensor) -> bool:
    whole = values == values.floor() if values.is_floating_point() else torch.tensor(True)
    return bool((values >= 0).all() & whole.all())
