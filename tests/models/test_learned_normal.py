"""The learned normal: its optimum, and the relevance of each dimension to x."""

import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor
from torch.distributions import kl_divergence

from ppvae.guides import MeanField
from ppvae.models import VAE, Gaussian
from ppvae.models.priors import LearnedNormal
from tests.support.pca import AFFINE, pca
from tests.support.priors import CURVED


def test_the_learned_normal_that_a_bound_asks_for_has_the_moments_of_the_aggregate() -> None:
    torch.manual_seed(0)
    loc, log_scale = torch.randn(2, 30, 3, dtype=torch.float64)
    q = dist.Normal(2 * loc + 1, log_scale.exp()).to_event(1)
    prior = LearnedNormal(3).double()
    optimizer = torch.optim.LBFGS(
        prior.parameters(),
        max_iter=200,
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = kl_divergence(q, prior()).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    fn = prior()
    torch.testing.assert_close(fn.mean, q.mean.mean(0), rtol=1e-5, atol=1e-6)
    spread = q.variance.mean(0) + q.mean.var(0, correction=0)
    torch.testing.assert_close(fn.variance, spread, rtol=1e-5, atol=1e-6)


def learned_normal(loc: Tensor, scale: Tensor) -> LearnedNormal:
    prior = LearnedNormal(len(loc)).double()
    with torch.no_grad():
        prior.loc.copy_(loc)
        prior.log_scale.copy_(10 * (scale.log() / 10).atanh())  # inverts the tanh
    return prior


LOC, SCALE = torch.tensor([[0.5, -1.0, 2.0], [0.2, 1.0, 3.0]], dtype=torch.float64)


def test_the_relevance_for_a_linear_decoder_is_the_variance_that_a_dimension_explains() -> None:
    w = torch.tensor([[1.0, 2.0, 0.0], [0.5, -1.0, 0.0]], dtype=torch.float64)
    prior = learned_normal(LOC, SCALE)
    found = prior.relevance(lambda z: z @ w.T, draws=3)
    variance = SCALE.square() * w.square().sum(0)
    torch.testing.assert_close(found, variance / variance.sum())
    assert found[2] == 0  # the widest, and not in use
    nothing = prior.relevance(lambda z: torch.zeros_like(z))
    assert torch.equal(nothing, torch.zeros_like(nothing))


def test_the_relevance_is_the_mean_square_slope_where_the_decoder_bends() -> None:
    prior = learned_normal(LOC[:2], SCALE[:2])
    torch.manual_seed(0)
    found = prior.relevance(lambda z: z[:, :1].square() + 3 * z[:, 1:], draws=20_000)
    want = torch.stack([4 * SCALE[0] ** 2 * (LOC[0] ** 2 + SCALE[0] ** 2), 9 * SCALE[1] ** 2])
    torch.testing.assert_close(found, want / want.sum(), rtol=0.03, atol=0)


def test_the_relevance_is_the_same_wherever_a_scale_stands() -> None:
    torch.manual_seed(0)
    decoder, factor = CURVED((3,), (4,)).double(), torch.tensor([0.1, 1.0, 5.0]).double()
    found = []
    for prior, decode in (
        (learned_normal(LOC, SCALE), decoder),
        (learned_normal(LOC / factor, SCALE / factor), lambda z: decoder(factor * z)),
    ):
        torch.manual_seed(1)
        found.append(prior.relevance(decode))
    torch.testing.assert_close(*found)
    assert float(found[0].sum()) == pytest.approx(1.0)
    assert not found[0].requires_grad
    assert all(parameter.grad is None for parameter in decoder.parameters())


@pytest.mark.slow
def test_after_a_fit_the_relevance_is_what_each_principal_axis_explains_beyond_the_noise() -> None:
    known = pca(columns=6, latent=2, rows=400)
    torch.manual_seed(0)
    prior = LearnedNormal(4)
    model = VAE(prior, Gaussian((6,), variance=known.variance), AFFINE).double()
    guide = MeanField(4, (6,), AFFINE).double()
    optimizer = torch.optim.Adam([*model.parameters(), *guide.parameters()], lr=0.05)
    bound = TraceMeanField_ELBO()
    for _ in range(600):
        optimizer.zero_grad()
        (bound.differentiable_loss(model, guide, known.x) / len(known.x)).backward()
        optimizer.step()
    found = prior.relevance(lambda z: model.likelihood(model.decoder(z)).mean)
    # The best linear decoder (Tipping and Bishop, 1999); two surplus dimensions are almost unused.
    beyond = (torch.linalg.eigvalsh(known.x.T.cov(correction=0)) - known.variance).clamp(min=0)
    want = beyond.sort(descending=True).values[:4] / beyond.sum()
    assert float(want[2:].sum()) < 0.05
    torch.testing.assert_close(found.sort(descending=True).values, want, rtol=0, atol=0.02)
