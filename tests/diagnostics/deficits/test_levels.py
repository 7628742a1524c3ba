"""Wider families of grey levels and of counts out of a known total."""

from functools import partial
from typing import Any

import pytest
import torch
from pyro.infer import TraceMeanField_ELBO

from ppvae.bounds.audit import audit
from ppvae.cli.flags_in_sentences import in_flags
from ppvae.data import as_split
from ppvae.diagnostics.deficits.climbing import Climb
from ppvae.diagnostics.deficits.fitted import Fitted
from ppvae.diagnostics.deficits.likelihoods import likelihoods
from ppvae.diagnostics.deficits.measuring import deficits
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.models import VAE, StandardNormal
from ppvae.models.likelihoods import Bernoulli, Binomial, DiscretizedLogistic, Likelihood
from ppvae.networks import MLP
from ppvae.programs import Pair
from tests.support.decoders import last_layer

SHAPE = (1, 2, 2)


def fitted(likelihood: Likelihood, x: torch.Tensor) -> Fitted:
    """Programs whose decoder starts at the marginal, plus an effect of z."""
    torch.manual_seed(0)
    small = partial(MLP, hidden=(8,))
    model = VAE(StandardNormal(2), likelihood, small)
    start = likelihood.fit_marginal(x)
    assert start is not None
    with torch.no_grad():
        last_layer(model).bias.copy_(start.reshape(-1))
    batch = {"x": x[:8]}
    pair = Pair(model, MeanField(2, x.shape[1:], small), batch)
    return Fitted(pair, audit(pair, TraceMeanField_ELBO, batch), batch, TraceMeanField_ELBO, 1, {})


def log_p(case: Fitted, x: torch.Tensor) -> torch.Tensor:
    """Log p(x | z) at fixed draws of z."""
    model: Any = case.pair.program("model")
    z = torch.randn(len(x), 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        log_prob: torch.Tensor = model.likelihood(model.decoder(z)).log_prob(x)
    return log_prob


def edges(rows: int) -> torch.Tensor:
    """Elements that are mostly 0 or 16 out of 16, unlike any binomial."""
    ends = 16.0 * torch.randint(0, 2, (rows, *SHAPE))
    return torch.where(torch.rand(ends.shape) < 0.1, torch.randint(0, 17, ends.shape), ends)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


def test_a_categorical_starts_at_the_masses_of_the_binomial() -> None:
    x = edges(64)
    old = fitted(Binomial(SHAPE), x)
    was = log_p(old, x)
    (candidate,) = likelihoods(old, {"x": x})
    flags = "--likelihood Categorical --likelihood.classes 17"
    assert in_flags(candidate.remedy) == flags
    with candidate.put() as (put, fresh):
        assert fresh
        torch.testing.assert_close(log_p(put, x), was, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(log_p(old, x), was)


def test_several_logistics_start_around_the_one() -> None:
    x = edges(64) / 16 * 200 / 255
    x = (x * 255).round() / 255
    old = fitted(DiscretizedLogistic(SHAPE), x)
    was = log_p(old, x)
    (candidate,) = likelihoods(old, {"x": x})
    flags = "--likelihood MixtureOfDiscretizedLogistics --likelihood.components 3"
    assert in_flags(candidate.remedy) == flags
    with candidate.put() as (put, _):
        assert float((log_p(put, x) - was).abs().mean()) < 0.3 * x[0].numel()


@pytest.mark.slow
def test_two_modes_are_the_loss_of_the_likelihood() -> None:
    x = edges(900)
    case = fitted(Binomial(SHAPE), x)
    train, valid, examined = (as_split(part) for part in x.split([500, 200, 200]))
    climb = Climb(train, valid, 20, 2e-2, batch_size=100, choices=2)
    found = deficits(case, climb, examined, draws=5, slow=False, parts=("likelihood", "encoder"))
    assert found.refusals == {}
    by_name = {each.part: each for each in found.measured}
    wins = by_name["likelihood"].along.mean
    assert wins > 5.0
    assert by_name["encoder"].along.mean < wins / 2


def test_binary_elements_have_no_wider_family() -> None:
    x = (edges(64) > 8).float()
    with pytest.raises(InputError, match="no other likelihood is tried"):
        likelihoods(fitted(Bernoulli(SHAPE), x), {"x": x})
