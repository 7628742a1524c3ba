"""Laws of the aggregate posterior: mutual information and KLs, known or integrated."""

import math
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from ppvae import data
from ppvae.bounds.audit import audit
from ppvae.data import Split, as_split
from ppvae.diagnostics import embed, subject
from ppvae.diagnostics.bound import aggregate
from ppvae.diagnostics.bound.aggregate import aggregate_log_prob
from ppvae.diagnostics.bound.codes import draw_codes
from ppvae.diagnostics.bound.elbo_surgery import Surgery, surgery
from ppvae.diagnostics.bound.prior_gain import prior_gain
from ppvae.errors import InputError
from ppvae.guides import Delta
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from tests.support.codes import coded, mixture, wide
from tests.support.pca import AFFINE, pca

SIGMAS = 5.0

Made = tuple[Pair, Audit, Split]


def close(found: Any, truth: float) -> bool:
    return bool(abs(found.mean - truth) < SIGMAS * found.standard_error + 1e-9)


def adds_up(found: Surgery) -> None:
    parts = found.mutual_information.mean + found.marginal_kl.mean
    assert parts == pytest.approx(found.kl.mean, abs=1e-9)
    if not found.undivided:
        assert found.total_correlation is not None
        assert found.dimension_wise_kl is not None
        parts = found.total_correlation.mean + found.dimension_wise_kl.mean
        assert parts == pytest.approx(found.marginal_kl.mean, abs=1e-9)
        by_dimension = sum(float(each.sum()) for each in found.kl_by_dimension.values())
        assert by_dimension == pytest.approx(found.dimension_wise_kl.mean, abs=1e-9)


def test_codes_far_apart_tell_which_datum_they_are_of() -> None:
    found = surgery(*coded(100.0 * torch.arange(8.0)[:, None], 0.5), draws=64)
    assert found.mutual_information.mean == pytest.approx(math.log(8), abs=1e-12)
    assert found.mutual_information.standard_error < 1e-12
    assert found.ceiling == pytest.approx(math.log(8))
    assert found.is_capped
    assert (found.data, found.draws) == (8, 64)
    adds_up(found)


def test_codes_that_are_all_alike_tell_nothing() -> None:
    found = surgery(*coded(torch.full((20, 2), 1.5), 0.5), draws=2000, batch_size=50)
    assert found.mutual_information.mean == pytest.approx(0, abs=1e-12)
    assert not found.is_capped
    kl = 2 * (0.5 * (1.5**2 + 0.25 - 1) - math.log(0.5))
    assert close(found.marginal_kl, kl)
    assert found.marginal_kl.standard_error < 0.1
    assert found.total_correlation is not None
    assert found.total_correlation.mean == pytest.approx(0, abs=1e-9)
    torch.testing.assert_close(
        found.kl_by_dimension["z"], torch.full((2,), kl / 2, dtype=torch.float64), rtol=0, atol=0.15
    )
    adds_up(found)


def test_one_dimension_agrees_with_quadrature() -> None:
    from scipy.integrate import quad

    codes = torch.tensor([[-1.5], [0.2], [0.7], [2.0]])
    log_q = mixture(codes).log_prob

    def integral(f: Callable[[float], float]) -> float:
        return float(quad(f, -8, 8, points=[-2, 0, 2], epsabs=1e-10)[0])

    def q(z: float) -> float:
        return float(log_q(wide(z)[None]).exp())

    entropy = integral(lambda z: -q(z) * math.log(q(z)))
    cross = integral(lambda z: q(z) * 0.5 * (z * z + math.log(2 * math.pi)))
    own = 0.5 * math.log(2 * math.pi * math.e * 0.36)
    found = surgery(*coded(codes), draws=10_000)
    assert close(found.mutual_information, entropy - own)
    assert close(found.marginal_kl, cross - entropy)
    assert close(found.kl, cross - own)
    assert found.mutual_information.standard_error < 0.01
    assert found.marginal_kl.standard_error < 0.02
    assert found.total_correlation is not None
    assert abs(found.total_correlation.mean) < 1e-12
    adds_up(found)


def test_codes_on_a_diagonal_are_correlated() -> None:
    line = torch.linspace(-2, 2, 6)
    codes = torch.stack([line, line], 1)
    axis = torch.linspace(-7, 7, 500, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    log_joint = mixture(codes).log_prob(grid)
    log_one = mixture(codes[:, :1]).log_prob(axis[:, None])
    ratio = log_joint - log_one[:, None] - log_one
    # The trapezoid rule, which is exact to rounding for smooth densities that vanish at both ends.
    correlation = float((log_joint.exp() * ratio).sum() * (axis[1] - axis[0]) ** 2)
    assert correlation > 0.5
    found = surgery(*coded(codes), draws=20_000)
    assert found.total_correlation is not None
    assert close(found.total_correlation, correlation)
    assert found.total_correlation.standard_error < 0.01
    adds_up(found)


def test_codes_on_a_rectangle_are_not() -> None:
    codes = torch.cartesian_prod(torch.tensor([-1.0, 0.5]), torch.tensor([0.0, 1.0, 3.0]))
    found = surgery(*coded(codes), draws=500)
    assert found.total_correlation is not None
    assert found.total_correlation.mean == pytest.approx(0, abs=1e-12)
    assert found.mutual_information.mean > 0.5
    adds_up(found)


def test_the_whole_is_the_mean_kl_of_probabilistic_pca() -> None:
    p = pca(rows=100, rotated=True, shift=0.3, widen=0.8)
    found = surgery(p.pair, p.facts, p.rows, draws=4000, batch_size=64)
    at = embed(p.pair, p.facts, p.rows)
    loc, scale = at.loc["z"], at.scale["z"]
    kl = (0.5 * (loc.square() + scale.square() - 1) - scale.log()).sum(1).mean()
    assert close(found.kl, float(kl))
    assert found.kl.standard_error < 0.06
    adds_up(found)


@pytest.mark.parametrize("vectorizes", [True, False])
def test_the_aggregate_is_the_mixture_over_all_data(
    monkeypatch: pytest.MonkeyPatch, vectorizes: bool
) -> None:
    codes = torch.randn(23, 3, generator=torch.Generator().manual_seed(0))
    pair, facts, rows = coded(codes)
    facts = Audit(**{**facts.__dict__, "vectorizes": vectorizes})
    monkeypatch.setattr(aggregate, "CHUNK", 5 * 10 * 3)  # five codes at a time
    z = 2 * torch.randn(17, 1, 3, dtype=torch.float64)
    # In the shapes of `Draws.latents`: codes, the plate of the data, the event.
    found = aggregate_log_prob(pair, facts, rows, {"z": z}, by_dimension=True, batch_size=10)
    torch.testing.assert_close(found.log_prob, mixture(codes).log_prob(z[:, 0]))
    for j in range(3):
        marginal = mixture(codes[:, j : j + 1]).log_prob(z[:, 0, j : j + 1])
        torch.testing.assert_close(found.by_dimension["z"][:, j], marginal)
    assert found.data == 23


def dependent(x: Tensor) -> Made:
    """Two numbers and a latent that depends on them, in a plate to the left of another."""

    def model(x: Tensor) -> None:
        with pyro.plate("rows", len(x), dim=-2):
            with pyro.plate("two", 2, dim=-1):
                pair = pyro.sample("pair", dist.Normal(wide(0.0), 1.0))
            low = pyro.sample("low", dist.Normal(pair.sum(-1, keepdim=True), 1.0))
            with pyro.plate("columns", x.shape[1], dim=-1):
                pyro.sample("x", dist.Normal(low, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        s = pyro.param("s", wide(0.5))
        mean = x.double().mean(1, keepdim=True)
        with pyro.plate("rows", len(x), dim=-2):
            with pyro.plate("two", 2, dim=-1):
                pair = pyro.sample("pair", dist.Normal(mean, s))
            pyro.sample("low", dist.Normal(mean - pair.sum(-1, keepdim=True), 0.7))

    return subject(model, guide, x)


@pytest.mark.parametrize("vectorizes", [True, False])
def test_sites_that_depend_on_each_other_are_scored_together(vectorizes: bool) -> None:
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
    pair, facts, rows = dependent(x)
    assert facts.vectorizes
    facts = Audit(**{**facts.__dict__, "vectorizes": vectorizes})
    codes = draw_codes(pair, facts, rows, draws=30, batch_size=5)
    assert tuple(codes.latents["pair"].shape) == (30, 1, 2)
    assert tuple(codes.latents["low"].shape) == (30, 1, 1)
    both, low = codes.columns["pair"], codes.columns["low"]
    mean = x.double().mean(1)
    log_q = dist.Normal(mean[:, None], 0.5).log_prob(both[:, None]).sum(-1)
    log_q = log_q + dist.Normal(mean - both.sum(1, keepdim=True), 0.7).log_prob(low)
    torch.testing.assert_close(codes.log_guide, log_q[torch.arange(30), codes.rows])
    log_p = dist.Normal(0.0, 1.0).log_prob(both).sum(1)
    log_p = log_p + dist.Normal(both.sum(1), 1.0).log_prob(low[:, 0])
    torch.testing.assert_close(codes.log_prior, log_p)
    found = aggregate_log_prob(pair, facts, rows, codes.latents, by_dimension=True, batch_size=5)
    torch.testing.assert_close(found.log_prob, log_q.logsumexp(1) - math.log(12))
    assert found.by_dimension == {}
    whole = surgery(pair, facts, rows, draws=200)
    assert (whole.total_correlation, whole.dimension_wise_kl) == (None, None)
    assert whole.undivided == "site 'low' depends on 'pair' in the guide"
    assert whole.kl_by_dimension == {}
    adds_up(whole)


def test_sites_that_do_not_are_divided_as_one_latent_would_be() -> None:
    codes = torch.randn(15, 3, generator=torch.Generator().manual_seed(2))

    def program(loc: Tensor, scale: Tensor) -> Tensor:
        a = pyro.sample("a", dist.Normal(loc[..., 0], scale))
        b = pyro.sample("b", dist.Normal(loc[..., 1:], scale).to_event(1))
        return torch.cat([a[..., None], b], -1)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = program(torch.zeros(len(x), 3, dtype=torch.float64), wide(1.0))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        s = pyro.param("s", wide(0.6))
        with pyro.plate("data", len(x)):
            program(x.double(), s)

    found = surgery(*subject(model, guide, codes), draws=8000)
    adds_up(found)
    assert {site: len(kl) for site, kl in found.kl_by_dimension.items()} == {"a": 1, "b": 2}
    one = surgery(*coded(codes), draws=8000, seed=1)
    for name in ("kl", "mutual_information", "total_correlation", "dimension_wise_kl"):
        first, second = getattr(found, name), getattr(one, name)
        error = math.hypot(first.standard_error, second.standard_error)
        assert abs(first.mean - second.mean) < SIGMAS * error


def test_a_prior_or_a_guide_that_does_not_factorize_says_so() -> None:
    codes = torch.randn(30, 2, generator=torch.Generator().manual_seed(3))
    covariance = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)

    def prior() -> dist.TorchDistribution:
        return dist.MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance)

    found = surgery(*coded(codes, prior=prior), draws=20_000)
    assert (
        found.undivided
        == "the model's distribution of site 'z' is not a product of univariate ones"
    )
    assert found.total_correlation is None
    adds_up(found)
    each = dist.MultivariateNormal(codes.double(), 0.36 * torch.eye(2, dtype=torch.float64))
    kl = torch.distributions.kl_divergence(each, prior()).mean()
    assert close(found.kl, float(kl))


def test_data_drawn_anew_at_each_pass_are_the_same_in_both() -> None:
    grey = torch.rand(60, 5, 5, generator=torch.Generator().manual_seed(0))
    train = data.from_arrays((255 * grey).byte().numpy(), binarize="dynamic").train
    assert not torch.equal(*(next(iter(train.chunks(60)))["x"] for _ in range(2)))
    torch.manual_seed(0)
    network = nn.Linear(25, 2)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            probs = z.sum(-1)[..., None, None, None].sigmoid().expand(*z.shape[:-1], 1, 5, 5)
            pyro.sample("x", dist.Bernoulli(probs).to_event(3), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(network(x.flatten(1)), 0.001).to_event(1))

    batch = next(iter(train.chunks(10)))
    pair = Pair(model, guide, batch)
    facts, count = audit(pair, Trace_ELBO, batch), len(train)
    codes = draw_codes(pair, facts, train, draws=count)
    found = aggregate_log_prob(pair, facts, train, codes.latents)
    # A code of a datum that is not in the second pass would have a tiny q(z).
    log_ratio = codes.log_guide - found.log_prob
    assert float(log_ratio.max()) < math.log(count) + 1e-3
    assert surgery(pair, facts, train, draws=count).mutual_information.mean == pytest.approx(
        math.log(count), abs=0.2
    )


def test_every_datum_has_its_turn() -> None:
    made = coded(torch.randn(10, 2))
    assert torch.equal(draw_codes(*made, draws=30).rows.bincount(), torch.full((10,), 3))
    assert len(draw_codes(*made, draws=7).rows.unique()) == 7
    firsts = {int(draw_codes(*made, draws=1, seed=seed).rows[0]) for seed in range(20)}
    assert len(firsts) > 4


def test_surgery_is_a_function_of_the_seed_and_moves_nothing() -> None:
    p = pca(rows=30)
    state, seen = torch.get_rng_state(), list[int]()
    one = surgery(p.pair, p.facts, p.rows, draws=50, batch_size=20, on_rows=seen.append)
    assert torch.equal(state, torch.get_rng_state())
    assert p.pair.training
    torch.rand(3)
    assert one.kl == surgery(p.pair, p.facts, p.rows, draws=50, batch_size=20).kl
    assert one.kl != surgery(p.pair, p.facts, p.rows, draws=50, batch_size=20, seed=1).kl
    assert seen == [20, 10]


def test_what_has_no_aggregate_posterior_is_refused() -> None:
    x = torch.randn(20, 2)
    pair, facts, rows = made = coded(x)
    with pytest.raises(InputError, match="draws is 1"):
        surgery(*made, draws=1)
    with pytest.raises(InputError, match="draws is 0"):
        draw_codes(*made, draws=0)
    with pytest.raises(InputError, match=r"codes are given for \['u'\]"):
        aggregate_log_prob(*made, {"u": torch.zeros(3, 1, 2)})
    with pytest.raises(InputError, match="every latent inside the plate"):
        surgery(pair, Audit(**{**facts.__dict__, "is_local": False}), rows)
    point = subject(VAE(StandardNormal(2), Gaussian((2,), variance=1.0), AFFINE), Delta(2, (2,)), x)
    with pytest.raises(InputError, match="point mass"):
        surgery(*point)
    with pytest.raises(InputError, match="point mass"):
        prior_gain(*point, as_split(x))

    def model(x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample(
                "z", dist.Normal(y[:, None].double(), 1.0).expand([len(x), 2]).to_event(1)
            )
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        s = pyro.param("s", wide(0.6))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.double(), s).to_event(1))

    labelled = subject(model, guide, x, torch.arange(20) % 3)
    with pytest.raises(InputError, match="prior of the latents differs between data"):
        surgery(*labelled)
    alike = subject(model, guide, x, torch.ones(20, dtype=torch.long))
    adds_up(surgery(*alike, draws=10))

    def auxiliary(x: Tensor) -> None:
        with pyro.plate("more", len(x)):
            pyro.sample("u", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
        guide(x)

    def masked(program: Callable[..., None]) -> Callable[..., None]:
        return lambda x: poutine.mask(program, mask=x[:, 0] > 0)(x)

    def unlabelled(x: Tensor) -> None:
        model(x, torch.ones(len(x)))

    with pytest.raises(InputError, match="draws 'u', which is not in the model"):
        surgery(*subject(unlabelled, auxiliary, x, elbo=Trace_ELBO))
    with pytest.raises(InputError, match="latent site 'z' is masked"):
        surgery(*subject(masked(unlabelled), masked(guide), x, elbo=Trace_ELBO))
