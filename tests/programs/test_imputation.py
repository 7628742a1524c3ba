"""Imputation: moments of missing entries given the observed ones."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from ppvae.bounds.audit import audit
from ppvae.data import as_split
from ppvae.diagnostics import subject
from ppvae.errors import InputError
from ppvae.guides import (
    Delta,
    ExactPosterior,
    MeanField,
)
from ppvae.models import (
    LinearGaussian,
    likelihoods,
    observe,
)
from ppvae.programs import Pair, imputation
from ppvae.programs.imputation import Imputation, impute
from tests.support.columns import likelihood_of
from tests.support.missing import COLUMNS, SIGMAS, asked, every_program, holes, on_a_grid, programs
from tests.support.pca import AFFINE


@pytest.mark.slow
@every_program
def test_what_is_imputed_is_the_conditional_mean_with_its_spread(name: str) -> None:
    want, mask = on_a_grid(name), holes()
    found = impute(*asked(name), samples=4000, draws=200)
    off = (found.x - want["mean"]).abs()
    assert bool((off <= SIGMAS * found.error + 1e-4)[~mask].all())
    torch.testing.assert_close(
        found.scale.double()[~mask], want["scale"][~mask], rtol=0.1, atol=1e-3
    )
    error = found.draws.double().std(0) / math.sqrt(200)
    off = (found.draws.double().mean(0) - want["mean"]).abs()
    assert bool((off <= SIGMAS * error + 1e-4)[~mask].all())
    x = programs(name)[2]["x"].float()
    for kept in (found.x, *found.draws):
        assert torch.equal(kept[mask], x[mask])
    assert torch.equal(found.mask, mask)
    for nothing in (found.scale, found.error):
        assert bool((nothing[mask] == 0).all())
        assert bool((nothing[~mask] > 0).all())
    assert found.ess.isnan().tolist() == [False, True, False, False, False, False]


def pca_case(rows: int = 5, latent_dim: int = 2) -> tuple[LinearGaussian, Tensor, Tensor, Any]:
    torch.manual_seed(0)
    model = LinearGaussian(latent_dim, (COLUMNS,), noise=0.4).double()
    with torch.no_grad():
        model.loc.normal_()
    x = 2 * torch.randn(rows, COLUMNS).double()
    mask = torch.rand(rows, COLUMNS) < 0.5
    mask[0] = False
    holed = torch.where(mask, x, torch.nan)
    return model, x, mask, subject(model, ExactPosterior(model), holed, mask=mask, elbo=Trace_ELBO)


def conditional_normal(model: LinearGaussian, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of missing entries given the observed ones, of N(mu, W W' + s^2 I)."""
    w, mu = model.weight.detach(), model.loc.detach()
    c = w @ w.mT + 0.4**2 * torch.eye(COLUMNS).double()
    gain = torch.linalg.solve(c[seen][:, seen], c[seen][:, ~seen]).mT
    loc = mu[~seen] + gain @ (x[seen] - mu[seen])
    return loc, c[~seen][:, ~seen] - gain @ c[seen][:, ~seen]


def test_by_the_exact_posterior_it_is_the_conditional_normal() -> None:
    model, x, mask, case = pca_case()
    found = impute(*case, samples=2000, draws=500)
    for i, seen in enumerate(mask):
        loc, covariance = conditional_normal(model, x[i].float().double(), seen)
        off = (found.x[i, ~seen] - loc).abs()
        assert bool((off <= SIGMAS * found.error[i, ~seen]).all())
        # All weights are equal: the error is the spread of E[x | z] over z, of 2000 draws.
        error = ((covariance.diagonal() - 0.4**2) / 2000).clamp(min=0).sqrt()
        torch.testing.assert_close(found.error[i, ~seen].double(), error, rtol=0.1, atol=1e-4)
        torch.testing.assert_close(
            found.scale[i, ~seen].double(), covariance.diagonal().sqrt(), rtol=0.05, atol=0
        )
        # Entries of a datum are drawn together; of 500 draws of 2000 some are the same.
        off = found.draws[:, i, ~seen].double() - loc
        products = off[:, :, None] * off[:, None]
        error = products.std(0) * math.sqrt(1 / 500 + 1 / 2000)
        assert bool(((products.mean(0) - covariance).abs() <= SIGMAS * error).all())
    holed = ~mask.all(1)
    torch.testing.assert_close(found.ess[holed], torch.full_like(found.ess[holed], 2000.0))


def test_the_error_is_the_scatter_over_seeds() -> None:
    _, _, mask, (pair, facts, rows) = pca_case()
    guide = MeanField(2, (COLUMNS,), AFFINE).double()
    torch.manual_seed(0)
    off = Pair(pair.program("model"), guide, rows.take(torch.arange(5)))
    found = [impute(off, facts, rows, samples=300, draws=0, seed=s) for s in range(60)]
    means = torch.stack([one.x[~mask] for one in found])
    stated = torch.stack([one.error[~mask] for one in found])
    trusted = torch.stack([one.ess[:, None].expand(-1, COLUMNS)[~mask] for one in found]) > 30
    both = trusted.all(0)
    assert int(both.sum()) >= 4
    ratio = means.var(0)[both] / stated.square().mean(0)[both]
    assert 0.6 < float(ratio.mean()) < 1.6


def test_draws_in_chunks_have_the_same_law(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, mask, case = pca_case()
    monkeypatch.setattr(imputation, "CHUNK", 7 * x.numel())
    found = impute(*case, samples=700, draws=400)
    torch.testing.assert_close(found.ess[~mask.all(1)].mean(), torch.tensor(700.0))
    for i, seen in enumerate(mask):
        loc, covariance = conditional_normal(model, x[i].float().double(), seen)
        assert bool(((found.x[i, ~seen] - loc).abs() <= SIGMAS * found.error[i, ~seen]).all())
        error = covariance.diagonal().sqrt() * (1 / 400 + 1 / 700) ** 0.5
        off = (found.draws[:, i, ~seen].mean(0) - loc).abs()
        assert bool((off <= SIGMAS * error).all())
        spread = found.draws[:, i, ~seen].double().std(0)
        torch.testing.assert_close(spread, covariance.diagonal().sqrt(), rtol=0.2, atol=0)


def test_it_is_a_function_of_the_seed_and_moves_nothing() -> None:
    *_, (pair, facts, rows) = pca_case(rows=9)
    state, heard = torch.get_rng_state(), list[int]()

    def again(**options: Any) -> Imputation:
        return impute(pair, facts, rows, samples=20, **options)

    one = again(batch_size=4, on_rows=heard.append)
    assert torch.equal(state, torch.get_rng_state())
    assert sum(heard) == 9
    assert pair.training
    assert all(p.grad is None and p.requires_grad for p in pair.parameters())
    torch.rand(3)
    for name in ("x", "scale", "error", "draws"):
        assert torch.equal(getattr(one, name), getattr(again(batch_size=4), name))
        assert not torch.equal(getattr(one, name), getattr(again(batch_size=4, seed=1), name))
    assert one.draws.shape == (5, 9, COLUMNS)
    assert again(draws=0).draws.shape == (0, 9, COLUMNS)


@pytest.mark.parametrize("unknown", ["mean", "variance"])
def test_for_moments_that_a_family_does_not_know_its_draws_stand_in(unknown: str) -> None:
    def refused(self: Any) -> Tensor:
        raise NotImplementedError

    family = type("Unknown", (dist.Laplace,), {unknown: property(refused)})

    def model(x: Tensor, mask: Tensor) -> None:
        shift = pyro.param("shift", torch.tensor(3.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            loc = (z + shift).expand(*z.shape[:-1], 2)
            pyro.sample("x", family(loc, 0.5).mask(mask).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))

    x, mask = torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.bool)
    found = impute(*subject(model, guide, x, mask=mask, elbo=Trace_ELBO), samples=4000)
    assert bool(((found.x - 3.0).abs() <= SIGMAS * found.error).all())
    scale = math.sqrt(1 + 2 * 0.5**2)
    torch.testing.assert_close(found.scale, torch.full((3, 2), scale), rtol=0.05, atol=0)
    # The mean of x given z varies less than x, and is used if it is known.
    noise = scale if unknown == "mean" else 1.0
    torch.testing.assert_close(
        found.error, torch.full((3, 2), noise / math.sqrt(4000)), rtol=0.05, atol=0
    )


FAMILIES = [name for name in likelihoods.__all__ if name != "Likelihood"]


@pytest.mark.parametrize("name", FAMILIES)
def test_one_draw_of_z_has_the_spread_that_its_family_has(name: str) -> None:
    """With all weight on one z the scale is that of x given z, without draws of x."""
    likelihood = likelihood_of(name, (2,))
    h = torch.randn(likelihood.decoder_shape, generator=torch.Generator().manual_seed(0))

    def model(x: Tensor, mask: Tensor) -> None:
        shift = pyro.param("shift", torch.tensor(0.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            observe(x, likelihood(h + shift + 0 * z[..., None]), mask)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))

    x, mask = torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.bool)
    found = impute(*subject(model, guide, x, mask=mask, elbo=Trace_ELBO), samples=1)
    elements = likelihood(h).base_dist
    torch.testing.assert_close(found.x, elements.mean.detach().expand(3, 2))
    torch.testing.assert_close(found.scale, elements.variance.sqrt().detach().expand(3, 2))


def test_what_cannot_be_imputed_is_refused() -> None:
    model, x, mask, (pair, facts, rows) = pca_case()

    def refused(*case: Any, **options: Any) -> str:
        with pytest.raises(InputError) as caught:
            impute(*case, **options)
        return str(caught.value)

    for complete in (as_split(x), as_split(x, mask=torch.ones_like(mask))):
        assert "no entry of the data is missing" in refused(pair, facts, complete)
    assert "samples is 0; it must be at least 1" in refused(pair, facts, rows, samples=0)
    assert "draws is -1; it must be at least 0" in refused(pair, facts, rows, draws=-1)
    point = Pair(model, Delta(2, (COLUMNS,)).double(), rows.take(torch.arange(5)))
    told = audit(point, Trace_ELBO, rows.take(torch.arange(5)))
    assert "point mass has no density" in refused(point, told, rows)

    def blind(x: Tensor) -> None:
        model(x)

    unmasked = Pair(blind, MeanField(2, (COLUMNS,), AFFINE).double(), {"x": x})
    told = audit(unmasked, Trace_ELBO, {"x": x})
    assert "the model does not name 'mask'" in refused(unmasked, told, rows)

    def halves(x: Tensor, mask: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
            for name, half in (("left", slice(0, 2)), ("right", slice(2, 4))):
                fn = dist.Normal(z, 1.0).mask(mask[:, half]).to_event(1)
                pyro.sample(name, fn, obs=x[:, half])

    case = subject(halves, MeanField(2, (COLUMNS,), AFFINE).double(), x, mask=mask)
    assert "no site of the model observes x itself" in refused(*case)
