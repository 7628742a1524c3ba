"""Wider families for the columns of a mixed table: heavier tails, and overdispersed counts."""

from collections.abc import Iterator

import torch

from ppvae.diagnostics.deficits.candidates import Candidate
from ppvae.diagnostics.deficits.slot import Slot
from ppvae.diagnostics.deficits.unexplained import Errors, log_r_of
from ppvae.models.likelihoods import NegativeBinomial, PerColumn, StudentT

OTHERS = {"Gaussian": "StudentT", "Laplace": "StudentT", "Poisson": "NegativeBinomial"}
"""Families that may be too narrow, each with a wider one of as many parameters."""

NAMED = 4
"""Maximum number of columns to name."""


def of_columns(slot: Slot, old: PerColumn, errors: Errors) -> Iterator[Candidate]:
    """For each family, the table with all its columns in a wider family."""
    for family, wider in OTHERS.items():
        names = [name for name, own in old.names.items() if own == family]
        if not names:
            continue
        new = PerColumn(old.data_shape, old.columns, old.names | dict.fromkeys(names, wider))
        if _layout(new) != _layout(old):
            continue  # the decoder outputs would need another order
        _begin(new, old, errors)
        kinds = {column.kind for column in old.columns if column.name in names}
        all_of_kind = [column.name for column in old.columns if column.kind in kinds]
        keys: list[str] = [*kinds] if all_of_kind == names else names
        remedy = f"`likelihood='PerColumn', likelihood.families={dict.fromkeys(keys, wider)}`"
        if len(keys) > NAMED:
            remedy = f"{wider} for the {len(names)} columns that are {family}"
        yield slot.other(new, remedy, name=f"{wider} for {family}")


def _layout(likelihood: PerColumn) -> tuple[list[int], list[tuple[int, ...]]]:
    """Order and groups of the columns in the outputs of the decoder."""
    return likelihood.order.tolist(), [group.decoder_shape for group in likelihood.likelihoods]


def _begin(new: PerColumn, old: PerColumn, errors: Errors) -> None:
    """Start at the fitted likelihood; new parameters start from its residuals."""
    absolute = errors.average((errors.x - errors.mean).abs())
    spread = log_r_of(errors)
    widths = [group.data_shape[0] for group in new.likelihoods]
    each = zip(new.likelihoods, old.likelihoods, old.order.split(widths), strict=True)
    for group, before, columns in each:
        if type(group) is type(before):
            group.load_state_dict(before.state_dict())
        elif isinstance(group, StudentT):
            group.scale.start_at(absolute[columns])
        elif isinstance(group, NegativeBinomial):
            group.log_r = torch.nn.Parameter(spread[columns].clone())
