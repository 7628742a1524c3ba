"""A density fitted to codes of known distributions, with its known gain."""

import math
from collections.abc import Callable
from typing import Any, cast

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch import Tensor

from ppvae.data import as_split
from ppvae.diagnostics import prior_gain, subject
from ppvae.diagnostics.bound.aggregate_prior import aggregate_prior, held_out_gain
from ppvae.errors import InputError
from ppvae.guides import (
    ExactPosterior,
    MeanField,
)
from ppvae.models import (
    VAE,
    Gaussian,
    LinearGaussian,
    StandardNormal,
)
from ppvae.programs.facts import Audit
from tests.support.codes import (
    SIGMAS,
    autoencoder,
    clusters,
    coded,
    moments,
    normal,
    programs,
    seen,
    wide,
)
from tests.support.pca import AFFINE
from tests.support.snapshots import snapshot

__all__ = ["seen"]  # fixtures


# The fitted density


def test_its_density_is_that_of_the_mixture_fitted_by_scikit_learn(seen: list[Any]) -> None:
    x = clusters(300) @ normal(2, 3) + normal(300, 3) * torch.tensor([1.0, 30.0, 1e-3]) + 5
    x = x.float().double()  # as a split holds it
    r = aggregate_prior(*autoencoder(x), components=4)
    (fitted,) = seen
    loc, scale = x.mean(0), x.std(0)
    assert {tuple(row.round(6)) for row in fitted.seen_} == {
        tuple(row.round(6)) for row in ((x - loc) / scale).numpy()
    }
    z = loc + 2 * scale * normal(50, 3, seed=1)
    log_u = torch.from_numpy(fitted.score_samples(((z - loc) / scale).numpy()))
    torch.testing.assert_close(r().log_prob(z), log_u - scale.log().sum())


def test_its_density_integrates_to_one() -> None:
    r = aggregate_prior(*coded(clusters(300)), components=3)
    axis = torch.linspace(-8, 8, 400, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    cell = float(axis[1] - axis[0]) ** 2
    assert float(r().log_prob(grid).exp().sum()) * cell == pytest.approx(1, abs=1e-4)


def test_its_draws_are_of_its_density() -> None:
    """E_r[f / r] is 1 for the density f of any law that r covers: here N(m, 4 I)."""
    r = aggregate_prior(*coded(clusters(300), 1.5), components=3)
    torch.manual_seed(0)
    z = r.latents(20_000)["z"]
    mean, covariance = moments(r)
    off = z - mean
    error = covariance.diagonal().sqrt() / math.sqrt(len(z))
    assert bool((off.mean(0).abs() < SIGMAS * error).all())
    products = off[:, :, None] * off[:, None, :]
    error = products.std(0) / math.sqrt(len(z))
    assert bool(((products.mean(0) - covariance).abs() < SIGMAS * error).all())
    other = dist.Normal(torch.tensor([-3.0, 1.0]).double(), 1.0).to_event(1)
    ratio = (other.log_prob(z) - r().log_prob(z)).exp()
    assert abs(float(ratio.mean()) - 1) < SIGMAS * float(ratio.std()) / math.sqrt(len(z))


def test_codes_in_two_clusters_are_found() -> None:
    r = aggregate_prior(*coded(clusters(3000)), components=2)
    order = r.loc[:, 0].argsort()
    weights = r.logits.softmax(0)[order]
    torch.testing.assert_close(weights, torch.tensor([2 / 3, 1 / 3]).double(), rtol=0, atol=1e-3)
    # 10 codes of each datum: a third of 30,000 have a mean with an error of 0.006.
    near = torch.tensor([[-3.0, 1.0], [3.0, -1.0]]).double()
    torch.testing.assert_close(r.loc[order], near, rtol=0, atol=0.03)
    covariance = r.scale_tril @ r.scale_tril.mT
    within = (0.36 * torch.eye(2).double()).expand(2, 2, 2)
    torch.testing.assert_close(covariance, within, rtol=0, atol=SIGMAS * 0.36 * 0.0142)


def test_it_is_fitted_to_draws_and_not_to_means() -> None:
    # All data have the code N((1, 1), 0.7^2 I), whose means are one point.
    r = aggregate_prior(*coded(torch.ones(500, 2), 0.7), components=1)
    covariance = r.scale_tril[0] @ r.scale_tril[0].T
    want = 0.49 * torch.eye(2).double()
    torch.testing.assert_close(covariance, want, rtol=0, atol=SIGMAS * 0.49 * 0.02)


def linear_gaussian(rows: int, seed: int) -> tuple[LinearGaussian, ExactPosterior, Tensor]:
    """Data drawn from the model itself, and its own posterior."""
    torch.manual_seed(1)
    model = LinearGaussian(2, (4,), noise=0.5).double()
    z, noise = normal(rows, 2, seed=seed), normal(rows, 4, seed=seed + 1)
    x = (z @ model.weight.mT + model.loc + 0.5 * noise).detach()
    return model, ExactPosterior(model), x


def test_where_the_posterior_is_exact_and_data_are_the_models_it_is_the_prior() -> None:
    """E_p(x)[p(z | x)] is p(z), so that the gain is zero."""
    model, guide, x = linear_gaussian(2000, 10)
    pair, facts, train = subject(model, guide, x, elbo=Trace_ELBO)
    r = aggregate_prior(pair, facts, train, components=1)
    mean, covariance = moments(r)
    error = 1 / math.sqrt(2000)  # draws of a datum are dependent
    assert float(mean.abs().max()) < SIGMAS * error
    torch.testing.assert_close(
        covariance, torch.eye(2).double(), rtol=0, atol=SIGMAS * math.sqrt(2) * error
    )
    held = as_split(linear_gaussian(2000, 20)[2])
    for components in (1, 3):
        r = aggregate_prior(pair, facts, train, components=components)
        gain = held_out_gain(r, pair, facts, held)
        # The cost of fitting: half a nat per parameter, over the number of data.
        slack = 6 * components / (2 * 2000)
        assert abs(gain.mean) < SIGMAS * gain.standard_error + slack
        assert gain.standard_error < 0.01


def test_at_the_optimum_of_pca_the_codes_of_any_data_have_the_priors_moments() -> None:
    x = clusters(400) @ normal(2, 5, seed=3) + 0.3 * normal(400, 5)
    x = x.float().double()
    model = LinearGaussian.optimum(x, 2)
    pair, facts, train = subject(model, ExactPosterior(model), x, elbo=Trace_ELBO)
    mean, covariance = moments(aggregate_prior(pair, facts, train, components=1))
    # The rest is the noise of 10 draws each, of a scale below 1.
    assert float(mean.abs().max()) < SIGMAS / math.sqrt(4000)
    torch.testing.assert_close(
        covariance, torch.eye(2).double(), rtol=0, atol=SIGMAS * math.sqrt(2 / 4000)
    )


# The gain


def test_codes_elsewhere_win_the_divergence_of_their_law_from_the_prior() -> None:
    # The codes' law is N(0.8, 0.3^2 + 0.6^2) in each of two dimensions.
    pair, facts, train = coded(0.8 + 0.3 * normal(4000, 2))
    held = as_split(0.8 + 0.3 * normal(2000, 2, seed=1))
    gain = held_out_gain(aggregate_prior(pair, facts, train, components=1), pair, facts, held)
    kl = 0.45 + 0.64 - 1 - math.log(0.45)
    assert abs(gain.mean - kl) < SIGMAS * gain.standard_error
    assert gain.standard_error < 0.03


def test_codes_in_two_clusters_win_by_two_components_what_one_does_not() -> None:
    pair, facts, train = coded(clusters(3000))
    held = as_split(clusters(1000, seed=1))
    one, two = (
        held_out_gain(aggregate_prior(pair, facts, train, components=components), pair, facts, held)
        for components in (1, 2)
    )
    # log r - log p at +-(3, -1) + 0.6 eps, with r a third and two thirds of either.
    entropy = math.log(3) - 2 / 3 * math.log(2)
    truth = 0.5 * (10 + 0.72 - 2) - 2 * math.log(0.6) - entropy
    assert abs(two.mean - truth) < SIGMAS * two.standard_error
    assert 0 < one.mean < two.mean - 0.5


def test_the_error_of_a_gain_is_over_data_and_not_over_their_draws() -> None:
    pair, facts, train = coded(clusters(300) + normal(300, 2), 0.01)
    r = aggregate_prior(pair, facts, train, components=1)
    held = as_split(clusters(90, seed=1) + normal(90, 2, seed=2))
    once, often = (held_out_gain(r, pair, facts, held, draws=draws) for draws in (1, 16))
    assert often.mean == pytest.approx(once.mean, abs=0.1)
    assert often.standard_error == pytest.approx(once.standard_error, rel=0.05)


def test_the_gain_is_that_of_the_same_density_in_the_diagnosis() -> None:
    pair, facts, train = coded(clusters(2000))
    held = as_split(clusters(500, seed=1))
    gain = held_out_gain(aggregate_prior(pair, facts, train, components=2), pair, facts, held)
    other = prior_gain(pair, facts, train, held, components=(2,))
    assert gain.mean == pytest.approx(other.mean, abs=SIGMAS * gain.standard_error)


def test_in_the_priors_place_it_raises_the_bound_by_its_gain() -> None:
    torch.manual_seed(0)
    x = clusters(200) @ normal(2, 4) + 0.3 * normal(200, 4)
    model, guide = (
        VAE(StandardNormal(3), Gaussian((4,), variance=1.0), AFFINE),
        MeanField(3, (4,), AFFINE),
    )
    pair, facts, rows = subject(model.double(), guide.double(), x)
    r = aggregate_prior(pair, facts, rows, components=3)
    gain = held_out_gain(r, pair, facts, rows, draws=1)
    elbo, bounds = Trace_ELBO(), []
    prior = model.prior
    for each in (prior, r):
        model.prior = each
        torch.manual_seed(7)
        bounds.append(-elbo.loss(model, guide, x.float().double()) / len(x))
    torch.manual_seed(7)
    z = guide(x.float().double())
    won = r().log_prob(z) - prior().log_prob(z)
    assert bounds[1] - bounds[0] == pytest.approx(float(won.detach().mean()))
    assert abs(bounds[1] - bounds[0] - gain.mean) < SIGMAS * gain.standard_error
    assert gain.mean > 0.1


def test_few_data_and_many_components_win_less_than_nothing_on_others() -> None:
    pair, facts, train = coded(normal(30, 2), 0.01)
    r = aggregate_prior(pair, facts, train, components=20)
    assert held_out_gain(r, pair, facts, train).mean > 0
    assert held_out_gain(r, pair, facts, as_split(normal(500, 2, seed=1))).mean < -1


# The rest


def test_it_is_a_function_of_the_seed_and_moves_nothing() -> None:
    pair, facts, rows = coded(clusters(60))
    pair.train()
    draws = snapshot()["draws"]
    one = aggregate_prior(pair, facts, rows, components=2)
    gain = held_out_gain(one, pair, facts, rows)
    assert snapshot()["draws"] == draws
    assert pair.training
    torch.rand(3)
    again = aggregate_prior(pair, facts, rows, components=2)
    other = aggregate_prior(pair, facts, rows, components=2, seed=1)
    assert torch.equal(one.loc, again.loc)
    assert torch.equal(one.scale_tril, again.scale_tril)
    assert not torch.equal(one.loc, other.loc)
    assert gain == held_out_gain(one, pair, facts, rows)
    assert gain != held_out_gain(one, pair, facts, rows, seed=1)


def test_it_makes_the_round_trip_as_a_plain_state() -> None:
    programs = coded(clusters(60))
    one, other = (aggregate_prior(*programs, components=2, seed=seed) for seed in (0, 1))
    other.load_state_dict(one.state_dict())
    z = normal(5, 2)
    assert torch.equal(other().log_prob(z), one().log_prob(z))
    assert list(one.parameters()) == []
    low = one.float()().log_prob(z.float())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), other().log_prob(z), rtol=1e-4, atol=1e-4)


def test_what_has_no_such_density_is_refused() -> None:
    x = clusters(20)
    pair, facts, rows = coded(x)
    for components, match in (
        (0, "components is 0; a mixture needs at least 1"),
        (21, "components is 21, and there are 20 data: .* take fewer components, or give more"),
    ):
        with pytest.raises(InputError, match=match):
            aggregate_prior(pair, facts, rows, components=components)
    with pytest.raises(InputError, match="components is 1, and there are 1 data"):
        aggregate_prior(pair, facts, as_split(x[:1]), components=1)
    with pytest.raises(InputError, match="draws is 0"):
        held_out_gain(aggregate_prior(pair, facts, rows, components=1), pair, facts, rows, draws=0)
    with pytest.raises(InputError, match="every latent inside the plate"):
        aggregate_prior(pair, Audit(**{**facts.__dict__, "is_local": False}), rows)
    lost = autoencoder(x)
    with torch.no_grad():
        next(lost[0].parameters()).fill_(math.inf)
    with pytest.raises(InputError, match="20 of 20 codes are not finite: the guide has diverged"):
        aggregate_prior(*lost, components=2)


def test_a_latent_that_no_normal_is_a_density_of_is_refused() -> None:
    x = clusters(20).exp()

    def positive(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.LogNormal(torch.zeros(2).double(), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        s = pyro.param("s", wide(0.6))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.LogNormal(x.log(), s).to_event(1))

    with pytest.raises(InputError, match="latent site 'z' has the support GreaterThan"):
        aggregate_prior(*subject(positive, guide, x, elbo=Trace_ELBO))

    def mixture(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(torch.ones(3)))
            z = pyro.sample("z", dist.Normal(3.0 * k[:, None].expand(-1, 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def apart(x: Tensor) -> None:
        logits = pyro.param("logits", torch.zeros(3))
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
            pyro.sample("z", dist.Normal(x, 1.0).to_event(1))

    with pytest.raises(InputError, match=r"latents \(k, z\) none is real-valued"):
        aggregate_prior(*subject(mixture, apart, x, elbo=TraceEnum_ELBO))


def test_a_prior_that_is_not_one_for_all_data_is_refused() -> None:
    x, y = clusters(200), (torch.arange(200) > 190).long()
    _, guide = programs(0.6)

    def model(x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = y[:, None].double().expand(-1, 2)
            z = pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    with pytest.raises(InputError, match="prior of latent site 'z' differs between data"):
        aggregate_prior(*subject(model, guide, x, y.flip(0), elbo=Trace_ELBO))
    aggregate_prior(*subject(model, guide, x, torch.ones(200), elbo=Trace_ELBO), components=1)

    def masked(program: Callable[..., None]) -> Callable[[Tensor], None]:
        return lambda x: poutine.mask(program, mask=cast("Any", x[:, 0] > 0))(x)

    plain, guide = programs(0.6)
    with pytest.raises(InputError, match="latent site 'z' is masked"):
        aggregate_prior(*subject(masked(plain), masked(guide), x, elbo=Trace_ELBO))
