"""Laws of the gaps, on conjugate models whose best guide and its gap are known."""

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from ppvae.bounds.audit import audit
from ppvae.data import Split
from ppvae.diagnostics.gap.gaps import Gaps, gaps
from ppvae.diagnostics.gap.refining import How, evenly
from ppvae.errors import InputError
from ppvae.guides import Delta
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from tests.support.gaps import SIGMAS, STEPS, best_diagonal, encoder, holds, programs
from tests.support.pca import AFFINE, PCA, pca
from tests.support.slow import few


def split(p: PCA, **options: Any) -> Gaps:
    return gaps(p.pair, p.facts, p.rows, **{"steps": STEPS, "draws": 500, **options})


def encoder_kl(p: PCA, shift: float, widen: float) -> Tensor:
    scale = widen * p.precision.diagonal().rsqrt()
    return p.kl(p.posterior_loc + shift, scale.expand_as(p.posterior_loc))


@pytest.mark.parametrize("is_given", few([True, False], 2))
def test_both_gaps_of_an_oblique_basis_with_a_poor_encoder(is_given: bool) -> None:
    p = pca(rotated=True, shift=0.4, widen=1.6, rows=25)
    rows: list[int] = []
    found = split(p, log_p=p.log_p if is_given else None, batch_size=20, on_rows=rows.append)
    assert rows == [20, 5]
    approximation, total = best_diagonal(p), encoder_kl(p, 0.4, 1.6)
    assert approximation > 0.1
    assert float((total - approximation).mean()) > 1.0
    # The rest that the search leaves is of second order, far below this tolerance.
    assert holds(found.approximation, approximation, slack=0.01)
    assert holds(found.amortization, total - approximation, slack=0.01)
    assert holds(found.total, total)
    assert found.approximation.mean == pytest.approx(approximation, abs=0.02)
    # The errors are correct: z has a mean square near 1.
    z = (found.amortization.by_datum - total + approximation) / found.amortization.error
    assert 0.5 < float(z.square().mean()) < 2.0
    assert found.how == "parameters"
    assert ("importance" in found.estimator) != is_given
    torch.testing.assert_close(found.approximation.by_datum, found.log_p - found.refined)
    torch.testing.assert_close(found.amortization.by_datum, found.refined - found.elbo)
    torch.testing.assert_close(
        found.total.by_datum, found.approximation.by_datum + found.amortization.by_datum
    )
    assert bool(((found.log_p - p.log_p).abs() <= SIGMAS * found.log_p_error).all())


@pytest.mark.slow
def test_where_the_family_holds_the_posterior_it_is_found_without_noise() -> None:
    p = pca(shift=0.3, widen=0.5, rows=5)
    found = split(p, steps=200, log_p=p.log_p)
    assert float(found.approximation.by_datum.abs().max()) < 1e-4
    assert float(found.refined_error.max()) < 1e-4
    assert holds(found.amortization, encoder_kl(p, 0.3, 0.5))
    assert abs(found.still_climbing) < 1e-4
    sampled = split(p)
    assert bool(((sampled.log_p - p.log_p).abs() <= SIGMAS * sampled.log_p_error).all())
    assert float(sampled.log_p_error.max()) < 0.01
    assert holds(sampled.approximation, 0.0)


def full_rank(p: PCA, low_rank: bool) -> tuple[Pair, Audit, Split]:
    network, factor = encoder(p), nn.Linear(1, 4).double()
    one = torch.ones(1).double()

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        pyro.module("factor", factor)
        with pyro.plate("data", len(x)):
            loc, square = network(x)[..., :2], 0.5 * factor(one).unflatten(-1, (2, 2))
            fn: Any
            if low_rank:
                fn = dist.LowRankMultivariateNormal(loc, square[..., :1], square[0].square() + 0.1)
            else:
                fn = dist.MultivariateNormal(loc, square @ square.mT + 0.5 * torch.eye(2))
            pyro.sample("z", fn)

    return programs(p.pair.model, guide, p.x)


@pytest.mark.parametrize("low_rank", few([False, True], 2))
def test_a_full_covariance_closes_the_approximation_gap(low_rank: bool) -> None:
    p = pca(rotated=True, rows=6)
    torch.manual_seed(0)
    pair, facts, rows = full_rank(p, low_rank)
    found = gaps(pair, facts, rows, steps=200, draws=200, log_p=p.log_p)
    assert found.how == "parameters"
    assert best_diagonal(p) > 0.1
    assert float(found.approximation.by_datum.abs().max()) < 5e-3
    assert found.amortization.mean > 0.3


@pytest.mark.slow
def test_all_weights_lead_to_the_same_guide_as_its_parameters() -> None:
    p = pca(rotated=True, shift=0.4, widen=1.6, rows=3)
    rows: list[int] = []
    found = split(p, how="weights", steps=150, lr=0.05, on_rows=rows.append)
    assert (found.how, rows) == ("weights", [1] * 3)
    assert bool(((found.log_p - p.log_p).abs() <= SIGMAS * found.log_p_error).all())
    approximation = best_diagonal(p)
    assert holds(found.approximation, approximation, slack=0.02)
    assert holds(found.amortization, encoder_kl(p, 0.4, 1.6) - approximation, slack=0.02)
    other = split(p, how="parameters", log_p=p.log_p)
    error = torch.hypot(found.refined_error, other.refined_error)
    assert bool(((found.refined - other.refined).abs() < SIGMAS * error).all())


def fixed_scales(p: PCA, scale: Callable[[Tensor], Tensor | float]) -> tuple[Pair, Audit, Split]:
    network = encoder(p)
    log_scale = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        pyro.param("log_scale", log_scale)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(network(x)[..., :2], scale(log_scale)).to_event(1))

    return programs(p.pair.model, guide, p.x)


def test_a_constant_of_the_guide_stays_and_one_number_stays_one() -> None:
    p = pca(rows=5)
    m = p.precision
    # KL(N(posterior mean, s^2 I) || posterior) = (s^2 tr M - k - ln |M| - 2 k ln s) / 2.
    for scale, s in (
        (lambda _: 0.4, 0.4),
        (lambda log_scale: log_scale.exp(), math.sqrt(2 / float(m.trace()))),
    ):
        pair, facts, rows = fixed_scales(p, scale)
        found = gaps(pair, facts, rows, steps=STEPS, draws=1000, log_p=p.log_p)
        truth = 0.5 * (s**2 * float(m.trace()) - 2 - float(torch.logdet(m)) - 4 * math.log(s))
        assert truth > best_diagonal(p) + 0.1
        assert found.how == "parameters"
        assert holds(found.approximation, truth, slack=0.01)


def test_one_number_of_all_data_is_each_datums_own() -> None:
    """x | z ~ N(z, y^2) given y: the posterior's width differs by datum, the guide's does not."""
    network = nn.Linear(1, 1)
    log_scale = nn.Parameter(torch.zeros(()))

    def model(x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z[..., None], y[:, None]).to_event(1), obs=x)

    def guide(x: Tensor, y: Tensor) -> None:
        pyro.module("network", network)
        scale = pyro.param("log_scale", log_scale).exp()
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(network(x)[..., 0], scale))

    torch.manual_seed(0)
    x, y = torch.randn(4, 1), torch.tensor([0.2, 0.5, 1.0, 3.0])
    pair, facts, rows = programs(model, guide, x, y)
    log_p = dist.Normal(0.0, (1 + y.square()).sqrt()).log_prob(x[:, 0])
    found = gaps(pair, facts, rows, steps=200, draws=300, log_p=log_p)
    assert found.how == "parameters"
    assert float(found.approximation.by_datum.abs().max()) < 1e-3


@pytest.mark.slow
def test_a_search_that_has_not_arrived_says_so() -> None:
    p = pca(shift=5.0)
    short = split(p, steps=40, particles=64, log_p=p.log_p)
    assert short.still_climbing > 0.2
    assert short.still_climbing > 3 * short.still_climbing_error
    assert len(short.climb) == 40
    assert float(short.climb[0]) == pytest.approx(float(short.elbo.mean()), rel=0.05)
    long = split(p, steps=None, log_p=p.log_p)
    assert abs(long.still_climbing) < 0.02
    assert float((long.refined - short.refined).min()) > 1.0


def test_a_search_that_fails_is_not_made_to_look_well() -> None:
    p = pca(rotated=True, rows=10)
    found = split(p, steps=8, lr=5.0, log_p=p.log_p)
    assert found.amortization.mean < -1.0
    assert found.approximation.mean > best_diagonal(p)


def test_a_log_p_below_the_refined_bound_is_not_made_to_look_well() -> None:
    p = pca(rows=5)
    found = split(p, log_p=p.log_p - 1.0)
    assert found.approximation.mean == pytest.approx(-1.0, abs=1e-3)


def test_both_guides_see_the_same_noise() -> None:
    p = pca(rotated=True, rows=5)  # whose encoder is the best of the family already
    found = split(p, log_p=p.log_p)
    assert float(found.amortization.error.max()) < 0.2 * float(found.refined_error.min())
    assert float(found.amortization.by_datum.abs().max()) < 0.01


def test_a_proposals_search_follows_the_bound_that_averages_weights() -> None:
    """With fixed densities its mean gradient is that of log mean w; p = N(0, 1), K = 4."""
    loc = torch.full((200_000,), 0.7, dtype=torch.float64, requires_grad=True)
    scale = torch.full((200_000,), 0.6, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(0)
    z = loc + scale * torch.randn(4, 200_000, dtype=torch.float64)
    log_p = dist.Normal(0.0, 1.0).log_prob(z)
    bound = (log_p - dist.Normal(loc, scale).log_prob(z)).logsumexp(0).sum()
    held = evenly(log_p - dist.Normal(loc.detach(), scale.detach()).log_prob(z)).sum()
    for leaf in (loc, scale):
        (one,) = torch.autograd.grad(bound, leaf, retain_graph=True)
        (other,) = torch.autograd.grad(held, leaf, retain_graph=True)
        error = float((one - other).std()) / math.sqrt(len(one))
        assert abs(float((one - other).mean())) < SIGMAS * error
        assert abs(float(one.mean())) > 20 * error


def test_the_units_of_the_latent_do_not_matter() -> None:
    """A posterior that is a thousand times narrower is found in as many steps."""
    p = pca(variance=1e-6, shift=1e-3, rows=10)
    found = split(p, log_p=p.log_p)
    assert float(found.amortization.by_datum.min()) > 0.5
    assert float(found.approximation.by_datum.abs().max()) < 0.01


@pytest.mark.slow
def test_chunks_of_draws_are_those_of_one_law(monkeypatch: pytest.MonkeyPatch) -> None:
    p = pca(rotated=True, rows=10, shift=0.4)
    # 3 data in the climb, of 8 particles and once of 16; then 16 draws of each at once.
    for name in ("gaps", "refining"):
        monkeypatch.setattr(import_module(f"ppvae.diagnostics.gap.{name}"), "CHUNK", 3 * 16 * 4)
    rows: list[int] = []
    found = split(p, log_p=p.log_p, on_rows=rows.append, steps=60, draws=100)
    assert rows == [3, 3, 3, 1]
    assert holds(found.total, encoder_kl(p, 0.4, 1.0))
    assert holds(found.approximation, best_diagonal(p), slack=0.02)


def test_the_error_of_a_given_log_p_is_part_of_the_gaps() -> None:
    p = pca(rows=5)
    error = torch.full((5,), 0.3)
    found = split(p, log_p=p.log_p, log_p_error=error, steps=8)
    assert float(found.log_p_error[0]) == pytest.approx(0.3)
    assert float(found.approximation.error.min()) >= 0.3 - 1e-6
    assert float(found.total.error.min()) >= 0.3 - 1e-6
    assert float(found.amortization.error.max()) < 0.1


@pytest.mark.parametrize("how", ["parameters", "weights"])
def test_the_answer_is_a_function_of_the_seed_and_moves_nothing(how: How) -> None:
    p = pca(rotated=True, rows=3)
    weights = {name: w.clone() for name, w in p.pair.state_dict().items()}
    state = torch.get_rng_state()
    one = split(p, how=how, steps=8, draws=10)
    assert torch.equal(state, torch.get_rng_state())
    assert p.pair.training
    assert all(isinstance(w, nn.Parameter) and w.grad is None for w in p.pair.parameters())
    for name, w in p.pair.state_dict().items():
        assert torch.equal(w, weights[name])
    torch.rand(3)
    again = split(p, how=how, steps=8, draws=10)
    other = split(p, how=how, steps=8, draws=10, seed=1)
    assert torch.equal(one.refined, again.refined)
    assert not torch.equal(one.refined, other.refined)
    assert not one.refined.requires_grad


def test_one_datum_has_gaps_without_an_error_over_data() -> None:
    found = split(pca(rows=1), steps=8)
    assert math.isnan(found.total.standard_error)
    assert math.isfinite(found.total.mean)


def test_a_guide_of_constants_has_nothing_to_refine() -> None:
    p = pca(rows=2)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))

    subject = programs(p.pair.model, guide, p.x)
    with pytest.raises(InputError, match="no draw of the guide depends on its weights"):
        gaps(*subject)
    with pytest.raises(InputError, match="but no weight of the guide reaches a parameter"):
        gaps(*subject, how="parameters")


def test_what_cannot_be_split_is_refused() -> None:
    p = pca(rows=5)
    point = Pair(
        VAE(StandardNormal(2), Gaussian((4,), variance=1.0), AFFINE), Delta(2, (4,)), {"x": p.x}
    )
    with pytest.raises(InputError, match="point mass"):
        gaps(point, audit(point, Trace_ELBO, {"x": p.x}), p.rows)
    shared = Audit(**{**p.facts.__dict__, "is_local": False})
    with pytest.raises(InputError, match="every latent inside the plate"):
        gaps(p.pair, shared, p.rows)
    for options, message in (
        ({"log_p": p.log_p[:2]}, r"log_p has shape \(2,\), but there are 5 data"),
        ({"log_p_error": p.log_p}, "log_p_error without log_p"),
        ({"log_p": p.log_p, "log_p_error": p.log_p[:2]}, r"log_p_error has shape \(2,\)"),
        ({"draws": 1}, "draws is 1"),
        ({"steps": 7}, "steps is 7"),
        ({"particles": 0}, "particles is 0"),
        ({"lr": 0.0}, "lr is 0"),
        ({"how": "neither"}, "how is 'neither'"),
    ):
        with pytest.raises(InputError, match=message):
            split(p, **options)


def test_a_search_that_runs_away_ends_in_a_sentence() -> None:
    """Its parameters leave their domain during the search, which Pyro's checks would refuse."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            pyro.sample("x", dist.Poisson((40 * z).exp()).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        loc = pyro.param("loc", torch.tensor(0.0))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc + 0 * x, 0.5).to_event(1))

    it = programs(model, guide, torch.tensor([[3.0], [5.0], [0.0]]))
    with pytest.raises(
        InputError, match="bound of a refined guide is not finite; take a smaller lr"
    ):
        gaps(*it, steps=20, draws=20, lr=1.0)
