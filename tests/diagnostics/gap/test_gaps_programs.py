"""Gaps of programs beyond a normal latent: other families, several latents, shared networks."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from ppvae.data import Split
from ppvae.diagnostics.gap.gaps import gaps
from ppvae.diagnostics.gap.refining import How
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from tests.support.gaps import SIGMAS, STEPS, best_diagonal, encoder, holds, programs
from tests.support.pca import PCA, pca
from tests.support.slow import few


def test_a_gamma_guide_of_counts() -> None:
    """z ~ Gamma(2, 1), x | z ~ Poisson(z): z | x ~ Gamma(2 + x, 2), x negative binomial."""
    network = nn.Linear(1, 2)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("rate", dist.Gamma(2.0, 1.0))
            pyro.sample("x", dist.Poisson(z[..., None]).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        with pyro.plate("data", len(x)):
            shape, rate = (0.1 * network(x)).exp().unbind(-1)
            pyro.sample("rate", dist.Gamma(2.0 * shape, rate))

    x = torch.arange(6.0)[:, None]
    torch.manual_seed(0)
    found = gaps(*programs(model, guide, x), steps=200, draws=500)
    assert found.how == "parameters"
    # torch's second parameter is the chance of what is counted, 1 / (1 + rate).
    log_p = torch.distributions.NegativeBinomial(2.0, torch.tensor(0.5)).log_prob(x[:, 0])
    assert bool(((found.log_p - log_p).abs() <= SIGMAS * found.log_p_error + 1e-4).all())
    assert float(found.log_p_error.max()) < 0.01
    assert holds(found.approximation, 0.0, slack=1e-3)
    assert found.amortization.mean > 0.1


def two_latents(
    p: PCA, depends: bool, *, reparameterized: bool = True
) -> tuple[Pair, Audit, Split]:
    """PCA with a site per latent; in the guide the second may depend on the first."""
    network = encoder(p)
    slope = nn.Parameter(torch.full((), 0.1, dtype=torch.float64))
    w, b = p.w, p.b

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            first = pyro.sample("first", dist.Normal(torch.zeros(1).double(), 1.0).to_event(1))
            second = pyro.sample("second", dist.Normal(torch.zeros(()).double(), 1.0))
            z = torch.stack(torch.broadcast_tensors(first[..., 0], second), -1)
            loc = z @ w.T + b
            pyro.sample("x", dist.Normal(loc, math.sqrt(p.variance)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        tilt = pyro.param("slope", slope)
        with pyro.plate("data", len(x)):
            h = network(x)
            normal = dist.Normal(h[..., 1], h[..., 3].exp())
            normal.has_rsample = reparameterized
            second = pyro.sample("second", normal)
            loc = h[..., 0] + (tilt * second if depends else 0.0)
            pyro.sample("first", dist.Normal(loc[..., None], h[..., 2:3].exp()).to_event(1))

    return programs(model, guide, p.x)


@pytest.mark.parametrize("vectorizes", few([True, False], 2))
def test_two_latents_by_other_names(vectorizes: bool) -> None:
    p = pca(rotated=True, rows=5)
    pair, facts, rows = two_latents(p, depends=False)
    facts = Audit(**{**facts.__dict__, "vectorizes": facts.vectorizes and vectorizes})
    found = gaps(
        pair, facts, rows, log_p=p.log_p, draws=100, steps=80, particles=8 if vectorizes else 2
    )
    assert found.how == "parameters"
    assert holds(found.approximation, best_diagonal(p), slack=0.01)


@pytest.mark.slow
def test_a_latent_that_depends_on_another_is_refined_by_weights() -> None:
    """With a slope between its latents the guide can be the posterior, correlation and all."""
    p = pca(rotated=True, rows=2)
    pair, facts, rows = two_latents(p, depends=True)
    found = gaps(pair, facts, rows, steps=150, lr=0.05, log_p=p.log_p, draws=300)
    assert found.how == "weights"
    assert best_diagonal(p) > 0.1
    assert holds(found.approximation, 0.0, slack=0.03)
    with pytest.raises(InputError, match="'first' of the guide depends on a draw of 'second'"):
        gaps(pair, facts, rows, how="parameters")


@pytest.mark.slow
def test_a_transformed_draw_is_refined_by_weights() -> None:
    p = pca(rows=2)
    torch.manual_seed(0)
    network = encoder(p)
    flow = dist.transforms.affine_autoregressive(2, hidden_dims=[4]).double()

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        pyro.module("flow", flow)
        with pyro.plate("data", len(x)):
            base = dist.Normal(network(x)[..., :2], 0.5).to_event(1)
            pyro.sample("z", dist.TransformedDistribution(base, [flow]))

    pair, facts, rows = programs(p.pair.model, guide, p.x)
    found = gaps(pair, facts, rows, steps=150, lr=0.05, log_p=p.log_p, draws=300)
    assert found.how == "weights"
    assert holds(found.approximation, 0.0, slack=0.03)
    with pytest.raises(InputError, match="TransformedDistribution, of site 'z', is not a family"):
        gaps(pair, facts, rows, how="parameters")


@pytest.mark.parametrize("how", ["parameters", "weights"])
def test_a_network_that_model_and_guide_share_is_the_models_own_throughout(
    how: How,
) -> None:
    """The guide shares its offset with the prior; a change there would change log p(x)."""
    p = pca(rows=2)
    offset = nn.Linear(1, 2).double()
    one = torch.ones(1).double()
    gain = torch.linalg.solve(p.precision, p.w.T) / p.variance
    with torch.no_grad():
        offset.weight.zero_(), offset.bias.zero_()

    def model(x: Tensor) -> None:
        pyro.module("offset", offset)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(offset(one), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ p.w.T + p.b, math.sqrt(p.variance)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("offset", offset)
        with pyro.plate("data", len(x)):
            loc = 1.0 + (x - p.b) @ gain.T + offset(one)
            scale = p.precision.diagonal().rsqrt()
            pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    subject = programs(model, guide, p.x)
    found = gaps(*subject, how=how, steps=100, lr=0.1, draws=300, log_p=p.log_p)
    assert float(found.amortization.by_datum.min()) > 1.0
    assert holds(found.approximation, 0.0, slack=1e-2)
    assert bool(offset.bias.eq(0).all())


def test_a_subsampled_plate_scales_nothing() -> None:
    p = pca(rows=6)
    network = encoder(p)

    def model(x: Tensor) -> None:
        with pyro.plate("data", 100, subsample=torch.arange(len(x))):
            z = pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ p.w.T + p.b, math.sqrt(p.variance)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        with pyro.plate("data", 100, subsample=torch.arange(len(x))):
            loc, log_scale = network(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    pair, facts, rows = programs(model, guide, p.x)
    assert facts.data_size == 100
    found = gaps(pair, facts, rows, steps=STEPS, draws=100)
    assert bool(((found.log_p - p.log_p).abs() <= SIGMAS * found.log_p_error + 1e-3).all())
    assert holds(found.approximation, 0.0, slack=1e-3)
    assert found.amortization.mean > 0.3


def test_a_latent_without_a_reparameterized_draw_is_refused() -> None:
    pair, facts, rows = two_latents(pca(rows=5), depends=False, reparameterized=False)
    with pytest.raises(InputError, match="'second' of the guide is Normal, which has no reparam"):
        gaps(pair, facts, rows)
