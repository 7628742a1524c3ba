"""Statistics of mixed tables: of each column, and of the association of all."""

import math

import torch
from pyro.infer import TraceMeanField_ELBO

from ppvae.diagnostics import subject
from ppvae.diagnostics.model.columns import association, of_columns, statistics_for
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


def test_other_data_have_the_statistics_of_all_elements() -> None:
    x = torch.randn(20, 3)
    case = subject(VAE(StandardNormal(2), Gaussian((3,)), AFFINE), MeanField(2, (3,), AFFINE), x)
    assert statistics_for(case[1].supports) is STATISTICS
    assert "association of columns" in of_columns(COLUMNS)
