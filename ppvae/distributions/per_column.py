"""A vector whose elements have different families: the columns of a mixed table."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, ClassVar, override

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.networks.columns import Column


class PerColumn(dist.TorchDistribution):
    """p(x_1), ..., p(x_D), each with its own family; elementwise, like any batch of numbers.

    Columns of one family are one group, which is scored, drawn and averaged at once::

        log p(x)_d = log p_g(x_d)    for the group g that holds column d.

    End it with ``.to_event(1)`` for the joint density of the vector.

    Args:
        groups: the distribution of the columns of each group, batch shape ``(*lead, D_g)``; the
            events are single numbers, and ``lead`` is the same for all.
        order: the column of x, from 0, of each column of the groups, one group after another:
            ``(D,)``, a permutation of 0, ..., D - 1.
        support: that of the vector, from `columnwise`.

    Shapes: batch shape ``(*lead, D)``; event shape ``()``.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self,
        groups: Sequence[dist.TorchDistribution],
        order: Tensor,
        support: constraints.Constraint,
        validate_args: bool | None = None,
    ) -> None:
        self.groups, self.order, self._support = tuple(groups), order, support
        lead = torch.broadcast_shapes(*(group.batch_shape[:-1] for group in self.groups))
        super().__init__(lead + order.shape, validate_args=validate_args)

    @property
    @override
    def support(self) -> constraints.Constraint:
        return self._support

    @override
    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "PerColumn":
        groups = [g.expand(torch.Size([*batch_shape[:-1], g.batch_shape[-1]])) for g in self.groups]
        return PerColumn(groups, self.order, self._support, self._validate_args)

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        parts = self.by_group(value)
        return self._joined([g.log_prob(x) for g, x in zip(self.groups, parts, strict=True)])

    @override
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._joined([group.sample(torch.Size(sample_shape)) for group in self.groups])

    @property
    @override
    def mean(self) -> Tensor:
        """The mean of each column; for a category that of its code, which may be no level."""
        return self.of_groups(lambda group: group.mean)

    @property
    @override
    def variance(self) -> Tensor:
        return self.of_groups(lambda group: group.variance)

    @property
    def point(self) -> Tensor:
        """The value shown for each column: its mean, or the most probable level of a category."""
        return self.of_groups(lambda g: g.mode.nan_to_num(0) if g.has_enumerate_support else g.mean)

    @property
    def levels(self) -> dict[int, Tensor]:
        """The probabilities of the levels of each column that is a category, ``(*lead, K)``."""
        found: dict[int, Tensor] = {}
        for group, columns in zip(self.groups, self.by_group(self._numbered), strict=True):
            if group.has_enumerate_support:
                values = group.enumerate_support(expand=False)
                probs = group.log_prob(values.expand(-1, *group.batch_shape)).exp()
                found |= dict(zip(columns.tolist(), probs.movedim(0, -1).unbind(-2), strict=True))
        return found

    @property
    def _numbered(self) -> Tensor:
        return torch.arange(len(self.order), device=self.order.device)

    def of_groups(self, what: Callable[[Any], Tensor]) -> Tensor:
        """A value computed for each group, ``(..., D_g)``, joined to one vector ``(..., D)``."""
        return self._joined([what(group) for group in self.groups])

    def by_group(self, value: Tensor) -> tuple[Tensor, ...]:
        """Split ``(..., D)`` into the columns of each group, ``(..., D_g)``."""
        widths = [group.batch_shape[-1] for group in self.groups]
        parts: tuple[Tensor, ...] = value.index_select(-1, self.order).split(widths, -1)
        return parts

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        lead = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
        each = torch.cat([part.expand(*lead, part.shape[-1]) for part in parts], -1)
        return torch.zeros_like(each).index_copy(-1, self.order, each)


class Columnwise(constraints.cat):
    """The support of a row of a table whose columns have different supports.

    It is discrete if all of them are.

    Args:
        supports: of each column.
        columns: their names, kinds and levels.
    """

    def __init__(
        self, supports: Sequence[constraints.Constraint], columns: Sequence[Column]
    ) -> None:
        self.supports, self.columns = tuple(supports), tuple(columns)
        # Equal neighbours are checked together.
        runs = [list(run) for _, run in groupby(supports, key=str)]
        super().__init__([run[0] for run in runs], -1, [len(run) for run in runs])

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]  # torch states an attribute
        """Whether no element is a real number."""
        return all(each.is_discrete for each in self.supports)


def columnwise(
    supports: Sequence[constraints.Constraint], columns: Sequence[Column]
) -> constraints.Constraint:
    """The support of a row of a table: that of one column, if all are numbers of the same support.

    Codes of levels are not counts, though they may have the same support.
    """
    is_one = len({str(support) for support in supports}) == 1
    is_one = is_one and not any(column.levels for column in columns)
    return supports[0] if is_one else Columnwise(supports, columns)
