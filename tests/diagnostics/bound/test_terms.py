"""Laws of the bound's terms, on probabilistic PCA and similar models with closed forms."""

import math
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

from ppvae.bounds.audit import audit
from ppvae.data import Split
from ppvae.diagnostics import embed, subject
from ppvae.diagnostics.bound import terms
from ppvae.diagnostics.bound.answer import BoundAnswer
from ppvae.diagnostics.bound.site_terms import Traced
from ppvae.diagnostics.bound.terms import Decomposition, decompose
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.errors import InputError
from ppvae.guides import Delta
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from tests.support.pca import AFFINE, PCA, pca

SIGMAS = 5.0

Made = tuple[Pair, Audit, Split]


def within(found: Tensor, truth: Tensor, error: Tensor) -> bool:
    return bool(((found - truth).abs() < SIGMAS * error + 1e-9).all())


def calibrated(found: Tensor, truth: Tensor, error: Tensor) -> bool:
    """Errors neither too small nor too large: (found - truth) / error has a mean square near 1."""
    return 0.5 < float(((found - truth) / error).square().mean()) < 2.0


def kl_normal(loc: Tensor, scale: Tensor) -> Tensor:
    """KL(N(loc, scale^2) || N(0, 1)), element by element."""
    return 0.5 * (loc.square() + scale.square() - 1) - scale.log()


def skewed() -> PCA:
    return pca(rows=60, rotated=True, shift=0.3, widen=0.7)


def test_the_terms_of_probabilistic_pca() -> None:
    p = skewed()
    found = decompose(p.pair, p.facts, p.rows, draws=200, batch_size=25)
    embedding = embed(p.pair, p.facts, p.rows)
    loc, scale = embedding.loc["z"], embedding.scale["z"]

    kl = kl_normal(loc, scale)
    torch.testing.assert_close(found.kl["z"], kl.sum(1))
    torch.testing.assert_close(found.kl_by_dimension["z"], kl)
    assert float(found.kl_error["z"].max()) < 1e-12
    assert (found.exact, found.undivided, found.shared) == (frozenset({"z"}), {}, ())

    # E |x - b - W z|^2 = |x - b - W loc|^2 + sum_j scale_j^2 |w_j|^2
    squares = (p.x - p.b - loc @ p.w.T).square().sum(1)
    squares = squares + scale.square() @ p.w.square().sum(0)
    columns = len(p.b)
    likelihood = -0.5 * (columns * math.log(2 * math.pi * p.variance) + squares / p.variance)
    assert within(found.log_likelihood["x"], likelihood, found.log_likelihood_error["x"])
    assert calibrated(found.log_likelihood["x"], likelihood, found.log_likelihood_error["x"])
    assert float(found.log_likelihood_error["x"].max()) < 0.3

    elbo = p.log_p - p.kl(loc, scale)
    assert found.elbo_by_datum is not None
    assert found.elbo_error is not None
    assert within(found.elbo_by_datum, elbo, found.elbo_error)
    assert found.monte_carlo["elbo"] == pytest.approx(
        float(found.elbo_error.square().sum().sqrt()) / len(elbo), rel=0.3
    )


@pytest.mark.parametrize("is_mixed", [False, True])
def test_columns_of_several_kinds_have_no_bits_per_dimension(is_mixed: bool) -> None:
    p = skewed()
    found = decompose(p.pair, p.facts, p.rows, draws=2)
    told = BoundAnswer({}, found, None, None, None, True, is_mixed=is_mixed)
    assert ("bits_per_dim" in told.metrics) != is_mixed
    assert ("bits per dimension" in {name for name, _, _ in told.rows}) != is_mixed


def test_figures_are_means_over_data_in_nats_and_bits() -> None:
    p = skewed()
    found = decompose(p.pair, p.facts, p.rows, draws=10)
    assert found.elbo is not None
    assert found.rate is not None
    assert found.bits_per_dim is not None
    assert found.elbo.mean == pytest.approx(-found.rate.mean - found.distortion.mean)
    assert found.rate.mean == pytest.approx(float(found.kl["z"].mean()))
    assert found.distortion.mean == pytest.approx(-float(found.log_likelihood["x"].mean()))
    error = float(found.kl["z"].std()) / math.sqrt(60)
    assert found.rate.standard_error == pytest.approx(error)
    assert found.elements == 4
    assert found.bits_per_dim.mean == pytest.approx(-found.elbo.mean / 4 / math.log(2))
    assert found.bits_per_dim.standard_error == pytest.approx(
        found.elbo.standard_error / 4 / math.log(2)
    )
    assert math.isnan(Estimate.of(torch.ones(1)).standard_error)


def test_a_kl_by_monte_carlo_is_the_closed_form_within_its_errors() -> None:
    p = skewed()
    drawn = audit(p.pair, Trace_ELBO, {"x": p.x})
    found = decompose(p.pair, drawn, p.rows, draws=300)
    embedding = embed(p.pair, p.facts, p.rows)
    kl = kl_normal(embedding.loc["z"], embedding.scale["z"])
    assert found.exact == frozenset()
    assert within(found.kl["z"], kl.sum(1), found.kl_error["z"])
    assert calibrated(found.kl["z"], kl.sum(1), found.kl_error["z"])
    torch.testing.assert_close(found.kl_by_dimension["z"].sum(1), found.kl["z"])
    assert float((found.kl_by_dimension["z"] - kl).mean(0).abs().max()) < 0.05
    # The two terms have dependent noise, from the same draws: with the exact posterior their sum
    # would be log p(x), without noise.
    exact = pca(rows=60)
    facts = audit(exact.pair, Trace_ELBO, {"x": exact.x})
    found = decompose(exact.pair, facts, exact.rows, draws=5)
    assert found.elbo_by_datum is not None
    torch.testing.assert_close(found.elbo_by_datum, exact.log_p)
    assert found.elbo_error is not None
    assert float(found.elbo_error.max()) < 1e-7
    assert float(found.kl_error["z"].min()) > 0.01


@pytest.mark.parametrize("vectorizes", [True, False])
def test_draws_in_chunks_are_pooled(monkeypatch: pytest.MonkeyPatch, vectorizes: bool) -> None:
    p = skewed()
    facts = Audit(**{**p.facts.__dict__, "vectorizes": vectorizes})
    monkeypatch.setattr(terms, "CHUNK", 7 * p.x.numel())
    calls: list[int] = []
    traced = Traced

    def counted(*args: Any) -> Traced:
        calls.append(args[-1])
        return traced(*args)

    monkeypatch.setattr(terms, "Traced", counted)
    found = decompose(p.pair, facts, p.rows, draws=30)
    assert calls == ([7, 7, 7, 7, 2] if vectorizes else [1] * 30)
    embedding = embed(p.pair, p.facts, p.rows)
    elbo = p.log_p - p.kl(embedding.loc["z"], embedding.scale["z"])
    assert found.elbo_by_datum is not None
    assert found.elbo_error is not None
    assert within(found.elbo_by_datum, elbo, found.elbo_error)
    assert calibrated(found.elbo_by_datum, elbo, found.elbo_error)


def two_latents(n: int = 30, elbo: type[ELBO] = TraceMeanField_ELBO) -> tuple[Made, nn.Linear]:
    """A number and a matrix for each datum."""
    torch.manual_seed(2)
    network = nn.Linear(5, 9).double()
    x = torch.randn(n, 5)

    def latents(h: Tensor, scale: float) -> Tensor:
        size = pyro.sample("size", dist.Normal(h[..., 0], scale))
        part = h[..., 1:].reshape(*h.shape[:-1], 2, 4)
        table = pyro.sample("table", dist.Normal(part, scale).to_event(2))
        return size[..., None] + table.flatten(-2)[..., :5]

    def model(x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            mean = latents(torch.zeros(len(x), 9, dtype=torch.float64), 1.0)
            pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        with pyro.plate("rows", len(x)):
            latents(network(x.double()), 0.5)

    return subject(model, guide, x, elbo=elbo), network


@pytest.mark.parametrize("elbo", [TraceMeanField_ELBO, Trace_ELBO])
def test_two_latents_of_other_names_have_a_kl_each(elbo: type[ELBO]) -> None:
    (pair, facts, rows), network = two_latents(elbo=elbo)
    found = decompose(pair, facts, rows, draws=200, batch_size=16)
    h = network(rows.take(torch.arange(30))["x"].double()).detach()
    kl = kl_normal(h, torch.full_like(h, 0.5))
    want = {"size": kl[:, :1], "table": kl[:, 1:]}
    for name, truth in want.items():
        error = found.kl_error[name] + 1e-9
        assert within(found.kl[name], truth.sum(1), error)
        assert tuple(found.kl_by_dimension[name].shape) == tuple(truth.shape)
        if elbo is TraceMeanField_ELBO:
            torch.testing.assert_close(found.kl_by_dimension[name], truth)
        torch.testing.assert_close(found.kl_by_dimension[name].sum(1), found.kl[name])
    assert found.rate_by_datum is not None
    torch.testing.assert_close(found.rate_by_datum, found.kl["size"] + found.kl["table"])


def test_dimensions_in_a_plate_of_their_own_are_dimensions_of_the_site() -> None:
    scale = torch.tensor(0.3, dtype=torch.float64)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2), pyro.plate("columns", x.shape[1], dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        s = pyro.param("s", scale)
        with pyro.plate("data", len(x), dim=-2), pyro.plate("columns", x.shape[1], dim=-1):
            pyro.sample("z", dist.Normal(x, s))

    x = torch.randn(9, 3)
    found = decompose(*subject(model, guide, x), draws=400)
    torch.testing.assert_close(found.kl_by_dimension["z"], kl_normal(x.double(), scale))
    likelihood = -0.5 * 3 * (math.log(2 * math.pi) + 0.09)  # E (x - z)^2 = scale^2
    assert within(
        found.log_likelihood["x"],
        torch.full((9,), likelihood, dtype=torch.float64),
        found.log_likelihood_error["x"],
    )


def hierarchy(x: Tensor) -> Made:
    """p(top) p(low | top) p(x | low), with a guide from the top down."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            top = pyro.sample("top", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
            low = pyro.sample("low", dist.Normal(0.8 * top, 1.0))
            pyro.sample("x", dist.Normal(low, 0.5), obs=x)

    def guide(x: Tensor) -> None:
        a = pyro.param("a", torch.tensor(0.4, dtype=torch.float64))
        with pyro.plate("data", len(x)):
            top = pyro.sample("top", dist.Normal(0.5 * x, 0.6))
            pyro.sample("low", dist.Normal(a * top + 0.5 * x, 0.7))

    return subject(model, guide, x)


def test_a_conditional_kl_is_the_mean_over_its_parents() -> None:
    x = torch.randn(50)
    pair, facts, rows = hierarchy(x)
    assert facts.exact == {"top", "low"}
    found = decompose(pair, facts, rows, draws=400)
    wide = x.double()
    torch.testing.assert_close(
        found.kl["top"], kl_normal(0.5 * wide, torch.tensor(0.6, dtype=torch.float64))
    )
    # low - 0.8 top has the mean 0.5 x - 0.4 top, and top ~ N(x / 2, 0.6^2).
    off = (0.5 * wide - 0.4 * 0.5 * wide).square() + 0.4**2 * 0.6**2
    kl = 0.5 * (off + 0.7**2 - 1) - math.log(0.7)
    assert within(found.kl["low"], kl, found.kl_error["low"])
    assert calibrated(found.kl["low"], kl, found.kl_error["low"])
    assert float(found.kl_error["low"].min()) > 1e-4
    torch.testing.assert_close(found.kl_by_dimension["low"][:, 0], found.kl["low"])


def test_a_site_that_does_not_factorize_says_so() -> None:
    tril = torch.tensor([[0.8, 0.0], [0.3, 0.5]], dtype=torch.float64)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2, dtype=torch.float64), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        scale_tril = pyro.param("scale_tril", tril)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.MultivariateNormal(x.double(), scale_tril=scale_tril))

    x = torch.randn(20, 2)
    found = decompose(*subject(model, guide, x, elbo=Trace_ELBO), draws=400)
    assert found.kl_by_dimension == {}
    assert "guide's distribution of site 'z' is not a product" in found.undivided["z"]
    trace = tril.square().sum() + x.double().square().sum(1) - 2
    kl = 0.5 * trace - tril.diagonal().log().sum()
    assert within(found.kl["z"], kl, found.kl_error["z"])


def test_an_auxiliary_site_counts_with_its_own_density() -> None:
    """The bound is then log p(x, z) - log q(u, z), as in Pyro."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        s = pyro.param("s", torch.tensor(0.5, dtype=torch.float64))
        with pyro.plate("data", len(x)):
            pyro.sample("u", dist.Normal(0.0, 0.5), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(0.5 * x, s))

    found = decompose(*subject(model, guide, torch.randn(10)), draws=500)
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.25)
    assert within(
        found.kl["u"], torch.full((10,), -entropy, dtype=torch.float64), found.kl_error["u"]
    )
    assert "only in the guide" in found.undivided["u"]


def test_a_point_mass_has_a_reconstruction_alone() -> None:
    torch.manual_seed(0)
    x = torch.randn(20, 4)
    model, guide = VAE(StandardNormal(3), Gaussian((4,), variance=0.5), AFFINE), Delta(3, (4,))
    pair, facts, rows = subject(model, guide, x)
    found = decompose(pair, facts, rows, draws=2)
    with torch.no_grad():
        mean = model.decoder(guide.encoder(x)).squeeze(-2)
    likelihood = dist.Normal(mean, math.sqrt(0.5)).log_prob(x).sum(1)
    torch.testing.assert_close(found.log_likelihood["x"], likelihood.double())
    assert (found.kl, found.elbo, found.rate, found.bits_per_dim) == ({}, None, None, None)
    assert found.distortion.mean == pytest.approx(-float(likelihood.mean()), rel=1e-5)


def global_pair(n: int | None = None) -> tuple[Callable[..., None], Callable[..., None]]:
    """One level for all data, and an offset for each; the data may be a subsample of ``n``."""

    def plate(x: Tensor) -> pyro.plate:
        return pyro.plate("data", len(x)) if n is None else pyro.plate("data", n, subsample=x)

    def model(x: Tensor) -> None:
        level = pyro.sample("level", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
        with plate(x):
            z = pyro.sample("z", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
            pyro.sample("x", dist.Normal(level + z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        scale = pyro.param("scale", torch.tensor(0.3, dtype=torch.float64))
        pyro.sample("level", dist.Normal(0.5, scale))
        with plate(x):
            pyro.sample("z", dist.Normal(0.5 * x, 0.7))

    return model, guide


@pytest.mark.parametrize("elbo", [TraceMeanField_ELBO, Trace_ELBO])
@pytest.mark.parametrize("size", [None, 1000])
def test_a_latent_that_all_data_share_counts_once_among_them(
    size: int | None, elbo: type[ELBO]
) -> None:
    x = torch.randn(40, generator=torch.Generator().manual_seed(4))
    pair, facts, rows = subject(*global_pair(size), x, elbo=elbo)
    assert (facts.is_local, facts.data_size) == (False, size)
    found = decompose(pair, facts, rows, draws=300, batch_size=16)
    assert found.shared == ("level",)
    assert "shared by all data" in found.undivided["level"]
    n = size or 40
    kl = (0.5 * (0.5**2 + 0.3**2 - 1) - math.log(0.3)) / n
    assert within(
        found.kl["level"], torch.full((40,), kl, dtype=torch.float64), found.kl_error["level"]
    )
    assert float(found.kl["level"].std()) < 1e-12
    assert float(found.kl_error["level"].max()) < 0.05 / n  # of three batches' draws together
    wide = x.double()
    own = kl_normal(0.5 * wide, torch.tensor(0.7, dtype=torch.float64))
    assert within(found.kl["z"], own, found.kl_error["z"])
    squares = (0.5 * wide - 0.5).square() + 0.3**2 + 0.7**2
    likelihood = -0.5 * (math.log(2 * math.pi) + squares)
    assert within(found.log_likelihood["x"], likelihood, found.log_likelihood_error["x"])
    assert found.elbo is not None
    truth = float((likelihood - own - kl).mean())
    assert abs(found.elbo.mean - truth) < SIGMAS * found.monte_carlo["elbo"]


def test_noise_that_all_data_share_is_in_the_error_of_a_mean() -> None:
    x = torch.full((200,), 3.0)  # the data do not differ: all that a mean has is noise
    made = subject(*global_pair(), x)

    def again(seed: int) -> Decomposition:
        return decompose(*made, draws=4, batch_size=100, seed=seed)

    found = [again(seed) for seed in range(100)]
    means = torch.tensor([each.distortion.mean for each in found])
    errors = torch.tensor([each.distortion.standard_error for each in found])
    own = torch.tensor([each.monte_carlo["distortion"] for each in found])
    ratio = float(means.var() / own.square().mean())
    assert 0.6 < ratio < 1.6
    assert bool((errors >= own).all())


def test_what_has_no_terms_of_a_datum_is_refused() -> None:
    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        scale = pyro.param("scale", torch.tensor(0.5))
        pyro.sample("z", dist.Normal(x, scale).to_event(1))

    with pytest.raises(InputError, match="need a plate that holds the data"):
        decompose(*subject(model, guide, torch.randn(6)))
    p = skewed()
    with pytest.raises(InputError, match="draws is 1"):
        decompose(p.pair, p.facts, p.rows, draws=1)


def test_the_terms_are_a_function_of_the_seed_and_move_nothing() -> None:
    p = skewed()
    state, seen = torch.get_rng_state(), list[int]()
    one = decompose(p.pair, p.facts, p.rows, draws=3, batch_size=25, on_rows=seen.append)
    assert torch.equal(state, torch.get_rng_state())
    assert p.pair.training
    assert all(parameter.grad is None for parameter in p.pair.parameters())
    torch.rand(3)
    two = decompose(p.pair, p.facts, p.rows, draws=3, batch_size=25)
    other = decompose(p.pair, p.facts, p.rows, draws=3, batch_size=25, seed=1)
    assert torch.equal(one.log_likelihood["x"], two.log_likelihood["x"])
    assert not torch.equal(one.log_likelihood["x"], other.log_likelihood["x"])
    assert seen == [25, 25, 10]
