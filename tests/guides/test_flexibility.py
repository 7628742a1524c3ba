"""Flexibility of guides: posteriors that they reach, and simpler families that they contain."""

from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn
from torch.distributions import kl_divergence

from ppvae.bounds.audit import audit
from ppvae.guides import Flow, FullRank, LowRank, MeanField, Mixture
from ppvae.programs import Pair, evaluating
from ppvae.programs.densities import Densities
from tests.support.guides import COLUMNS, ROWS, data
from tests.support.pca import AFFINE, PCA, pca


def fitted(guide: Any, known: PCA) -> Tensor:
    """The smallest KL(q || posterior) of each row in the family."""
    posterior = dist.MultivariateNormal(known.posterior_loc, precision_matrix=known.precision)
    optimizer = torch.optim.LBFGS(
        guide.parameters(),
        max_iter=200,
        history_size=100,
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = kl_divergence(guide.posterior(known.x), posterior).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return kl_divergence(guide.posterior(known.x), posterior).detach()


@pytest.mark.slow
def test_correlated_families_reach_log_p_where_mean_field_misses_it_by_the_known_gap() -> None:
    known = pca(rotated=True, rows=10)
    m = known.precision
    gap = 0.5 * float(m.diagonal().log().sum() - torch.logdet(m))
    assert gap > 0.1
    torch.manual_seed(0)
    for family, want, atol in (
        (MeanField, gap, 1e-6),
        (FullRank, 0.0, 1e-6),
        (partial(LowRank, rank=1), 0.0, 1e-3),  # its optima are a long valley
    ):
        guide = family(2, (4,), AFFINE).double()
        kl = fitted(guide, known)
        torch.testing.assert_close(kl, torch.full_like(kl, want), rtol=1e-5, atol=atol)
        pair = Pair(known.pair.model, guide, {"x": known.x})
        with evaluating(pair):
            facts = audit(pair, Trace_ELBO, {"x": known.x})
            weights = Densities(pair, facts, {"x": known.x}).draw(4).log_weight
        if family is not MeanField:  # draw by draw: a KL of 1e-3 is a deviation of 0.045
            torch.testing.assert_close(weights, known.log_p.expand_as(weights), rtol=0, atol=0.2)


def banana(x: Tensor) -> None:
    """A model whose posterior lies along a parabola."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", bent(z).to_event(1), obs=x)


def bent(z: Tensor) -> Any:
    return dist.Laplace((z[..., 1] - 0.7 * z[..., 0].square()).unsqueeze(-1), 0.2)


@pytest.mark.slow
def test_flows_and_mixtures_follow_a_posterior_that_is_bent() -> None:
    x = torch.full((1, 1), -1.0)
    axis = torch.linspace(-6, 6, 401)
    z = torch.cartesian_prod(axis, axis)
    log_joint = dist.Normal(0.0, 1.0).log_prob(z).sum(-1) + bent(z).log_prob(x).squeeze(-1)
    log_p = float((log_joint.exp().sum() * (axis[1] - axis[0]) ** 2).log())
    elbo, sure = (
        Trace_ELBO(num_particles=n, vectorize_particles=True, max_plate_nesting=1)
        for n in (64, 20_000)
    )
    gaps, steps = {}, 200
    for family in (MeanField, Mixture, partial(Flow, hidden=(16,), context=1)):
        torch.manual_seed(0)
        guide = family(2, (1,), AFFINE)
        optimizer = torch.optim.Adam(guide.parameters(), lr=0.03)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
        for _ in range(steps):
            optimizer.zero_grad()
            elbo.differentiable_loss(banana, guide, x).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            gaps[type(guide)] = log_p + float(sure.differentiable_loss(banana, guide, x))
    assert gaps[MeanField] > 0.6
    assert -0.02 < gaps[Flow] < 0.3 * gaps[MeanField]
    assert -0.02 < gaps[Mixture] < 0.9 * gaps[MeanField]


class Says(nn.Module):
    """An encoder with the same output for every datum."""

    def __init__(self, numbers: Tensor) -> None:
        super().__init__()
        self.numbers = nn.Parameter(numbers)

    def forward(self, x: Tensor) -> Tensor:
        return self.numbers.expand(len(x), *self.numbers.shape)


@pytest.mark.parametrize(
    ("family", "more"),
    [
        (FullRank, torch.zeros(3)),
        (LowRank, torch.zeros(4, 3)),
        (partial(Flow, kind="spline", context=5), torch.linspace(-1, 1, 5)),
        (partial(Flow, kind="affine", context=5), torch.linspace(-1, 1, 5)),
        (partial(Mixture, components=1), torch.ones(1, 1)),
    ],
)
def test_without_what_it_adds_a_family_is_the_mean_field_guide(family: Any, more: Tensor) -> None:
    loc, log_scale = torch.tensor([[0.5, -1.0, 2.0], [-1.0, 0.2, 3.0]])
    x, z = data().float(), torch.randn(ROWS, 3)
    if more.dim() == 1:
        numbers = torch.cat([loc, log_scale, more])
    elif len(more) == 4:
        numbers = torch.stack([loc, log_scale, *more])
    else:
        numbers = torch.cat([loc, log_scale, more[0]])[None]
    guide = family(3, (COLUMNS,), Says(numbers))
    plain = MeanField(3, (COLUMNS,), Says(torch.stack([loc, log_scale])))
    torch.testing.assert_close(guide.posterior(x).log_prob(z), plain.posterior(x).log_prob(z))
