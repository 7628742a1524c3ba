"""Statistics of mixed tables: of each column, and of the association of all."""

import math

import pytest
import scipy.stats
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor

from ppvae.data import Scaling
from ppvae.diagnostics import subject
from ppvae.diagnostics.model.answer import ModelAnswer
from ppvae.diagnostics.model.columns import association, negative_draws, of_columns, statistics_for
from ppvae.diagnostics.model.predictive import STATISTICS, check
from ppvae.guides import MeanField
from ppvae.models import VAE, Gaussian, PerColumn, StandardNormal
from ppvae.networks.columns import Column
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
    found = of_columns(SKEWED, x, Scaling("standardized", loc, scale))
    assert "negative share of crp" in found  # a 0 that scaling rounds is not negative
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


def test_a_normal_of_a_skewed_positive_column_draws_negative_values() -> None:
    """Also in a table of real columns only, whose other statistics are of all elements."""
    raw = skewed()[:, :2]
    scaling = Scaling("standardized", tuple(raw.mean(0).tolist()), tuple(raw.std(0).tolist()))
    x = scaling.apply(raw)
    model = VAE(StandardNormal(2), Gaussian((2,)), AFFINE)
    with torch.no_grad():  # x is standard normal for each z
        last_layer(model).weight.zero_()
        last_layer(model).bias.zero_()
    pair, facts, split = subject(model, MeanField(2, (2,), AFFINE), x)
    statistics = statistics_for(facts.supports, x, SKEWED[:2], scaling)
    assert {"skewness of t", "negative share of t", *STATISTICS} < set(statistics)
    found = check(pair, facts, split, statistics=statistics, replications=20, rows=400)
    ((name, share),) = negative_draws(found.statistics)
    (picture,) = ModelAnswer({}, found).pictures
    titles = [axes.get_title(loc="left").replace("\n", " ") for axes in picture.draw().axes]
    assert {"skewness of crp", "negative share of crp"} <= set(titles[:4])
    normal = scipy.stats.norm(float(raw[:, 0].mean()), float(raw[:, 0].std()))
    assert name == "crp"
    assert share == pytest.approx(normal.cdf(0), abs=0.01)


def test_other_data_have_the_statistics_of_all_elements() -> None:
    x = torch.randn(20, 3)
    case = subject(VAE(StandardNormal(2), Gaussian((3,)), AFFINE), MeanField(2, (3,), AFFINE), x)
    assert statistics_for(case[1].supports) is STATISTICS
    assert "association of columns" in of_columns(COLUMNS)
