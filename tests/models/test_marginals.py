"""Laws of `Likelihood.fit_marginal`: its result has the marginal of the data as density."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from ppvae.components.building import build_programs
from ppvae.components.spec import Spec
from ppvae.distributions.continuous_bernoulli import ContinuousBernoulli
from ppvae.models import VAE, Bernoulli, Gaussian, Likelihood, StandardNormal, likelihoods
from ppvae.networks import MLP
from tests.support.decoders import last_layer

N, SHAPE = 400, (2, 3)


def data(kind: str) -> Tensor:
    """Rows with different elements, in the support of a kind of likelihood."""
    rng = np.random.default_rng(2)
    size, level = (N, *SHAPE), np.linspace(0.1, 0.8, 6).reshape(SHAPE)
    drawn: dict[str, Callable[[], Any]] = {
        "binary": lambda: rng.random(size) < level,
        "unit": lambda: rng.beta(4 * level, 4 * (1 - level), size),
        "8-bit": lambda: np.round(255 * rng.beta(4 * level, 4 * (1 - level), size)) / 255,
        "few": lambda: rng.binomial(16, level, size),
        "counts": lambda: rng.negative_binomial(2, 2 / (2 + 9 * level), size),
        "zeros": lambda: rng.poisson(9 * level, size) * (rng.random(size) < 0.6),
        "real": lambda: 5 * level + level * rng.standard_t(6, size),
    }
    return torch.from_numpy(np.asarray(drawn[kind](), np.float64))


def fitted(name: str, x: Tensor, mask: Tensor | None = None, **own: Any) -> tuple[Any, Any]:
    """The elements' distribution at the marginal, and the likelihood."""
    family: Callable[..., Likelihood] = getattr(likelihoods, name)
    likelihood = family(SHAPE, **own).double().eval()
    h = likelihood.fit_marginal(x, mask)
    assert h is not None
    assert h.shape == likelihood.decoder_shape
    return likelihood(h).base_dist, likelihood


def close(got: Tensor, want: Any, rtol: float = 1e-6) -> None:
    want = torch.as_tensor(np.asarray(want), dtype=torch.float64)
    torch.testing.assert_close(got.detach().expand_as(want), want, rtol=rtol, atol=1e-8)


def test_a_bernoulli_has_each_elements_frequency() -> None:
    x = data("binary")
    fn, _ = fitted("Bernoulli", x)
    close(fn.mean, (x.sum(0) + 0.5) / (N + 1))
    never, _ = fitted("Bernoulli", torch.zeros_like(x))
    assert bool(never.log_prob(torch.ones(SHAPE)).isfinite().all())


def test_a_binomial_has_each_elements_mean() -> None:
    x = data("few")
    fn, _ = fitted("Binomial", x)
    p = (x.sum(0) + 0.5) / (16 * N + 1)
    close(fn.log_prob(x), stats.binom.logpmf(x, 16, p))


def test_a_categorical_has_each_elements_frequencies() -> None:
    x = data("few")
    fn, _ = fitted("Categorical", x)
    counts = torch.stack([(x == k).sum(0) for k in range(17)])
    got = torch.stack([fn.log_prob(torch.full(SHAPE, float(k))) for k in range(17)]).exp()
    close(got, (counts + 0.5) / (N + 17 / 2))


def test_a_continuous_bernoulli_has_each_elements_mean() -> None:
    x = data("unit")
    fn, _ = fitted("ContinuousBernoulli", x)
    close(fn.mean, x.mean(0))
    black, likelihood = fitted("ContinuousBernoulli", torch.zeros_like(x))
    assert bool((black.logits.abs() < likelihood.limit).all())
    close(black.mean, ContinuousBernoulli(torch.tensor(-90.0).double()).mean.expand(SHAPE))


def test_a_discretized_logistic_has_each_elements_mean_and_deviation() -> None:
    x = data("8-bit")
    fn, _ = fitted("DiscretizedLogistic", x)
    want = stats.logistic(x.mean(0), x.std(0, correction=0) * math.sqrt(3) / math.pi)
    inner = torch.full(SHAPE, 100 / 255).double()
    close(fn.log_prob(inner).exp(), want.cdf(100.5 / 255) - want.cdf(99.5 / 255))


@pytest.mark.parametrize("components", [1, 4])
def test_a_mixture_of_logistics_has_each_elements_mean_and_deviation(components: int) -> None:
    x = data("8-bit")
    fn, _ = fitted("MixtureOfDiscretizedLogistics", x, components=components)
    loc, scale = fn.component_distribution.loc, fn.component_distribution.scale
    close(loc.mean(-1), x.mean(0))
    within = scale.square().mean(-1) * math.pi**2 / 3
    close(within + loc.var(-1, correction=0), x.var(0, correction=0))
    assert loc.unique().numel() == components * math.prod(SHAPE), "components that are all alike"


@pytest.mark.parametrize("variance", ["learned", "per-element", "optimal", "per-pixel", 0.25])
def test_a_gaussian_has_the_means_and_what_is_learned_of_the_variance(variance: Any) -> None:
    x = data("real")
    fn, _ = fitted("Gaussian", x, variance=variance)
    of_each = x.var(0, correction=0)
    known = {"per-pixel": of_each, "per-element": of_each, 0.25: torch.tensor(0.25)}
    want = known.get(variance, of_each.mean())
    close(fn.mean, x.mean(0))
    close(fn.variance, want.expand(SHAPE))
    close(fn.log_prob(x[0]), stats.norm.logpdf(x[0], x.mean(0), want.sqrt()))


def test_a_scale_of_each_element_is_as_likely_as_it_can_be() -> None:
    x = data("real")
    fn, _ = fitted("Laplace", x, scale="per-element")
    off = (x - x.median(0).values).abs().mean(0)
    close(fn.log_prob(x[0]), stats.laplace.logpdf(x[0], x.median(0).values, off))
    many, _ = fitted("StudentT", x, scale="per-element", df=1e6)
    close(many.scale, off * math.sqrt(math.pi / 2), rtol=1e-5)


def test_a_laplace_is_as_likely_as_it_can_be() -> None:
    x = data("real")
    fn, _ = fitted("Laplace", x, scale="learned")
    off = (x - x.median(0).values).abs().mean()
    close(fn.log_prob(x[0]), stats.laplace.logpdf(x[0], x.median(0).values, off))


@pytest.mark.parametrize("df", [1.5, 4.0, "learned"])
def test_a_student_t_has_the_mean_absolute_deviation(df: Any) -> None:
    x = data("real")
    fn, likelihood = fitted("StudentT", x, df=df, scale="learned")
    loc, n = x.median(0).values, float(likelihood.df().detach())
    unit = (
        stats.t(n).expect(abs)
        if n > 2
        else 2
        * math.sqrt(n)
        / (n - 1)
        / math.sqrt(math.pi)
        * (math.gamma((n + 1) / 2) / math.gamma(n / 2))
    )
    scale = (x - loc).abs().mean() / unit
    close(fn.log_prob(x[0]), stats.t.logpdf(x[0], n, loc, scale), rtol=1e-5)


def test_counts_have_each_elements_mean_and_variance() -> None:
    x = data("counts")
    mean = (x.sum(0) + 0.5) / (N + 1)
    poisson, _ = fitted("Poisson", x)
    close(poisson.log_prob(x), stats.poisson.logpmf(x, mean))
    fn, _ = fitted("NegativeBinomial", x)
    close(fn.mean, mean)
    close(fn.variance, x.var(0, correction=0))
    even, _ = fitted("NegativeBinomial", torch.full((N, *SHAPE), 5.0).double())
    close(even.variance, even.mean + even.mean.square() / 100)


def test_zeros_beyond_the_counts_go_to_the_gate() -> None:
    x = data("zeros")
    fn, _ = fitted("ZeroInflated", x, counts="Poisson")
    close(fn.mean, (x.sum(0) + 0.5) / (N + 1))
    close(fn.log_prob(torch.zeros(SHAPE)).exp(), ((x == 0).sum(0) + 0.5) / (N + 1), rtol=1e-3)
    both, _ = fitted("ZeroInflated", x)
    close(both.mean, (x.sum(0) + 0.5) / (N + 1))


KINDS = {
    "Bernoulli": "binary", "Binomial": "few", "Categorical": "few", "ContinuousBernoulli": "unit",
    "DiscretizedLogistic": "8-bit", "Gaussian": "real", "Laplace": "real",
    "MixtureOfDiscretizedLogistics": "8-bit", "NegativeBinomial": "counts", "Poisson": "counts",
    "StudentT": "real", "ZeroInflated": "zeros",
}  # fmt: skip


@pytest.mark.parametrize("name", list(KINDS))
def test_missing_entries_are_not_looked_at(name: str) -> None:
    """The marginal of observed values; an element without any gets some finite value."""
    x = data(KINDS[name])
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.7
    mask[..., -1] = False
    one, other = (fitted(name, x.masked_fill(~mask, fill), mask)[0] for fill in (0.0, torch.nan))
    for value in (x[0], x[1]):
        got = one.log_prob(value)
        assert bool(got.isfinite().all())
        close(other.log_prob(value), got.detach())
    column = x[mask[:, 0, 0]][:, :1, :1].expand(-1, *SHAPE)
    alone = fitted(name, column)[0]
    if name not in ("Gaussian", "Laplace", "StudentT"):  # these have one number for all elements
        close(one.log_prob(x[0])[0, 0], alone.log_prob(x[0])[0, 0].detach(), rtol=1e-4)


def programs(likelihood: Any, decoder: Any, x: Tensor, **parts: Any) -> Any:
    torch.manual_seed(0)
    given = {"likelihood": Spec(likelihood), "decoder": decoder, **parts}
    shape = tuple(x.shape[1:])
    return build_programs(given, latent_dim=2, data_shape=shape, examples=x, classes=3)


@pytest.mark.parametrize(
    ("model", "guide"),
    [("VAE", "MeanField"), ("ConditionalVAE", "MeanField"), ("HierarchicalVAE", "Ladder"),
     ("SemiSupervisedVAE", "SemiSupervised")],
)  # fmt: skip
def test_a_decoder_starts_at_the_marginal_but_for_its_weights(model: str, guide: str) -> None:
    x = data("binary").float()
    made = programs("Bernoulli", Spec("MLP"), x, model=Spec(model), guide=Spec(guide)).model
    nn.init.zeros_(made.decoder.layers[-1].weight)
    z = torch.randn(5, made.decoder.layers[0].in_features)
    frequency = (x.sum(0) + 0.5) / (N + 1)
    torch.testing.assert_close(made.likelihood(made.decoder(z)).mean, frequency.expand(5, *SHAPE))


def test_a_convolution_starts_at_the_marginal_of_all_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    share = torch.tensor([0.1, 0.7])[:, None, None]
    x = (torch.rand(50, 2, 6, 5, generator=generator) < share).float()
    for decoder in ("ConvDecoder", "ResidualDecoder"):
        made = programs("Bernoulli", Spec(decoder), x).model
        nn.init.zeros_(made.decoder.layers[-1].weight)
        mean = made.likelihood(made.decoder(torch.randn(1, 2))).mean[0]
        want = (x.sum((0, 2, 3)) + 0.5) / (50 * 30 + 1)
        torch.testing.assert_close(mean, want[:, None, None].expand_as(mean))


class OwnDecoder(MLP):
    """A user-defined network."""


class OwnLikelihood(Bernoulli):
    """A likelihood that interprets the decoder's output differently."""

    def forward(self, h: Tensor) -> Any:
        return super().forward(-h)


class ToldLikelihood(OwnLikelihood):
    """The same with its own ``fit_marginal``."""

    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return -super().fit_marginal(x, mask)


def test_parts_of_ones_own_stay_as_they_are() -> None:
    x = data("binary").float()
    for likelihood, decoder, is_set in (
        ("Bernoulli", f"{__name__}.OwnDecoder", False),
        (f"{__name__}.OwnLikelihood", "MLP", False),
        (f"{__name__}.ToldLikelihood", "MLP", True),
    ):
        made = programs(likelihood, Spec(decoder), x).model
        assert bool(made.decoder.layers[-1].bias.any()) == is_set, likelihood
    byhand = VAE(StandardNormal(2), Gaussian(SHAPE))
    assert not bool(last_layer(byhand).bias.any())
