"""Baselines are maximum likelihood fits: as in scikit-learn or SciPy, or of known models."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy import optimize, stats
from sklearn.covariance import EmpiricalCovariance
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from torch import Tensor

from ppvae.data import load
from ppvae.diagnostics.baselines.families import family_of
from ppvae.diagnostics.baselines.fitted import Fitted
from ppvae.diagnostics.baselines.histogram import fit_histograms
from ppvae.diagnostics.baselines.independent import fit_independent
from ppvae.diagnostics.baselines.mixture_of_bernoullis import fit_mixture_of_bernoullis
from ppvae.diagnostics.baselines.mixture_of_normals import fit_mixture_of_normals
from ppvae.diagnostics.baselines.normal import fit_normal
from ppvae.diagnostics.baselines.pca import fit_pca
from ppvae.diagnostics.baselines.rows import Matrix
from ppvae.diagnostics.baselines.rows import matrix as rows
from ppvae.distributions.categorical import Categorical
from ppvae.distributions.negative_binomial import NegativeBinomial
from ppvae.distributions.zero_inflated import ZeroInflated
from ppvae.errors import InputError

ZERO, ONE = torch.zeros(1), torch.ones(1)


def matrix(x: Tensor, observed: Tensor | None = None) -> Matrix:
    return Matrix(x.float(), observed, None, torch.arange(len(x)))


def independent(fn: dist.TorchDistribution, train: Matrix, width: float = 0.0) -> Fitted:
    family = family_of(fn)
    assert family is not None
    return fit_independent(family, fn.support, train, width)


def normals(rows: int = 400) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(rows, 4) @ torch.randn(4, 4) + 3


def test_normal_and_probabilistic_pca_have_scikit_learns_figures() -> None:
    train, valid, test = (matrix(part) for part in normals(600).split(200))
    x, y = train.x.double().numpy(), test.x.double().numpy()
    wanted = EmpiricalCovariance().fit(x).score(y)
    normal = fit_normal(train, valid, 1e-9)
    assert "empirical" in normal.about
    assert float(normal.log_prob(test).mean()) == pytest.approx(wanted, abs=1e-6)
    pca = fit_pca(train, 2, 1e-9)
    assert float(pca.log_prob(test).mean()) == pytest.approx(PCA(2).fit(x).score(y), abs=1e-9)
    assert fit_pca(train, 20, 1e-9).about == "probabilistic PCA of 3"


def test_a_floor_keeps_the_density_of_what_is_constant_finite() -> None:
    train = matrix(torch.cat([normals(), torch.ones(400, 1)], 1))
    at_floor = -0.5 * math.log(2 * math.pi * 1e-4)
    alone = float(
        fit_normal(matrix(normals()), matrix(normals()), 1e-4).log_prob(matrix(normals())).mean()
    )
    for fitted in (fit_normal(train, train, 1e-4), fit_pca(train, 4, 1e-4)):
        assert float(fitted.log_prob(train).mean()) == pytest.approx(alone + at_floor, abs=0.01)


def test_the_size_of_a_mixture_of_normals_is_chosen_by_other_rows_as_scikit_learn_scores_it() -> (
    None
):
    torch.manual_seed(0)
    centres = 6 * torch.randn(3, 2)
    train, valid, test = (
        matrix(centres[torch.randint(3, (300,))] + torch.randn(300, 2)) for _ in range(3)
    )
    fitted = fit_mixture_of_normals(train, valid, 1e-6, seed=0)
    x, other, y = (rows.x.double().numpy() for rows in (train, valid, test))
    tried = [
        GaussianMixture(count, covariance_type=kind, reg_covar=1e-6, random_state=0).fit(x)
        for kind in ("diag", "full")
        for count in (2, 3, 5)
    ]
    chosen = max(tried, key=lambda model: model.score(other))
    assert fitted.about.startswith(f"mixture of {chosen.n_components} normals")
    assert float(fitted.log_prob(test).mean()) == pytest.approx(chosen.score(y), abs=1e-9)


def bernoullis(rows: int) -> tuple[Tensor, Tensor]:
    """Draws of three components that are far apart, and their log-probability."""
    p = torch.full((3, 12), 0.1)
    for k in range(3):
        p[k, 4 * k : 4 * k + 4] = 0.9
    component = torch.randint(3, (rows,))
    x = torch.bernoulli(p[component])
    each = dist.Bernoulli(p).to_event(1).log_prob(x[:, None])
    return x, (each - math.log(3)).logsumexp(1)


def test_a_mixture_of_bernoullis_reaches_the_truth_that_it_is_drawn_from() -> None:
    torch.manual_seed(0)
    (train, _), (valid, _), (test, truth) = (bernoullis(n) for n in (2000, 1000, 1000))
    fitted = fit_mixture_of_bernoullis(matrix(train), matrix(valid), seed=0)
    # The difference is the cost of about 40 parameters, half a nat each, over 2,000 rows.
    lost = truth - fitted.log_prob(matrix(test))
    assert abs(float(lost.mean())) < 0.05 + 3 * float(lost.std()) / math.sqrt(1000)


def test_of_a_mixture_of_bernoullis_what_was_not_observed_does_not_count() -> None:
    torch.manual_seed(0)
    x, _ = bernoullis(600)
    observed = torch.rand(x.shape) < 0.7
    one, other = (
        fit_mixture_of_bernoullis(matrix(filled, observed), matrix(filled, observed), seed=0)
        for filled in (x * observed, torch.where(observed, x, 1 - x))
    )
    scored = one.log_prob(matrix(x, observed))
    # The start depends on the observed values, the result does not.
    assert float((scored - other.log_prob(matrix(x, observed))).mean().abs()) < 0.05
    everything = one.log_prob(matrix(x))
    assert bool((scored >= everything - 1e-4).all())


def test_one_bernoulli_for_each_element_has_the_share_of_ones() -> None:
    torch.manual_seed(0)
    x = torch.bernoulli(torch.tensor([0.1, 0.5, 0.9]).expand(1000, 3))
    fitted = independent(dist.Bernoulli(logits=ZERO), matrix(x))
    p = (x.sum(0) + x.mean()) / 1001  # one row more, of the values of all elements
    wanted = dist.Bernoulli(p).log_prob(x).sum(1)
    torch.testing.assert_close(fitted.log_prob(matrix(x)).float(), wanted, atol=1e-3, rtol=0)


def test_elements_of_other_families_are_at_their_most_likely() -> None:
    torch.manual_seed(0)
    x = normals(500) * torch.tensor([1.0, 10.0, 100.0, 0.1])
    ours = independent(dist.Normal(ZERO, ONE), matrix(x)).log_prob(matrix(x)).mean()
    wanted = dist.Normal(x.mean(0), x.std(0, correction=0)).log_prob(x).sum(1).mean()
    assert float(ours) == pytest.approx(float(wanted), abs=1e-3)
    ours = independent(dist.Laplace(ZERO, ONE), matrix(x)).log_prob(matrix(x)).mean()
    median = x.median(0).values
    wanted = dist.Laplace(median, (x - median).abs().mean(0)).log_prob(x).sum(1).mean()
    assert float(ours) == pytest.approx(float(wanted), abs=1e-3)
    heavy = torch.tensor(stats.t(3, 1, 2).rvs((500, 2), random_state=0))
    ours = independent(dist.StudentT(ONE, ZERO, ONE), matrix(heavy)).log_prob(matrix(heavy)).mean()
    found = sum(np.mean(stats.t.logpdf(c, *stats.t.fit(c))) for c in heavy.numpy().T)
    assert float(ours) == pytest.approx(float(found), abs=1e-3)


def test_negative_binomials_are_those_that_scipy_finds() -> None:
    x = stats.nbinom(2.0, 0.2).rvs((400, 2), random_state=0)
    family = NegativeBinomial(ZERO, ZERO)
    ours = independent(family, matrix(torch.tensor(x))).log_prob(matrix(torch.tensor(x))).mean()

    def lost(raw: np.ndarray, column: np.ndarray) -> float:
        r, m = np.exp(raw)
        return -float(stats.nbinom.logpmf(column, r, r / (r + m)).mean())

    best = sum(-optimize.minimize(lost, [0.0, 0.0], (c,), "Nelder-Mead").fun for c in x.T)
    # Ours has the values of both columns as one row more.
    assert float(ours) == pytest.approx(best, abs=5e-3)


def test_a_family_of_ones_own_and_one_within_another_are_found_by_their_constraints() -> None:
    torch.manual_seed(0)
    zeros = torch.rand(800, 1) < 0.4
    x = torch.poisson(torch.full((800, 1), 5.0)).masked_fill(zeros, 0)
    inflated = ZeroInflated(NegativeBinomial(ZERO, ZERO), ZERO)
    one, other = (
        float(independent(fn, matrix(x)).log_prob(matrix(x)).mean())
        for fn in (inflated, dist.Poisson(ONE))
    )
    assert one > other + 0.5
    exact = dist.Poisson(torch.tensor(5.0)).log_prob(x) + math.log(1 - 0.4)
    exact = torch.where(x == 0, math.log(0.4 + 0.6 * math.exp(-5)), exact)
    assert one == pytest.approx(float(exact.mean()), abs=0.02)

    class Shifted(dist.Normal):
        """A user-defined distribution."""

    found = family_of(Shifted(ZERO, ONE))
    assert found is not None
    assert found.name == "Shifted"
    assert family_of(dist.MultivariateNormal(ZERO, torch.eye(1))) is None


def test_no_value_is_impossible_that_the_training_rows_lack() -> None:
    x = torch.zeros(50, 2)
    x[:, 1] = torch.arange(50) % 3
    new = torch.tensor([[2.0, 0.0], [3.0, 3.0]])
    for fn in (
        dist.Poisson(ONE),
        NegativeBinomial(ZERO, ZERO),
        Categorical(logits=torch.zeros(1, 4)),
    ):
        assert float(independent(fn, matrix(x)).log_prob(matrix(new)).min()) > -30
    assert float(fit_histograms(matrix(x), 4).log_prob(matrix(new)).min()) > -15


def test_histograms_are_shares_and_sum_to_one() -> None:
    torch.manual_seed(0)
    x = torch.randint(0, 5, (2000, 1)).float()
    fitted = fit_histograms(matrix(x), 6)
    p = fitted.log_prob(matrix(torch.arange(6.0)[:, None])).exp()
    assert float(p.sum()) == pytest.approx(1)
    torch.testing.assert_close(p[:5], torch.bincount(x[:, 0].long()) / 2000, atol=1e-3, rtol=0)


def test_elements_that_were_not_observed_do_not_count() -> None:
    torch.manual_seed(0)
    x = normals(300)
    observed = torch.rand(x.shape) < 0.6
    kept = x.where(observed, 0)
    fitted = independent(dist.Normal(ZERO, ONE), matrix(kept, observed))
    means = [x[:, d][observed[:, d]] for d in range(4)]
    wanted = sum(
        dist.Normal(m.mean(), m.std(correction=0)).log_prob(x[:, d]).where(observed[:, d], 0)
        for d, m in enumerate(means)
    )
    torch.testing.assert_close(
        fitted.log_prob(matrix(kept, observed)).float(), wanted, atol=1e-2, rtol=0
    )


def test_what_was_not_observed_may_lie_outside_of_the_support() -> None:
    torch.manual_seed(0)
    x = torch.randn(400, 2).exp()
    observed = torch.rand(x.shape) < 0.7
    train = matrix(x.where(observed, 0), observed)
    log_x = [x[:, d][observed[:, d]].log() for d in range(2)]
    wanted = sum(
        dist.LogNormal(c.mean(), c.std(correction=0)).log_prob(x[:, d]).where(observed[:, d], 0)
        for d, c in enumerate(log_x)
    )
    found = independent(dist.LogNormal(ZERO, ONE), train).log_prob(train)
    torch.testing.assert_close(found.float(), wanted, atol=1e-2, rtol=0)


def test_on_the_wines_they_have_the_known_figures(tmp_path: Path) -> None:
    """Test rows of the division by seed 0, as scikit-learn alone scores them."""
    np.save(tmp_path / "wine.npy", load_wine().data.astype(np.float32))
    data = load(tmp_path / "wine.npy", scale="standardize")
    train, valid, test = (rows(split, 0) for split in (data.train, data.valid, data.test))
    pca = fit_pca(train, 2, 1e-4).log_prob(test)
    assert float(pca.mean()) == pytest.approx(-16.22, abs=0.01)
    normal = fit_normal(train, valid, 1e-4).log_prob(test)
    assert float(normal.mean()) > -15.65  # of maximum likelihood; a shrunk covariance is better
    mixture = fit_mixture_of_normals(train, valid, 1e-4, 0).log_prob(test)
    assert float(mixture.mean()) == pytest.approx(-14.51, abs=0.05)


def test_means_are_times_the_size_factors_of_rows() -> None:
    """The maximum likelihood rate of a Poisson: all events over all units, plus the quantiles."""
    torch.manual_seed(0)
    s = (0.5 * torch.randn(4_000)).exp()
    x = torch.poisson(s[:, None] * torch.tensor([1.0, 3.0, 9.0]))
    train = replace(matrix(x), size_factor=s)
    poisson = independent(dist.Poisson(ONE), train)
    assert poisson.about == "independent Poisson elements, their means times size factors"
    rate = s[:, None].double() * (x.sum(0) / s.sum()).double()
    wanted = dist.Poisson(rate).log_prob(x.double()).sum(1)
    assert float(poisson.log_prob(train).mean()) == pytest.approx(float(wanted.mean()), abs=1e-2)
    # Without size factors, negative binomials attribute their variation to dispersion.
    binomial = independent(NegativeBinomial(ZERO, ZERO), train)
    alone = independent(NegativeBinomial(ZERO, ZERO), matrix(x))
    sized = float(binomial.log_prob(train).mean())
    assert sized == pytest.approx(float(wanted.mean()), abs=2e-2)
    assert sized > float(alone.log_prob(matrix(x)).mean()) + 0.2
    first = train.where(torch.arange(4_000) < 5)
    torch.testing.assert_close(binomial.log_prob(first), binomial.log_prob(train)[:5])


def test_a_family_without_a_mean_to_scale_is_left_out_with_the_reason() -> None:
    train = replace(matrix(torch.rand(50, 2)), size_factor=torch.ones(50))
    with pytest.raises(InputError, match="size factors"):
        independent(dist.Normal(ZERO, ONE), train)
