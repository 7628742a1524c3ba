"""Laws of the exact posterior of linear-Gaussian programs."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from ppvae.bounds.audit import audit
from ppvae.data import Split, as_split
from ppvae.diagnostics.evidence import exact
from ppvae.diagnostics.evidence.exact import GaussianPosterior, exact_posterior
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.models import VAE, Bernoulli, Gaussian, StandardNormal
from ppvae.networks import MLP
from ppvae.programs import Pair, Program
from ppvae.programs.facts import Audit
from tests.support.pca import AFFINE, PCA, pca


def close(found: Tensor, truth: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, truth, rtol=tolerance, atol=tolerance)


def solved(subject: tuple[Pair, Audit, Split], **options: Any) -> GaussianPosterior:
    found = exact_posterior(*subject, **options)
    assert found is not None
    return found


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 1e-3)])
def test_probabilistic_pca(rotated: bool, dtype: torch.dtype, tolerance: float) -> None:
    p = pca(rotated=rotated, columns=7, latent=3, rows=50)
    p.pair.to(dtype)
    rows: list[int] = []
    found = solved((p.pair, p.facts, p.rows), batch_size=20, on_rows=rows.append)
    assert rows == [20, 20, 10]
    assert found.sites == {"z": slice(0, 3)}
    assert {t.dtype for t in (found.log_p, found.loc, found.covariance)} == {torch.float64}
    close(found.log_p, p.log_p, tolerance)
    close(found.loc, p.posterior_loc, tolerance)
    close(found.covariance, torch.linalg.inv(p.precision).expand(50, 3, 3), tolerance)
    assert found.mean == pytest.approx(float(p.log_p.mean()), abs=tolerance)


def test_the_digits_hold_where_the_posterior_is_narrow_and_far_from_the_prior() -> None:
    p = pca(columns=60, latent=4, variance=1e-4, rows=20, rotated=True)
    x = p.x * 20.0
    far = PCA(p.pair, p.facts, as_split(x), x.float().double(), p.w, p.b, p.variance)
    close(solved((p.pair, p.facts, far.rows)).loc, far.posterior_loc, 1e-6)
    p.pair.float()
    scale = torch.linalg.inv(p.precision).diagonal().sqrt()
    found = solved((p.pair, p.facts, far.rows))
    # A single Newton step from 0 would miss by five times the tolerance.
    assert float(((found.loc - far.posterior_loc) / scale).abs().max()) < 1e-3
    assert float((found.log_p / far.log_p - 1).abs().max()) < 1e-3


def programs(model: Program, guide: Program, x: Tensor, **extras: Tensor) -> tuple[Pair, Audit]:
    batch = {"x": x, **extras}
    pair = Pair(model, guide, batch)
    return pair, audit(pair, Trace_ELBO, batch)


def normal(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def hierarchy() -> tuple[Pair, Audit, Split, dict[str, Tensor]]:
    """top -> low -> x with matrices A and W, labels that shift x, and x of shape (2, 3)."""
    a, w = normal(3, 2, seed=5), normal(6, 3, seed=6)
    network = nn.Linear(6, 5)
    log_scale = nn.Parameter(torch.tensor(-0.3))

    def model(x: Tensor, y: Tensor) -> None:
        pyro.param("log_scale", log_scale)
        with pyro.plate("rows", len(x)):
            top = pyro.sample("top", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            low = pyro.sample("low", dist.MultivariateNormal(top @ a.T, 0.4 * torch.eye(3)))
            loc = (low @ w.T + 2.0 * y[:, None]).unflatten(-1, (2, 3))
            scale = pyro.param("log_scale").exp()
            pyro.sample("picture", dist.Normal(loc, scale).to_event(2), obs=x)

    def guide(x: Tensor, y: Tensor) -> None:
        pyro.module("network", network)
        loc = network(x.flatten(1))
        with pyro.plate("rows", len(x)):
            pyro.sample("low", dist.Normal(loc[..., 2:], 1.0).to_event(1))
            pyro.sample("top", dist.Normal(loc[..., :2], 1.0).to_event(1))

    x, y = normal(9, 2, 3), normal(9, seed=3)
    pair, facts = programs(model, guide, x, y=y)
    # Of (top, low, x): z = (top, low) has covariance S, and x given z is linear.
    wide_a, wide_w = a.double(), w.double()
    s = torch.zeros(5, 5, dtype=torch.float64)
    s[:2, :2], s[2:, :2], s[:2, 2:] = torch.eye(2), wide_a, wide_a.T
    s[2:, 2:] = wide_a @ wide_a.T + 0.4 * torch.eye(3)
    decode = torch.cat([torch.zeros(6, 2, dtype=torch.float64), wide_w], dim=1)
    noise = math.exp(-0.6) * torch.eye(6, dtype=torch.float64)
    marginal = decode @ s @ decode.T + noise
    centred = x.flatten(1).double() - 2.0 * y[:, None].double()
    gain = s @ decode.T @ torch.linalg.inv(marginal)
    truth = {
        "log_p": MultivariateNormal(torch.zeros(6, dtype=torch.float64), marginal).log_prob(
            centred
        ),
        "loc": centred @ gain.T,
        "covariance": s - gain @ decode @ s,
    }
    return pair, facts, as_split(x, y), truth


@pytest.mark.parametrize("vectorizes", [True, False])
def test_a_hierarchy_with_labels_and_a_learned_scale(vectorizes: bool) -> None:
    pair, facts, rows, truth = hierarchy()
    facts = Audit(**{**facts.__dict__, "vectorizes": facts.vectorizes and vectorizes})
    found = solved((pair, facts, rows), batch_size=5)
    assert found.sites == {"top": slice(0, 2), "low": slice(2, 5)}
    close(found.log_p, truth["log_p"], 1e-4)
    close(found.loc, truth["loc"], 1e-4)
    close(found.covariance, truth["covariance"].expand(9, 5, 5), 1e-4)


def test_each_datum_has_its_own_hessian() -> None:
    """Unobserved columns are masked, so that the posterior's width differs between data."""
    w = normal(4, 2, seed=5)
    network = nn.Linear(4, 2)

    def model(x: Tensor, mask: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ w.T, 0.5).mask(mask).to_event(1), obs=x)

    def guide(x: Tensor, mask: Tensor) -> None:
        pyro.module("network", network)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(network(x), 1.0).to_event(1))

    x, mask = normal(8, 4), normal(8, 4, seed=7) > 0
    mask[:, 0] = True
    pair, facts = programs(model, guide, x, mask=mask)
    found = solved((pair, facts, as_split(x, mask=mask)))
    for i in range(8):
        seen = w[mask[i]].double()
        precision = torch.eye(2) + seen.T @ seen / 0.25
        close(found.covariance[i], torch.linalg.inv(precision), 1e-4)
        marginal = MultivariateNormal(
            torch.zeros(len(seen), dtype=torch.float64),
            seen @ seen.T + 0.25 * torch.eye(len(seen)),
        )
        close(found.log_p[i], marginal.log_prob(x[i, mask[i]].double()), 1e-4)


def test_a_subsampled_plate_scales_nothing() -> None:
    p = pca(rows=12)
    w, b = p.w.float(), p.b.float()
    network = nn.Linear(4, 2)

    def model(x: Tensor) -> None:
        with pyro.plate("data", 120, subsample=torch.arange(len(x))):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ w.T + b, math.sqrt(0.5)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        with pyro.plate("data", 120, subsample=torch.arange(len(x))):
            pyro.sample("z", dist.Normal(network(x), 1.0).to_event(1))

    pair, facts = programs(model, guide, p.x.float())
    assert facts.data_size == 120
    close(solved((pair, facts, p.rows)).log_p, p.log_p, 1e-4)


class Bend(nn.Module):
    """W f(V z), with V z of the size of z."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.f, self.v, self.w = f, nn.Linear(2, 5), nn.Linear(5, 4)

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.w(self.f(self.v(z)))
        return out.unsqueeze(-2)


def gaussian(f: Callable[[Tensor], Tensor], dtype: torch.dtype) -> tuple[Pair, Audit, Split]:
    torch.manual_seed(0)
    x = normal(10, 4)
    model = VAE(StandardNormal(2), Gaussian((4,), variance=0.1), Bend(f))
    pair, facts = programs(model, MeanField(2, (4,), AFFINE), x)
    return pair.to(dtype), facts, as_split(x)


def flat_tanh(z: Tensor, slope: float) -> Tensor:
    return torch.tanh(slope * z) / slope


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("f", "is_linear"),
    [
        (nn.Identity(), True),
        (nn.ReLU(), False),
        (nn.LeakyReLU(0.99), False),
        (nn.Tanh(), False),
        (partial(flat_tanh, slope=1e-2), False),
        (partial(flat_tanh, slope=1e-3), False),
    ],
)
def test_a_nearly_linear_decoder_is_not_linear(
    f: Callable[[Tensor], Tensor], is_linear: bool, dtype: torch.dtype
) -> None:
    assert (exact_posterior(*gaussian(f, dtype)) is not None) == is_linear


def test_a_decoder_that_bends_is_asked_for_no_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Second derivatives are expensive, and some decoders have none."""
    subject = gaussian(nn.ReLU(), torch.float32)
    monkeypatch.setattr(exact, "_derivatives", None)
    assert exact_posterior(*subject) is None


def one_latent(
    latent: dist.TorchDistribution, observed: Callable[[Tensor], dist.TorchDistribution]
) -> tuple[Pair, Audit, Split]:
    x = normal(10, 2).abs()
    scale = nn.Linear(2, 2)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", latent)
            pyro.sample("x", observed(z), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("scale", scale)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.LogNormal(scale(x), 0.1).to_event(1))

    return *programs(model, guide, x), as_split(x)


STANDARD = dist.Normal(torch.zeros(2), 1.0).to_event(1)


@pytest.mark.parametrize(
    ("latent", "observed", "is_linear"),
    [
        (STANDARD, lambda z: dist.Normal(z, 1.0).to_event(1), True),
        (STANDARD, lambda z: dist.Normal(0.0 * z, z.exp()).to_event(1), False),
        (STANDARD, lambda z: dist.Normal(z.square(), 1.0).to_event(1), False),
        (STANDARD, lambda z: dist.StudentT(1e9, z, 1.0).to_event(1), False),
        (dist.LogNormal(torch.zeros(2), 1.0).to_event(1), lambda z: STANDARD, False),
        (dist.Laplace(torch.zeros(2), 1.0).to_event(1), lambda z: STANDARD, False),
    ],
)
def test_of_normals_only_linear_ones_of_constant_scale(
    latent: dist.TorchDistribution,
    observed: Callable[[Tensor], dist.TorchDistribution],
    is_linear: bool,
) -> None:
    assert (exact_posterior(*one_latent(latent, observed)) is not None) == is_linear


def test_a_bernoulli_likelihood_is_seen_by_its_family_without_a_call() -> None:
    x = (normal(6, 5) > 0).float()
    model = VAE(StandardNormal(2), Bernoulli((5,)), AFFINE)
    pair, facts = programs(model, MeanField(2, (5,), AFFINE), x)
    model.decoder = MLP((3,), (1, 5))  # would fail on two latent dimensions
    assert exact_posterior(pair, facts, as_split(x)) is None


def test_a_scaled_density_has_no_evidence() -> None:
    p = pca(rows=5)
    sites = tuple(
        type(site)(**{**site.__dict__, "scale": 0.5 if site.name == "z" else 1.0})
        for site in p.facts.sites
    )
    scaled = Audit(**{**p.facts.__dict__, "sites": sites})
    assert exact_posterior(p.pair, scaled, p.rows) is None


def test_latents_that_data_share_are_refused() -> None:
    p = pca(rows=5)
    shared = Audit(**{**p.facts.__dict__, "is_local": False})
    with pytest.raises(InputError, match="every latent inside the plate"):
        exact_posterior(p.pair, shared, p.rows)


def test_it_moves_nothing_and_the_seed_changes_nothing() -> None:
    p = pca()
    state = torch.get_rng_state()
    one = solved((p.pair, p.facts, p.rows))
    assert torch.equal(state, torch.get_rng_state())
    assert p.pair.training
    assert all(w.grad is None and w.requires_grad for w in p.pair.parameters())
    other = solved((p.pair, p.facts, p.rows), seed=1)
    assert torch.equal(one.log_p, other.log_p)
    assert not one.loc.requires_grad
