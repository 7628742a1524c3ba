"""Tables with columns of several kinds: numbers, counts and categories."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, override

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.distributions.per_column import PerColumn as Elements
from ppvae.distributions.per_column import columnwise
from ppvae.errors import InputError, nearest
from ppvae.models.likelihoods.bernoulli import Bernoulli
from ppvae.models.likelihoods.categorical import Categorical
from ppvae.models.likelihoods.gaussian import Gaussian
from ppvae.models.likelihoods.laplace import Laplace
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.negative_binomial import NegativeBinomial
from ppvae.models.likelihoods.poisson import Poisson
from ppvae.models.likelihoods.student_t import StudentT
from ppvae.models.likelihoods.zero_inflated import ZeroInflated
from ppvae.networks import Shape
from ppvae.networks.columns import Column, ColumnKind

EACH = "per-element"
FAMILIES: Mapping[ColumnKind, Mapping[str, tuple[type[Likelihood], dict[str, Any]]]] = {
    "real": {
        "Gaussian": (Gaussian, {"variance": EACH}),
        "Laplace": (Laplace, {"scale": EACH}),
        "StudentT": (StudentT, {"df": EACH, "scale": EACH}),
    },
    "count": {
        "NegativeBinomial": (NegativeBinomial, {}),
        "Poisson": (Poisson, {}),
        "ZeroInflated": (ZeroInflated, {}),
    },
    "category": {"Categorical": (Categorical, {}), "Bernoulli": (Bernoulli, {})},
}
"""The families that each kind of column may have, with their arguments; the first is the default.
Each column has its own scale, dispersion or degrees of freedom, which are learned."""


class PerColumn(Likelihood):
    """p(x | z) = prod_d p_d(x_d | z): each column of a table has a family that fits its kind.

    Real numbers are `Gaussian`, counts `NegativeBinomial`, and categories `Categorical`, as in
    Nazabal et al. (2020) for heterogeneous tables; one decoder gives the parameters of all.
    Densities of real columns and probabilities of the others are added up: log p(x) may be above
    zero, and changes with the unit of the real columns only. The mean of a category is its expected
    code, which says little: pictures and tables show its most probable level.

    Args:
        data_shape: shape of one datum, ``(D,)``.
        columns: the columns, in their order.
        families: families by the name of a column, or for all columns of a kind by "real", "count"
            or "category", in place of the default: for a real column "Gaussian", "Laplace" or
            "StudentT"; for counts "NegativeBinomial", "Poisson" or "ZeroInflated"; for a category
            "Categorical", or "Bernoulli" if it has two levels.

    Attributes:
        names: the family of each column, by its name.

    Shapes: the decoder gives one vector, ``(..., *decoder_shape)``: group after group of columns,
    the parameters of their elements.

    Raises:
        InputError: without columns, for a column that the table does not have, and for a family
            that is unknown or does not fit the column.

    Example::

        columns = (Column("mass", "real"), Column("sex", "category", ("female", "male")))
        model = VAE(StandardNormal(2), PerColumn((2,), columns, {"mass": "StudentT"}))
    """

    support: constraints.Constraint = constraints.real
    order: Tensor

    def __init__(
        self,
        data_shape: Shape,
        columns: Sequence[Column] | None = None,
        families: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(data_shape)
        if not columns:
            raise InputError(
                "`likelihood='PerColumn'` gives each column of a table the family of its kind, and "
                "these data have no columns with kinds; give a table with named columns, or "
                "another likelihood"
            )
        if self.data_shape != (len(columns),):
            raise InputError(
                f"PerColumn has {len(columns)} columns, and a datum has shape {self.data_shape}; "
                "give a table with one column per element"
            )
        families = dict(families or {})
        _check_names(families, columns)
        self.columns = tuple(columns)
        self.names = {
            c.name: _family_of(c, families.get(c.name, families.get(c.kind))) for c in self.columns
        }
        places: dict[tuple[ColumnKind, str, int], list[int]] = {}
        for place, column in enumerate(self.columns):
            key = column.kind, self.names[column.name], len(column.levels)
            places.setdefault(key, []).append(place)
        self.groups = nn.ModuleList(_group(*key, (len(own),)) for key, own in places.items())
        order = torch.tensor([place for own in places.values() for place in own])
        self.register_buffer("order", order, persistent=False)
        each = [group.support for group in self.likelihoods for _ in range(group.data_shape[0])]
        supports = [each[place] for place in order.argsort().tolist()]
        self.support = columnwise(supports, self.columns)

    @override
    @classmethod
    def arguments_for(cls, x: Tensor) -> dict[str, Any] | None:
        return None  # values do not show the kinds of columns

    @property
    @override
    def decoder_shape(self) -> Shape:
        return (sum(self._sizes),)

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor | None:
        groups = list(self.likelihoods)
        size = [group.data_shape[0] for group in groups]
        parts = x[..., self.order].split(size, -1)
        masks = [None] * len(size) if mask is None else mask[..., self.order].split(size, -1)
        each = [g.fit_marginal(*own) for g, *own in zip(groups, parts, masks, strict=True)]
        return torch.cat([params.flatten() for params in each if params is not None])

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        parts = h.split(self._sizes, -1)
        elements: list[Any] = [
            group(part.unflatten(-1, group.decoder_shape))
            for group, part in zip(self.likelihoods, parts, strict=True)
        ]
        of_groups = [fn.base_dist for fn in elements]
        return self._independent(Elements(of_groups, self.order, self.support))

    @property
    def likelihoods(self) -> Iterator[Likelihood]:
        """The likelihood of each group of columns."""
        for group in self.groups:
            assert isinstance(group, Likelihood)
            yield group

    @property
    def _sizes(self) -> list[int]:
        return [torch.Size(group.decoder_shape).numel() for group in self.likelihoods]


def _group(kind: ColumnKind, family: str, levels: int, shape: Shape) -> Likelihood:
    """The likelihood of some columns of the same kind, family and number of levels."""
    made, own = FAMILIES[kind][family]
    classes = {"classes": max(levels, 2)} if made is Categorical else {}
    return made(shape, **own, **classes)


def _check_names(families: Mapping[str, str], columns: Sequence[Column]) -> None:
    names = [column.name for column in columns]
    for name in families:
        if name not in names and name not in FAMILIES:
            raise InputError(
                f"`likelihood.families` names the column {name!r}, which the table does not have"
                f"{nearest(name, names)}; its columns: {', '.join(names)}"
            )


def _family_of(column: Column, chosen: str | None) -> str:
    """The name of a column's family."""
    of_kind = list(FAMILIES[column.kind])
    if column.kind == "category" and len(column.levels) != 2:
        of_kind.remove("Bernoulli")
    if chosen is None:
        return of_kind[0]
    if chosen not in of_kind:
        families = {name: kind for kind, own in FAMILIES.items() for name in own}
        kind = families.get(chosen, column.kind)
        other = "" if chosen in families else nearest(chosen, families)
        levels = f" of {len(column.levels)} levels" if column.levels else ""
        way_out = ""
        if kind != column.kind:
            way_out = f"; to read it in another way, give `kinds={ {column.name: kind} }`"
        raise InputError(
            f"`likelihood.families` gives the column {column.name!r} the family {chosen!r}{other}, "
            f"and it is a {column.kind}{levels}, which takes {' or '.join(of_kind)}{way_out}"
        )
    return chosen
