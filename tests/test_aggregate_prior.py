"""A density fitted to codes: what it must recover is known, and so is what it wins."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from fits import quick, small
from numpy.typing import NDArray
from pca import AFFINE
from PIL import Image
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch import Tensor

from ppvae.aggregate_prior import AggregatePrior, aggregate_prior, held_out_gain
from ppvae.audit import Audit, audit
from ppvae.cli import answer
from ppvae.data import Split, as_split, load
from ppvae.diagnostics import prior_gain, subject
from ppvae.errors import InputError
from ppvae.generation import decode
from ppvae.guides import (
    BottomUp,
    Delta,
    ExactPosterior,
    MeanField,
    SemiSupervised,
    TopDown,
)
from ppvae.models import (
    VAE,
    ConditionalVAE,
    Gaussian,
    HierarchicalVAE,
    LinearGaussian,
    SemiSupervisedVAE,
    StandardNormal,
)
from ppvae.programs import Pair
from ppvae.run import Run
from ppvae.sample import main, sample

__all__ = ["quick"]  # a fixture: fits without pictures

SIGMAS = 5.0

Programs = tuple[Pair, Audit, Split]


def wide(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def programs(
    scale: float, width: int = 2, prior: Callable[[], Any] | None = None
) -> tuple[Callable[[Tensor], None], Callable[[Tensor], None]]:
    """q(z | x) = N(x, scale^2 I) with p(z) = N(0, I): each datum is where its code lies."""

    def standard() -> Any:
        return dist.Normal(torch.zeros(width, dtype=torch.float64), 1.0).to_event(1)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", (prior or standard)())
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        s = pyro.param("s", wide(scale))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.double(), s).to_event(1))

    return model, guide


def coded(codes: Tensor, scale: float = 0.6, **more: Any) -> Programs:
    return subject(*programs(scale, codes.shape[1], **more), codes, elbo=Trace_ELBO)


def autoencoder(codes: Tensor) -> Programs:
    """A guide that puts each datum at its code, and at no other place."""
    model, _ = programs(1.0, codes.shape[1])

    def guide(x: Tensor) -> None:
        shift = pyro.param("shift", wide(0.0))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(x.double() + shift, event_dim=1))

    return subject(model, guide, codes, elbo=Trace_ELBO)


def clusters(count: int, seed: int = 0) -> Tensor:
    """A third of the data at (3, -1), the rest at (-3, 1)."""
    is_right = torch.arange(count) % 3 == 0
    near = torch.where(is_right[:, None], torch.tensor([3.0, -1.0]), torch.tensor([-3.0, 1.0]))
    return near[torch.randperm(count, generator=torch.Generator().manual_seed(seed))].double()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every mixture that scikit-learn fits, with what it is fitted to as ``seen_``."""
    from sklearn.mixture import GaussianMixture

    made, fit = list[Any](), GaussianMixture.fit

    def spied(self: Any, z: Any, y: Any = None) -> Any:
        self.seen_ = z
        made.append(self)
        return fit(self, z, y)

    monkeypatch.setattr(GaussianMixture, "fit", spied)
    return made


def moments(prior: AggregatePrior) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the mixture, by its parameters."""
    weights = prior.logits.softmax(0)
    mean = weights @ prior.loc
    off = prior.loc - mean
    inside = prior.scale_tril @ prior.scale_tril.mT
    return mean, torch.einsum("k,kij->ij", weights, inside + off[:, :, None] * off[:, None, :])


# What is fitted


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
    """E_p(x)[p(z | x)] is p(z): nothing is won."""
    model, guide, x = linear_gaussian(2000, 10)
    pair, facts, train = subject(model, guide, x, elbo=Trace_ELBO)
    r = aggregate_prior(pair, facts, train, components=1)
    mean, covariance = moments(r)
    error = 1 / math.sqrt(2000)  # the draws of a datum hang together
    assert float(mean.abs().max()) < SIGMAS * error
    torch.testing.assert_close(
        covariance, torch.eye(2).double(), rtol=0, atol=SIGMAS * math.sqrt(2) * error
    )
    held = as_split(linear_gaussian(2000, 20)[2])
    for components in (1, 3):
        r = aggregate_prior(pair, facts, train, components=components)
        gain = held_out_gain(r, pair, facts, held)
        # Half a nat for each parameter, by as many data: what fitting them costs.
        slack = 6 * components / (2 * 2000)
        assert abs(gain.mean) < SIGMAS * gain.standard_error + slack
        assert gain.standard_error < 0.01


def test_at_the_optimum_of_pca_the_codes_of_any_data_have_the_priors_moments() -> None:
    x = clusters(400) @ normal(2, 5, seed=3) + 0.3 * normal(400, 5)
    x = x.float().double()
    model = LinearGaussian.optimum(x, 2)
    pair, facts, train = subject(model, ExactPosterior(model), x, elbo=Trace_ELBO)
    mean, covariance = moments(aggregate_prior(pair, facts, train, components=1))
    # What is left is the noise of 10 draws each, of a scale below 1.
    assert float(mean.abs().max()) < SIGMAS / math.sqrt(4000)
    torch.testing.assert_close(
        covariance, torch.eye(2).double(), rtol=0, atol=SIGMAS * math.sqrt(2 / 4000)
    )


# What it wins


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
    model, guide = VAE(StandardNormal(3), Gaussian((4,)), AFFINE), MeanField(3, (4,), AFFINE)
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


# Of which latents, and how many codes


def test_a_point_mass_has_one_code_of_a_datum_and_a_distribution_ten(seen: list[Any]) -> None:
    aggregate_prior(*autoencoder(normal(60, 2)), components=2)
    aggregate_prior(*coded(normal(60, 2)), components=2)
    assert [len(fitted.seen_) for fitted in seen] == [60, 600]
    assert len(np.unique(seen[1].seen_, axis=0)) == 600


def test_binarized_anew_a_datum_has_as_many_codes_as_draws(seen: list[Any]) -> None:
    data = load("digits", binarize="dynamic")
    torch.manual_seed(0)
    model = VAE(StandardNormal(3), Gaussian(data.shape), AFFINE)
    guide = Delta(3, data.shape, AFFINE)
    batch = data.train.take(torch.arange(64))
    pair = Pair(model, guide, batch)
    r = aggregate_prior(pair, audit(pair, Trace_ELBO, batch), data.train, components=2)
    (fitted,) = seen
    assert len(fitted.seen_) == 10 * len(data.train)
    assert len(np.unique(fitted.seen_.round(6), axis=0)) > 9 * len(data.train)
    assert r.loc.dtype == torch.float32


def test_no_more_codes_are_fitted_to_than_stated(
    seen: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.aggregate_prior.FITTED", 90)
    aggregate_prior(*coded(100.0 * torch.arange(60.0)[:, None], 0.1), components=2)
    codes = seen[0].seen_[:, 0]
    assert len(codes) == 90
    # Each datum once before any is drawn from twice.
    counts = np.unique((codes * 1e3).round(-1), return_counts=True)[1]
    assert set(counts) <= {1, 2}


def test_a_code_that_never_varies_and_one_of_another_unit_are_fitted_alike() -> None:
    x = clusters(200).float().double()
    still = torch.cat([x, torch.full((200, 1), 7.0).double()], 1)
    narrow = torch.cat([1e-6 * x[:, :1], x[:, 1:]], 1).float().double()
    z, at = x[:20] + 0.1, torch.full((20, 1), 7.0).double()
    one, two, three = (
        aggregate_prior(*autoencoder(codes), components=2)().log_prob
        for codes in (x, still, narrow)
    )
    # A third number, of which nothing but a place is known, adds its own density alone.
    added = two(torch.cat([z, at], 1)) - one(z)
    torch.testing.assert_close(added, added[:1].expand(20), rtol=1e-4, atol=1e-4)
    squeezed = torch.cat([1e-6 * z[:, :1], z[:, 1:]], 1)
    torch.testing.assert_close(three(squeezed), one(z) + 6 * math.log(10), rtol=1e-3, atol=1e-3)


def test_fits_that_do_not_converge_are_silent() -> None:
    r = aggregate_prior(*autoencoder(torch.ones(20, 2)), components=3)  # one point, over and over
    assert torch.isfinite(r().log_prob(torch.ones(2).double()))


def hierarchy(guide: Any, x: Tensor) -> tuple[HierarchicalVAE, Programs]:
    torch.manual_seed(0)
    model = HierarchicalVAE(StandardNormal(2), Gaussian((4,)), AFFINE, hidden=())
    programs = subject(
        model.double(), guide(model, (4,), AFFINE, hidden=()).double(), x, elbo=Trace_ELBO
    )
    return model, programs


@pytest.mark.parametrize("guide", [TopDown, BottomUp])
def test_of_a_hierarchy_it_is_the_top_and_the_layers_below_are_the_models(guide: Any) -> None:
    x = clusters(100) @ normal(2, 4)
    model, (pair, facts, rows) = hierarchy(guide, x)
    r = aggregate_prior(pair, facts, rows, components=2)
    assert [top.name for top in r.tops] == ["z2"]
    torch.manual_seed(0)
    drawn = r.latents(20_000)
    assert {name: tuple(value.shape) for name, value in drawn.items()} == {"z2": (20_000, 2)}
    mean, _ = decode(pair, facts, {"x": torch.zeros(20_000, 4)}, drawn)
    # z1 has the mean that the model gives it at z2, and x that of z1, by affine maps.
    with torch.no_grad():
        above = model.conditional(1, drawn["z2"]).mean
        want = model.likelihood(model.decoder(above)).mean
    off = mean - want
    assert bool((off.mean(0).abs() < SIGMAS * off.std(0) / math.sqrt(len(off))).all())
    assert float(off.std(0).min()) > 0.1
    assert held_out_gain(r, pair, facts, rows).mean > 0


def test_a_conditional_model_has_one_density_for_every_y() -> None:
    torch.manual_seed(0)
    x, y = clusters(90) @ normal(2, 4), torch.arange(90) % 3
    model = ConditionalVAE(StandardNormal(2), Gaussian((4,)), AFFINE, 3).double()
    guide = MeanField(2, (4,), AFFINE, 3).double()
    pair, facts, rows = subject(model, guide, x, y)
    r = aggregate_prior(pair, facts, rows, components=2)
    drawn = r.latents(5)
    like = {"x": torch.zeros(5, 4), "y": torch.tensor([0, 1, 2, 2, 2])}
    mean, _ = decode(pair, facts, like, drawn)
    with torch.no_grad():
        known = torch.cat([drawn["z"], torch.eye(3).double()[like["y"]]], 1)
        want = model.likelihood(model.decoder(known)).mean
    torch.testing.assert_close(mean.double(), want, rtol=1e-5, atol=1e-5)


def test_beside_classes_it_is_of_the_rest_and_classes_are_the_models() -> None:
    torch.manual_seed(0)
    x, y = clusters(90) @ normal(2, 4), torch.arange(90) % 4 - 1
    model = SemiSupervisedVAE(StandardNormal(2), Gaussian((4,)), AFFINE, 3).double()
    guide = SemiSupervised(2, (4,), AFFINE, 3).double()
    pair, facts, rows = subject(model, guide, x, y, elbo=TraceEnum_ELBO)
    r = aggregate_prior(pair, facts, rows, components=2)
    assert r.latents(3).keys() == {"z"}
    like = {"x": torch.zeros(3000, 4), "y": torch.zeros(3000, dtype=torch.long)}
    conditioned = poutine.condition(pair.call_model, r.latents(3000))
    with torch.no_grad():
        trace: Any = poutine.trace(conditioned).get_trace(**like)
    counts = trace.nodes["y"]["value"].bincount(minlength=3)
    assert bool(((counts - 1000).abs() < SIGMAS * math.sqrt(3000 * 2 / 9)).all())


def two_latents(x: Tensor) -> Programs:
    """A number and a matrix in an inner plate, under other names, below them a third latent."""

    def model(x: Tensor) -> None:
        sigma = pyro.param("sigma", wide(1.0))
        three = pyro.plate("three", 3, dim=-1)
        with pyro.plate("rows", len(x), dim=-2):
            u = pyro.sample("u", dist.Normal(wide(0.0), 1.0))
            with three:
                v = pyro.sample("v", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
                w = pyro.sample("w", dist.Normal(u.expand(-1, 3), 1.0))
                at = torch.cat([w[..., None], v], -1) * sigma
                pyro.sample("seen", dist.Normal(at, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        sigma = pyro.param("width", wide(0.1))
        with pyro.plate("rows", len(x), dim=-2):
            u = pyro.sample("u", dist.Normal(x[:, :1, 0], sigma))
            with pyro.plate("three", 3, dim=-1):
                pyro.sample("v", dist.Normal(x[..., 1:], sigma).to_event(1))
                pyro.sample("w", dist.Normal(u.expand(-1, 3), sigma))

    return subject(model, guide, x, elbo=Trace_ELBO)


def test_several_latents_at_the_top_are_fitted_together_in_whatever_plates_they_are() -> None:
    x = normal(500, 3, 3)
    x[:, 2, 2] = 2 * x[:, 0, 0]  # v_22 goes with u
    pair, facts, rows = two_latents(x)
    assert facts.data_dim == -2
    r = aggregate_prior(pair, facts, rows, components=1)
    assert r.latent_dim == 7
    torch.manual_seed(0)
    drawn = r.latents(4000)
    assert {name: tuple(value.shape) for name, value in drawn.items()} == {
        "u": (4000, 1), "v": (4000, 3, 2),
    }  # fmt: skip
    together = torch.corrcoef(torch.cat([drawn["u"], drawn["v"].flatten(1)], 1).T)[0]
    assert together[-1] > 0.97
    assert float(together[1:-1].abs().max()) < 0.2
    assert float(drawn["v"][:, 2, 1].std()) == pytest.approx(2, abs=0.3)
    mean, _ = decode(pair, facts, {"x": torch.zeros(4000, 3, 3)}, drawn)
    torch.testing.assert_close(mean[..., 1:].double(), drawn["v"], rtol=1e-5, atol=1e-5)
    # Of v_22 given u the prior knows nothing: most is won there.
    assert held_out_gain(r, pair, facts, as_split(x)).mean > 1


def test_a_plate_outside_that_of_the_data_keeps_its_place() -> None:
    places = torch.arange(6.0).reshape(3, 2).double()
    x = places + 0.1 * normal(200, 3, 2)

    def model(x: Tensor) -> None:
        with pyro.plate("three", 3, dim=-2), pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x.transpose(0, 1))

    def guide(x: Tensor) -> None:
        s = pyro.param("s", wide(0.1))
        with pyro.plate("three", 3, dim=-2), pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.transpose(0, 1).double(), s).to_event(1))

    pair, facts, rows = subject(model, guide, x, elbo=Trace_ELBO)
    r = aggregate_prior(pair, facts, rows, components=1)
    z = r.latents(300)["z"]
    assert tuple(z.shape) == (3, 300, 2)
    torch.testing.assert_close(z.mean(1), places, rtol=0, atol=0.1)
    # log p(z) is that of all six numbers: 1/2 sum of their squares, and what is won by narrowness.
    gain = held_out_gain(r, pair, facts, rows)
    truth = 0.5 * float(places.square().sum()) - 6 * (math.log(0.02) / 2 + 0.5 - 0.01)
    assert gain.mean == pytest.approx(truth, abs=SIGMAS * gain.standard_error + 0.2)


def test_programs_that_take_one_batch_dimension_only_will_do() -> None:
    x = clusters(300)
    model, guide = programs(0.6)

    def flat(x: Tensor) -> None:
        assert x.dim() == 2
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
            if z.dim() > 2:
                raise ValueError("one batch dimension only")
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    one, other = (subject(each, guide, x, elbo=Trace_ELBO) for each in (model, flat))
    assert (one[1].vectorizes, other[1].vectorizes) == (True, False)
    found = [aggregate_prior(*made, components=2) for made in (one, other)]
    assert torch.equal(found[0].loc, found[1].loc)
    assert held_out_gain(found[0], *one) == held_out_gain(found[1], *other)


# The rest


def test_it_is_a_function_of_the_seed_and_moves_nothing() -> None:
    pair, facts, rows = coded(clusters(60))
    pair.train()
    state, numpy_state = torch.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002
    one = aggregate_prior(pair, facts, rows, components=2)
    gain = held_out_gain(one, pair, facts, rows)
    assert torch.equal(state, torch.get_rng_state())
    assert numpy_state == repr(np.random.get_state())  # noqa: NPY002
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
    with pytest.raises(InputError, match="20 of 20 codes are no numbers: the guide has diverged"):
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

    with pytest.raises(InputError, match=r"latents \(k, z\) none of real numbers is drawn before"):
        aggregate_prior(*subject(mixture, apart, x, elbo=TraceEnum_ELBO))


def test_a_prior_that_is_not_one_for_all_data_is_refused() -> None:
    x, y = clusters(200), (torch.arange(200) > 190).long()
    _, guide = programs(0.6)

    def model(x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = y[:, None].double().expand(-1, 2)
            z = pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    with pytest.raises(InputError, match="prior of latent site 'z' differs from datum to datum"):
        aggregate_prior(*subject(model, guide, x, y.flip(0), elbo=Trace_ELBO))
    aggregate_prior(*subject(model, guide, x, torch.ones(200), elbo=Trace_ELBO), components=1)

    def masked(program: Callable[..., None]) -> Callable[[Tensor], None]:
        return lambda x: poutine.mask(program, mask=cast("Any", x[:, 0] > 0))(x)

    plain, guide = programs(0.6)
    with pytest.raises(InputError, match="latent site 'z' is masked"):
        aggregate_prior(*subject(masked(plain), masked(guide), x, elbo=Trace_ELBO))


# The command

NET: dict[str, Any] = {"class_path": "MLP", "init_args": {"hidden": [64]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(folder: Path, quick: None) -> Run:
    """A short fit of an autoencoder to the digits; one for all tests."""
    if not (folder / "run").exists():
        small(
            folder, data="digits", likelihood=None, guide="Delta", beta=0.0, encoder=NET,
            decoder=NET, latent_dim=10, epochs=8, batch_size=64, lr=5e-3,
        )  # fmt: skip
    return Run(folder / "run")


def test_draws_of_an_autoencoder_are_digits_where_the_codes_are_and_not_where_the_prior_is(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    main([str(run.path), "--aggregate", "--count", "180", "--out", str(tmp_path)])
    names = ["samples-aggregate.npz", "samples-aggregate.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    with Image.open(tmp_path / "samples-aggregate.png") as image:
        image.verify()
    with np.load(tmp_path / "samples-aggregate.npz") as file:
        found = dict(file)
    assert {name: array.shape for name, array in found.items()} == {
        "samples_mean": (180, 1, 8, 8), "samples": (180, 1, 8, 8), "gain": (), "gain_error": (),
    }  # fmt: skip
    assert set(np.unique(found["samples"])) == {0, 1}
    said = " ".join(capsys.readouterr().out.split())
    assert f"180 draws are in {tmp_path}: samples-aggregate.png, samples-aggregate.npz" in said
    assert f"is {found['gain']:,.2f} nats above the model's prior (standard error" in said
    assert found["gain"] > 10 * found["gain_error"] > 0

    prior = sample(run, count=180, out=tmp_path / "prior")["samples_mean"]
    digits = load("digits").test  # grey, and not what was learned from
    real = digits.take(torch.arange(len(digits)))["x"].numpy() / 16
    ours, theirs = (nearest(draws, real) for draws in (found["samples_mean"], prior))
    assert ours.distance < 0.8 * theirs.distance
    assert ours.coverage > theirs.coverage + 0.2


class Nearest:
    """How far draws are from data, and the share of data with a draw nearer than their fifth."""

    def __init__(self, distance: float, coverage: float) -> None:
        self.distance, self.coverage = distance, coverage


def nearest(draws: NDArray[Any], real: NDArray[Any]) -> Nearest:
    """Distance to the nearest datum, and coverage (Naeem et al., 2020)."""
    a, b = (torch.from_numpy(x).flatten(1).double() for x in (draws, real))
    radius = torch.cdist(b, b).kthvalue(6, 1).values  # itself is the first
    apart = torch.cdist(a, b)
    near = (apart.amin(0) < radius).double()
    return Nearest(float(apart.amin(1).mean()), float(near.mean()))


def test_equal_seeds_draw_alike_and_a_file_is_not_overwritten(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.plots.save", lambda *_: None)
    _ = run.audit  # of programs made with initial weights, which are drawn
    state = torch.get_rng_state()
    some: dict[str, Any] = {"aggregate": True, "count": 9, "components": 2}
    one, two = (sample(run, out=tmp_path / name, **some) for name in ("one", "two"))
    assert torch.equal(state, torch.get_rng_state())
    assert all(np.array_equal(one[name], two[name]) for name in one)
    other = sample(run, out=tmp_path / "three", seed=1, **some)
    assert not np.array_equal(one["samples_mean"], other["samples_mean"])
    # Judged by data that the density was not fitted to, nor the pair.
    data = run.data()
    r = aggregate_prior(run.pair, run.audit, data.train, components=2)
    gain = held_out_gain(r, run.pair, run.audit, data.test)
    assert (one["gain"], one["gain_error"]) == (gain.mean, gain.standard_error)
    with pytest.raises(InputError, match=r"samples-aggregate.npz is there already; .* --overwrite"):
        sample(run, out=tmp_path / "one", **some)
    # Draws from the prior have a file of their own.
    sample(run, out=tmp_path / "one", count=9)


def refusal(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    """The one sentence that the command ends with."""
    with pytest.raises(SystemExit) as left:
        answer(main, [str(word) for word in argv])
    assert left.value.code == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith("error: ")
    assert sentence.count("\n") == 1
    return sentence


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--components", "0"], "components is 0; a mixture needs at least 1"),
        (["--components", "1438"], "components is 1438, and there are 1437 data: a mixture is fit"),
        (["--impute"], "--aggregate is for draws of new data"),
        (["--given", "3"], "--given 3: the model is not conditional on anything"),
        (["--count", "0"], "count is 0; it must be at least 1"),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_nothing(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], sentence: str
) -> None:
    capsys.readouterr()
    assert sentence in refusal(capsys, run.path, "--aggregate", *argv, "--out", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_density_that_knows_its_codes_by_heart_is_told_as_such(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ppvae.diagnostics.figures import Figure

    monkeypatch.setattr("ppvae.plots.save", lambda *_: None)
    monkeypatch.setattr("ppvae.aggregate_prior.held_out_gain", lambda *_, **__: Figure(-2.5, 0.5))
    main([str(run.path), "--aggregate", "--components", "1", "--out", str(tmp_path)])
    said = " ".join(capsys.readouterr().out.split())
    assert "2.50 nats below the model's prior (standard error 0.50), which is the better" in said


def test_data_that_are_gone_are_told_of_and_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quick: None
) -> None:
    run = small(tmp_path, epochs=1)
    (tmp_path / "x.npy").rename(tmp_path / "y.npy")
    capsys.readouterr()
    assert "x.npy: there is no such file" in refusal(capsys, run.path, "--aggregate")
    from_python = small(tmp_path, out="python", data=load(tmp_path / "y.npy"), epochs=1)
    capsys.readouterr()
    rows = from_python.path, "--aggregate", "--data", tmp_path / "y.npy"
    assert "handed in from Python: give them there to ppvae.aggregate_prior" in refusal(
        capsys, *rows
    )


@pytest.mark.parametrize("latent", [False, True])
def test_with_a_condition_draws_are_of_the_class_that_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None, latent: bool
) -> None:
    monkeypatch.setattr("ppvae.plots.save", lambda *_: None)
    kinds = np.array(["dog", "cat"] * 45)
    x = np.random.default_rng(0).normal(size=(90, 2)) + np.where(kinds == "dog", 5, -5)[:, None]
    np.savez(tmp_path / "kinds.npz", x=x.astype(np.float32), y=kinds)
    parts: dict[str, Any] = {"model": "ConditionalVAE"}
    if latent:
        parts = {"model": "SemiSupervisedVAE", "guide": "SemiSupervised", "elbo": "TraceEnum_ELBO"}
    run = small(tmp_path, data=tmp_path / "kinds.npz", epochs=15, lr=3e-2, **parts)
    some: dict[str, Any] = {"aggregate": True, "components": 2, "count": 40}
    means = {
        given: sample(run, given=given, out=tmp_path / given, **some)["samples_mean"].mean(-1)
        for given in ("dog", "cat")
    }
    assert means["dog"].min() > 0.5  # a table is standardized
    assert means["cat"].max() < -0.5
