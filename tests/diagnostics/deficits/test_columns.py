"""Other families for the columns of a mixed table."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO

from ppvae.bounds.audit import audit
from ppvae.cli.flags_in_sentences import in_flags
from ppvae.data import as_split
from ppvae.data.columns import Column
from ppvae.diagnostics.deficits.beside import beginning
from ppvae.diagnostics.deficits.climbing import Climb
from ppvae.diagnostics.deficits.fitted import Fitted
from ppvae.diagnostics.deficits.likelihoods import likelihoods
from ppvae.diagnostics.deficits.measuring import deficits
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.models import VAE, PerColumn, StandardNormal
from ppvae.networks import MLP
from ppvae.networks.column_features import ColumnFeatures
from ppvae.programs import Pair
from tests.support.decoders import last_layer

COLUMNS = (
    Column("count", "count"), Column("kind", "category", ("a", "b", "c")),
    Column("tailed", "real"), Column("even", "real"),
)  # fmt: skip


def fitted(x: torch.Tensor, families: dict[str, str]) -> tuple[Fitted, PerColumn]:
    torch.manual_seed(0)
    likelihood = PerColumn((4,), COLUMNS, families)
    small = partial(MLP, hidden=(8,))
    model = VAE(StandardNormal(2), likelihood, small)
    start = likelihood.fit_marginal(x)
    assert start is not None
    with torch.no_grad():
        last_layer(model).bias.copy_(start)
        last_layer(model).weight.zero_()
    pair = Pair(model, MeanField(2, (4,), ColumnFeatures.before(small, COLUMNS)), {"x": x[:8]})
    facts = audit(pair, TraceMeanField_ELBO, {"x": x[:8]})
    return Fitted(pair, facts, {"x": x[:8]}, TraceMeanField_ELBO, 1, {}), likelihood


def rows(count: int = 900) -> torch.Tensor:
    rng = np.random.default_rng(0)
    each = (
        rng.negative_binomial(1, 0.1, count), rng.integers(0, 3, count),
        rng.standard_t(2, count), rng.standard_normal(count),
    )  # fmt: skip
    return torch.from_numpy(np.stack(each, 1)).float()


def test_a_wider_family_starts_as_the_fitted_one_and_takes_its_decoder() -> None:
    x = rows()
    old, likelihood = fitted(x, {"count": "Poisson"})
    narrow, counts = likelihoods(old, {"x": x})
    assert narrow.name == "StudentT for Gaussian"
    assert "{'real': 'StudentT'}" in narrow.remedy
    families = "likelihood.families={'count': 'NegativeBinomial'}"
    assert counts.remedy == f"`likelihood='PerColumn', {families}`"
    flags = "--likelihood PerColumn --likelihood.families '{count: NegativeBinomial}'"
    assert in_flags(counts.remedy) == flags
    before: Any = old.pair.program("model")
    for candidate in (narrow, counts):
        with candidate.put() as (put, fresh):
            model = put.pair.program("model")
            assert isinstance(model, VAE)
            assert model.decoder is before.decoder
            assert fresh
            elements = model.likelihood(model.decoder(torch.zeros(1, 2))).base_dist
            with torch.no_grad():
                mean = elements.log_prob(x).sum(1).mean()
                was = likelihood(before.decoder(torch.zeros(1, 2))).log_prob(x).mean()
            assert float(mean) > float(was) + 0.1
    merged, _ = fitted(x, {"tailed": "StudentT"})
    with pytest.raises(InputError, match="no other likelihood is tried"):
        likelihoods(merged, {"x": x})


def test_heavy_tails_of_a_column_are_the_likelihoods_loss() -> None:
    x = rows()
    case, _ = fitted(x, {})
    train, valid, examined = (as_split(part) for part in x.split([500, 200, 200]))
    climb = Climb(train, valid, 20, 2e-2, batch_size=100, choices=2)
    found = deficits(case, climb, examined, draws=5, slow=False, parts=("likelihood", "encoder"))
    assert found.refusals == {}
    by_name = {each.part: each for each in found.measured}
    assert by_name["likelihood"].name == "StudentT for Gaussian"
    assert by_name["likelihood"].along.mean > 0.1


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small added networks, which suffice for these data."""
    monkeypatch.setattr("ppvae.diagnostics.deficits.beside.HIDDEN", (16,))


@pytest.mark.parametrize("size", [4, 7])
def test_a_network_beside_one_of_columns_reads_them_alike(size: int) -> None:
    old = ColumnFeatures.before(partial(MLP, hidden=(8,)), COLUMNS)((size,), (3,)).double()
    new = beginning(old, (size,), (2,))
    assert isinstance(new, ColumnFeatures)
    assert new(torch.zeros(5, size).double()).tolist() == [[0.0, 0.0]] * 5
