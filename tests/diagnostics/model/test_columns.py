"""Statistics of mixed tables: of each column, and of the association of all."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import scipy.stats
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor

from ppvae.data import Scaling, Split, as_split
from ppvae.data.options import Schema
from ppvae.data.scaling import AS_IS
from ppvae.diagnostics import subject
from ppvae.diagnostics.effort import QUICK
from ppvae.diagnostics.model.answer import ModelAnswer, ask
from ppvae.diagnostics.model.columns import (
    association,
    negative_draws,
    of_columns,
    positive_columns,
    statistics_for,
)
from ppvae.diagnostics.model.predictive import STATISTICS, check
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.models import VAE, Gaussian, PerColumn, StandardNormal
from ppvae.networks.columns import Column
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from tests.support.decoders import last_layer
from tests.support.pca import AFFINE
from tests.support.penguins import COLUMNS, as_modelled, mixed_penguins


def test_association_is_that_of_the_features() -> None:
    columns = (Column("a", "real"), Column("b", "count"), Column("c", "category", ("f", "m")))
    a = torch.randn(2000, generator=torch.Generator().manual_seed(0)).double()
    x = torch.stack([a, (3 + a).clamp(min=0).round(), (a > 0).double()], 1)
    with_b = torch.corrcoef(torch.stack([a, x[:, 1].log1p()]))[0, 1]
    with_c = torch.corrcoef(torch.stack([a, x[:, 2]]))[0, 1]
    b_with_c = torch.corrcoef(torch.stack([x[:, 1].log1p(), x[:, 2]]))[0, 1]
    # Each level of c is a feature.
    want = ((with_b**2 + 2 * with_c**2 + 2 * b_with_c**2) / 5).sqrt()
    torch.testing.assert_close(association(x, columns), want)
    assert math.isnan(association(torch.zeros(10, 3), columns))


def test_independent_columns_fail_by_their_association_alone() -> None:
    x, mask = as_modelled(mixed_penguins(500, missing=0.0))
    likelihood = PerColumn((len(COLUMNS),), COLUMNS)
    model = VAE(StandardNormal(2), likelihood, AFFINE)
    start = likelihood.fit_marginal(x, mask)
    assert start is not None
    with torch.no_grad():  # the decoder's weights are 0: x does not depend on z
        last_layer(model).weight.zero_()
        last_layer(model).bias.copy_(start)
    pair, facts, split = subject(model, MeanField(2, (8,), AFFINE), x, elbo=TraceMeanField_ELBO)
    found = check(
        pair, facts, split, statistics=statistics_for(facts.supports), replications=20, rows=500
    )
    assert found.misfits()[0] == "association of columns"
    assert {"mean of dives", "scale of body_mass_g", "share of species = Gentoo"} < set(
        found.statistics
    )
    others = [n for n in found.statistics if n not in ("association of columns", "elbo")]
    assert not [n for n in others if abs(found.statistics[n].z_score) > 5]
    assert found.statistics["share of sex = male"].observed == float(x[:, -1].double().mean())


def skewed(rows: int = 400) -> Tensor:
    """A column of logarithmically normal values, one of normal values, and a count."""
    noise = torch.randn(rows, 3, generator=torch.Generator().manual_seed(0))
    return torch.stack([noise[:, 0].exp(), 50 + 10 * noise[:, 1], noise[:, 2].abs().round()], 1)


SKEWED = (Column("crp", "real"), Column("t", "real"), Column("n", "count"))


def test_each_real_column_is_checked_in_the_units_of_the_table() -> None:
    raw = skewed()
    raw[0, 0], raw[0, 1] = 0.0, -3.0
    loc, scale = (1.6, 2020.0, 0.0), (2.1, 0.3, 1.0)
    x = (raw - torch.tensor(loc)) / torch.tensor(scale)
    scaling = Scaling("standardized", loc, scale)
    positive = positive_columns(SKEWED, [as_split(x)], scaling)
    assert list(positive) == ["crp"]  # a 0 that scaling rounds is not negative
    found = of_columns(SKEWED, scaling, positive)
    assert not {"negative share of t", "skewness of n", "negative share of n"} & set(found)
    by_scipy = scipy.stats.skew(raw[:, 0].double())
    for name, wanted in {
        "mean of crp": raw[:, 0].mean(), "scale of crp": raw[:, 0].std(), "mean of t": 50.0,
        "skewness of crp": by_scipy, "negative share of crp": 0.0,
    }.items():  # fmt: skip
        assert float(found[name](x)) == pytest.approx(float(wanted), rel=0.02)
    assert float(found["negative share of crp"](x - 1)) > 0.1
    assert [n for n in of_columns([Column(str(i), "real") for i in range(99)]) if "skew" in n] == [
        f"skewness of {i}" for i in range(30)
    ]


def test_a_column_with_a_negative_value_in_any_part_is_not_positive() -> None:
    parts = [as_split(skewed()[:, :1]) for _ in range(2)]
    assert list(positive_columns(SKEWED[:1], parts)) == ["crp"]
    other = skewed()[:, :1]
    other[-1] = -2.0
    assert not positive_columns(SKEWED[:1], [*parts, as_split(other)])


def standard_normal_of(x: Tensor, mask: Tensor | None = None) -> tuple[Pair, Audit, Split]:
    """A fit that draws standard normal values of each column."""
    model = VAE(StandardNormal(2), Gaussian((x.shape[1],)), AFFINE)
    with torch.no_grad():
        last_layer(model).weight.zero_()
        last_layer(model).bias.zero_()
    return subject(model, MeanField(2, (x.shape[1],), AFFINE), x, mask=mask)


@pytest.mark.parametrize("hidden", [0.0, 0.6])
def test_a_normal_of_a_skewed_positive_column_draws_negative_values(hidden: float) -> None:
    """Also in a table of real columns only, whose other statistics are of all elements."""
    raw = skewed()[:, :2]
    mask = torch.rand(raw.shape, generator=torch.Generator().manual_seed(1)) >= hidden
    seen = [column[kept] for column, kept in zip(raw.T, mask.T, strict=True)]
    loc, scale = ([float(of(c)) for c in seen] for of in (torch.mean, torch.std))
    scaling = Scaling("standardized", tuple(loc), tuple(scale))
    x = scaling.apply(raw).where(mask, 0.0)
    pair, facts, split = standard_normal_of(x, mask)
    positive = positive_columns(SKEWED[:2], [split], scaling)
    statistics = statistics_for(facts.supports, SKEWED[:2], scaling, positive)
    assert {"skewness of t", "negative share of t", *STATISTICS} < set(statistics)
    found = check(
        pair, facts, split, statistics=statistics, positive=positive, replications=20, rows=400
    )
    (column,) = negative_draws(found.positive)
    (picture,) = ModelAnswer({}, found).pictures
    titles = [axes.get_title(loc="left").replace("\n", " ") for axes in picture.draw().axes]
    assert {"skewness of crp", "negative share of crp"} <= set(titles)
    normal = scipy.stats.norm(loc[0], scale[0])
    assert column.name == "crp"
    share = float(column.negative_share.replicated.mean())
    assert share == pytest.approx(normal.cdf(0), abs=0.01)
    by_scipy = scipy.stats.skew(seen[0].double())
    for same in (column.skewness, found.statistics["skewness of crp"]):
        assert same.observed == pytest.approx(by_scipy, rel=1e-4)
        assert abs(float(same.replicated.mean())) < 0.1
    of = found.statistics["negative share of crp"]
    torch.testing.assert_close(of.replicated, column.negative_share.replicated)


def test_statistics_of_a_column_are_of_its_observed_cells() -> None:
    x = torch.tensor([[1.0, 0.0], [torch.nan, 2.0], [4.0, torch.nan]])
    found = of_columns((Column("a", "real"), Column("b", "category", ("f", "g", "h"))))
    assert [float(found[f"{of} of a"](x)) for of in ("mean", "scale")] == pytest.approx(
        [2.5, 2.12], rel=1e-2
    )
    assert float(found["share of b = h"](x)) == 0.5
    one = torch.full((3, 2), torch.nan)
    one[0] = 1.0
    assert math.isnan(float(found["scale of a"](one)))


def test_negative_draws_of_all_columns_are_checked() -> None:
    """Also beyond those that have statistics of their own."""
    raw = skewed()[:, :1].repeat(1, 40)
    columns = [Column(str(place), "real") for place in range(40)]
    pair, facts, split = standard_normal_of(raw)
    positive = positive_columns(columns, [split])
    statistics = statistics_for(facts.supports, columns, AS_IS, positive)
    found = check(
        pair, facts, split, statistics=statistics, positive=positive, replications=2, rows=400
    )
    assert len(negative_draws(found.positive)) == 40


def test_negative_values_are_looked_for_in_all_parts_of_the_run() -> None:
    raw, other = skewed(50)[:, :1], skewed(50)[:, :1]
    other[-1] = -2.0
    pair, facts, split = standard_normal_of(raw)

    def asked(data: Callable[[], Any]) -> ModelAnswer:
        context: Any = SimpleNamespace(
            run=SimpleNamespace(schema=Schema(columns=SKEWED[:1]), scaling=AS_IS, data=data),
            pair=pair, audit=facts, data=split, some=lambda _: split, effort=QUICK, seed=0,
            device="cpu", progress=lambda *_: nullcontext(lambda _: None),
        )  # fmt: skip
        return ask(context)

    def gone() -> None:
        raise InputError("the data do not exist")

    def names(answer: ModelAnswer) -> list[str]:
        assert answer.predictive is not None
        return [each.name for each in answer.predictive.positive]

    splits = {"train": as_split(other), "test": split}
    everywhere, here = asked(lambda: SimpleNamespace(splits=splits)), asked(gone)
    assert (names(everywhere), everywhere.has_all_rows) == ([], True)
    assert (names(here), here.has_all_rows) == (["crp"], False)


def test_other_data_have_the_statistics_of_all_elements() -> None:
    x = torch.randn(20, 3)
    case = subject(VAE(StandardNormal(2), Gaussian((3,)), AFFINE), MeanField(2, (3,), AFFINE), x)
    assert statistics_for(case[1].supports) is STATISTICS
    assert "association of columns" in of_columns(COLUMNS)
