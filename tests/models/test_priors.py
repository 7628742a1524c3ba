"""Laws of every prior: one line of arguments, and a family inherits them all."""

import copy
import inspect
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from numpy.typing import NDArray
from pyro import poutine
from pyro.infer import TraceMeanField_ELBO
from scipy import special, stats
from torch import Tensor, nn
from torch.distributions import kl_divergence
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

import ppvae
from ppvae.compilation import capture
from ppvae.distributions.batch_mixture import BatchMixture
from ppvae.errors import InputError
from ppvae.guides import Delta, Flow, FullRank, LowRank, MeanField, Mixture
from ppvae.models import VAE, Gaussian, Prior, priors
from ppvae.models.priors import LearnedNormal, VampPrior
from ppvae.networks import MLP
from tests.support.fits import quick, small, weights
from tests.support.pca import AFFINE, pca
from tests.support.slow import few

__all__ = ["quick"]  # a fixture: no pictures

COLUMNS = 3

OWN: dict[str, tuple[dict[str, Any], ...]] = {
    "FlowPrior": tuple({"kind": k, "transforms": 2, "hidden": (8,)} for k in ("spline", "affine")),
    "Laplace": ({}, {"scale": 0.7}, {"scale": "learned"}),
    "LearnedNormal": ({},),
    "MixtureOfNormals": ({"components": 9}, {"components": 1}),
    "StandardNormal": ({},),
    "StudentT": ({}, {"df": 1.0}),
    "VampPrior": (
        {"components": 9, "weights": "learned"},
        {"components": 9},
        {"components": 9, "guide": FullRank},
        {"components": 9, "guide": partial(Mixture, components=2)},
    ),
}
"""Every prior, and the arguments to try it with."""


def over(cases: Sequence[tuple[str, dict[str, Any]]], every: int = 1) -> pytest.MarkDecorator:
    """A test of each of these priors; all but each ``every``-th are slow."""
    ids = [f"{name}-{OWN[name].index(own)}" for name, own in cases]
    return pytest.mark.parametrize(("name", "own"), few(cases, every), ids=ids)


CASES = [(name, own) for name, tried in OWN.items() for own in tried]
every = over(CASES)
CURVED = partial(MLP, hidden=(6,), activation="tanh")


class Case(nn.Module):
    """log p(z): a prior, and the guide that it is made of, if it is."""

    def __init__(self, prior: Prior, guide: nn.Module | None) -> None:
        super().__init__()
        self.prior, self.guide = prior, guide

    def forward(self, z: Tensor) -> Tensor:
        log_prob: Tensor = self.prior().log_prob(z)
        return log_prob


def fresh(name: str, own: dict[str, Any], latent_dim: int = 2, seed: int = 0) -> Case:
    """A prior as it starts, in double precision."""
    torch.manual_seed(seed)
    family = getattr(priors, name)
    named = inspect.signature(family).parameters
    guide = own.get("guide", MeanField)(latent_dim, (COLUMNS,), CURVED)
    known = {"data_shape": (COLUMNS,), "guide": guide, "examples": 3 * torch.randn(9, COLUMNS)}
    given = {key: value for key, value in known.items() if key in named}
    prior = family(latent_dim, **own | given)
    return Case(prior, given.get("guide")).double()


def made(name: str, own: dict[str, Any], latent_dim: int = 2, seed: int = 0) -> Case:
    """A prior with no parameter where it starts."""
    case = fresh(name, own, latent_dim, seed)
    with torch.no_grad():
        for parameter in case.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return case


def plane(latent_dim: int) -> tuple[Tensor, Tensor]:
    """Points all over the line or the plane, and the length or area of each.

    With z = 2 t / (1 - t^2) for t in (-1, 1), a tail as heavy as 1 / z^2 has an end.
    """
    count = 2000 if latent_dim == 1 else 300
    t = (torch.arange(count, dtype=torch.float64) + 0.5) * 2 / count - 1
    z, length = 2 * t / (1 - t.square()), 4 / count * (1 + t.square()) / (1 - t.square()).square()
    points = torch.cartesian_prod(*[z] * latent_dim).reshape(-1, latent_dim)
    return points, torch.cartesian_prod(*[length] * latent_dim).reshape(-1, latent_dim).prod(-1)


def is_mean(samples: Tensor, want: Tensor, slack: float = 1e-9) -> bool:
    """Whether means of independent samples, ``(samples, ...)``, are within 5 standard errors."""
    error = samples.std(0) / math.sqrt(len(samples))
    return bool(((samples.mean(0) - want).abs() <= 5 * error + slack).all())


def test_every_prior_that_can_be_chosen_is_tried() -> None:
    assert set(OWN) == set(priors.__all__) - {"Prior"}


@every
@pytest.mark.parametrize("latent_dim", [1, 2])
def test_it_integrates_to_one_and_is_the_density_of_its_draws(
    name: str, own: dict[str, Any], latent_dim: int
) -> None:
    case = made(name, own, latent_dim)

    def heights(z: Tensor, log_prob: Tensor) -> Tensor:
        bent = z.tanh()  # of which means exist whatever the tails
        return torch.cat([bent, bent.square(), bent.prod(-1, keepdim=True), log_prob[:, None]], -1)

    with torch.no_grad():
        z, area = plane(latent_dim)
        log_prob = case(z)
        mass = log_prob.exp() * area
        assert float(mass.sum()) == pytest.approx(1.0, abs=2e-4)
        fn = case.prior()
        draws = fn.sample((20_000,))
        want = (mass.unsqueeze(-1) * heights(z, log_prob)).sum(0)
        assert is_mean(heights(draws, case(draws)), want, 1e-3)
        if name == "FlowPrior":
            with pytest.raises(NotImplementedError):
                _ = fn.mean
        elif own.get("df", 5.0) > 2:
            mean = (mass.unsqueeze(-1) * z).sum(0)
            variance = (mass.unsqueeze(-1) * (z - mean).square()).sum(0)
            torch.testing.assert_close(fn.mean, mean, rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(fn.variance, variance, rtol=1e-3, atol=1e-3)


def _scale(log_scale: Tensor) -> NDArray[Any]:
    return np.exp(10 * np.tanh(log_scale.detach().numpy() / 10))


def _normal(prior: Any, z: NDArray[Any]) -> Any:
    return stats.norm.logpdf(z, prior.loc.detach().numpy(), _scale(prior.log_scale)).sum(1)


def _laplace(prior: Any, z: NDArray[Any]) -> Any:
    scale = prior.fixed.numpy() if prior.log_scale is None else _scale(prior.log_scale)
    return stats.laplace.logpdf(z, 0, scale).sum(1)


def _mixture(prior: Any, z: NDArray[Any]) -> Any:
    normals = [
        stats.multivariate_normal.logpdf(z, loc, np.diag(scale**2))
        for loc, scale in zip(prior.loc.detach().numpy(), _scale(prior.log_scale), strict=True)
    ]
    log_weights = special.log_softmax(prior.logits.detach().numpy())
    return special.logsumexp(np.stack(normals, 1) + log_weights, axis=1)


SCIPY: dict[str, Callable[[Any, NDArray[Any]], Any]] = {
    "Laplace": _laplace,
    "LearnedNormal": _normal,
    "MixtureOfNormals": _mixture,
    "StandardNormal": lambda _, z: stats.norm.logpdf(z).sum(1),
    "StudentT": lambda prior, z: stats.t.logpdf(z, prior.df.numpy()).sum(1),
}


@over([case for case in CASES if case[0] in SCIPY])
def test_it_is_scipys(name: str, own: dict[str, Any]) -> None:
    case = made(name, own, 3)
    z = 3 * torch.randn(40, 3, dtype=torch.float64)
    want = SCIPY[name](case.prior, z.numpy())
    np.testing.assert_allclose(case(z).detach().numpy(), want, rtol=1e-9)
    if "df" in own or own.get("scale") == 0.7:  # the number that was asked for
        first = {"df": stats.t(1.0), "scale": stats.laplace(0, 0.7)}[next(iter(own))]
        np.testing.assert_allclose(want, first.logpdf(z.numpy()).sum(1))


@every
def test_its_gradient_is_that_of_finite_differences(name: str, own: dict[str, Any]) -> None:
    case = made(name, own)
    z = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    parameters = dict(case.named_parameters())

    def total(z: Tensor, *values: Tensor) -> Tensor:
        log_prob: Tensor = functional_call(case, dict(zip(parameters, values, strict=True)), (z,))
        return log_prob.sum()

    inputs = (z, *parameters.values())
    assert torch.autograd.gradcheck(total, inputs, fast_mode=True)
    slopes = torch.autograd.grad(total(*inputs), inputs)
    idle = [
        key for key, slope in zip(["z", *parameters], slopes, strict=True) if not slope.any()
    ]  # of one component, and of equal weights, no weight counts
    assert idle == (["prior.logits"] if own.get("components") == 1 else [])


EXACT = {
    *((name, guide) for name in ("StandardNormal", "LearnedNormal")
      for guide in (MeanField, FullRank, LowRank)),
    ("Laplace", MeanField),
}  # fmt: skip
"""Pairs of a prior and a guide whose KL is known in closed form."""


@every
@pytest.mark.parametrize("family", [MeanField, FullRank, LowRank])
def test_a_kl_in_closed_form_is_the_mean_of_the_log_ratio(
    name: str, own: dict[str, Any], family: Any
) -> None:
    case = made(name, own)
    guide = family(2, (COLUMNS,), CURVED).double()
    with torch.no_grad():
        q, p = guide.posterior(torch.randn(5, COLUMNS, dtype=torch.float64)), case.prior()
        if (name, family) not in EXACT:
            with pytest.raises(NotImplementedError):
                kl_divergence(q, p)
            return
        kl = kl_divergence(q, p)
        z = q.sample((20_000,))
        assert is_mean(q.log_prob(z) - p.log_prob(z), kl)
        torch.testing.assert_close(kl_divergence(q, p.expand((5,))), kl)


@every
def test_it_stands_in_plates_and_in_plates_of_particles(name: str, own: dict[str, Any]) -> None:
    case = made(name, own, 3)
    fn = case.prior()
    assert (fn.batch_shape, fn.event_shape) == ((), (3,))
    assert fn.sample().shape == (3,)

    def program() -> None:
        with pyro.plate("data", 4):
            pyro.sample("z", case.prior())

    with pyro.plate("particles", 5, dim=-2):
        trace: Any = poutine.trace(program).get_trace()
    trace.compute_log_prob()
    z, log_prob = (trace.nodes["z"][key] for key in ("value", "log_prob"))
    assert z.shape == (5, 4, 3)
    assert log_prob.shape == (5, 4)
    assert len(z.reshape(20, 3).unique(dim=0)) == 20
    alone = [[case(vector) for vector in row] for row in z]
    torch.testing.assert_close(log_prob, torch.stack([torch.stack(row) for row in alone]))
    wide = fn.expand((7, 1))
    assert wide.sample((2,)).shape == (2, 7, 1, 3)
    torch.testing.assert_close(wide.log_prob(z[0, 0]), case(z[0, 0]).expand(7, 1))


@every
def test_saved_and_loaded_it_is_the_same(name: str, own: dict[str, Any]) -> None:
    one, other = (made(name, own, seed=seed) for seed in (0, 1))
    z = torch.randn(4, 2, dtype=torch.float64)
    learned = {key for key, _ in one.prior.named_parameters()}
    assert learned <= set(one.prior.state_dict())
    if learned:
        assert not torch.isclose(one(z), other(z)).any()
    else:
        assert not one.prior.state_dict()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert torch.equal(one(z), other(z))
    draws = []
    for case in (one, other):
        torch.manual_seed(2)
        draws.append(case.prior().sample((3,)))
    assert torch.equal(*draws)


@every
def test_single_precision_is_rough_and_no_more(name: str, own: dict[str, Any]) -> None:
    double = made(name, own)
    single = copy.deepcopy(double).float()
    z = double.prior().sample((50,))
    for case, dtype in ((double, torch.float64), (single, torch.float32)):
        assert case(z.to(dtype)).dtype == case.prior().sample().dtype == dtype
    torch.testing.assert_close(single(z.float()).double(), double(z), rtol=1e-4, atol=1e-4)


@every
@pytest.mark.parametrize("size", [0.0, 10.0, 100.0])
def test_nothing_is_infinite_whatever_its_parameters_become(
    name: str, own: dict[str, Any], size: float
) -> None:
    case = made(name, own).float()
    with torch.no_grad():
        for parameter in case.parameters():
            parameter.copy_(size * torch.randn_like(parameter))
    draws = case.prior().sample((20,))
    for z in (draws, torch.zeros(20, 2), 1e3 * torch.randn(20, 2)):
        z = z.detach().requires_grad_()
        log_prob = case(z)
        slopes = torch.autograd.grad(log_prob.sum(), [z, *case.parameters()])
        assert all(bool(t.isfinite().all()) for t in (draws, log_prob, *slopes))


@pytest.mark.parametrize("name", few(OWN, 7))
def test_captured_the_bound_is_what_pyro_computes(name: str) -> None:
    case = made(name, OWN[name][0]).float()
    model = VAE(case.prior, Gaussian((COLUMNS,), variance=0.5), AFFINE)
    guide = case.guide or MeanField(2, (COLUMNS,), AFFINE)
    bound = TraceMeanField_ELBO(num_particles=2, vectorize_particles=True, max_plate_nesting=1)
    x = torch.randn(5, COLUMNS)
    captured = capture(model, guide, bound, x, compile=False)
    learned = [*model.parameters(), *guide.parameters()]
    losses = captured, partial(bound.differentiable_loss, model, guide)
    results = []
    for loss in losses:
        torch.manual_seed(4)
        value = loss(x)
        results.append([value, *torch.autograd.grad(value, learned)])
    assert captured.reason == ""
    torch.testing.assert_close(*results)


# Where each starts, and what it is for.


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("LearnedNormal", {}),
        ("FlowPrior", {"kind": "spline"}),
        ("FlowPrior", {"kind": "affine"}),
        ("StudentT", {"df": 1e9}),
    ],
)
def test_it_starts_as_the_standard_normal(name: str, own: dict[str, Any]) -> None:
    z = 3 * torch.randn(50, 4, dtype=torch.float64)
    want = fresh("StandardNormal", {}, 4)(z)
    torch.testing.assert_close(fresh(name, own, 4)(z), want, rtol=1e-6, atol=1e-6)


def test_others_start_at_scale_one_and_near_the_moments_of_the_standard_normal() -> None:
    z = torch.randn(50, 4, dtype=torch.float64)
    learned, fixed = (fresh("Laplace", {"scale": s}, 4) for s in ("learned", 1.0))
    torch.testing.assert_close(learned(z), fixed(z))
    mixture = fresh("MixtureOfNormals", {"components": 10_000}, 4).prior()
    assert is_mean(mixture.components.mean, torch.zeros(4))
    torch.testing.assert_close(mixture.variance, torch.ones(4).double(), rtol=0.05, atol=0)


def test_a_flow_as_a_prior_scores_in_one_pass_through_each_network() -> None:
    case = made("FlowPrior", OWN["FlowPrior"][0], 3)
    seen: list[str] = []
    for key, part in case.named_modules():
        if key.endswith("hyper"):
            part.register_forward_hook(lambda *_, key=key: seen.append(key))
    case(torch.randn(5, 3, dtype=torch.float64))
    assert len(seen) == len(set(seen)) == 2


def test_splines_leave_the_tails_of_the_standard_normal() -> None:
    own = {"transforms": 3, "hidden": (8,)}
    z = torch.cartesian_prod(*[torch.tensor([-40.0, -5.1, 5.1, 9.0], dtype=torch.float64)] * 2)
    normal = fresh("StandardNormal", {})
    torch.testing.assert_close(made("FlowPrior", own)(z), normal(z))
    assert not torch.isclose(made("FlowPrior", own)(z / 10), normal(z / 10)).any()


def codes(count: int) -> Tensor:
    """Codes of two kinds."""
    z = torch.randn(count, 2) * torch.tensor([0.3, 0.5])
    z[:, 0] += 4 * torch.randint(2, (count,)) - 2
    return z


LEARNED = [(name, own) for name, own in CASES if [*fresh(name, own).parameters()]]
BEYOND = ("MixtureOfNormals", "VampPrior", "FlowPrior")


@over(LEARNED, every=3)
def test_learned_it_fits_codes_of_two_kinds_better_than_the_standard_normal(
    name: str, own: dict[str, Any]
) -> None:
    case = fresh(name, own).float()
    train, held_out = codes(500), codes(500)
    optimizer = torch.optim.Adam(case.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        (-case(train).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        gain = case(held_out) - fresh("StandardNormal", {}).float()(held_out)
        assert float(gain.mean()) > 5 * float(gain.std()) / math.sqrt(500)
        if name in BEYOND and own.get("components") != 1 and own.get("kind") != "affine":
            best = dist.Normal(train.mean(0), train.std(0)).to_event(1)
            assert float((case(held_out) - best.log_prob(held_out)).mean()) > 0.5


# A normal that is learned


def test_the_learned_normal_that_a_bound_asks_for_has_the_moments_of_the_aggregate() -> None:
    torch.manual_seed(0)
    loc, log_scale = torch.randn(2, 30, 3, dtype=torch.float64)
    q = dist.Normal(2 * loc + 1, log_scale.exp()).to_event(1)
    prior = LearnedNormal(3).double()
    optimizer = torch.optim.LBFGS(
        prior.parameters(),
        max_iter=200,
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = kl_divergence(q, prior()).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    fn = prior()
    torch.testing.assert_close(fn.mean, q.mean.mean(0), rtol=1e-5, atol=1e-6)
    spread = q.variance.mean(0) + q.mean.var(0, correction=0)
    torch.testing.assert_close(fn.variance, spread, rtol=1e-5, atol=1e-6)


def learned_normal(loc: Tensor, scale: Tensor) -> LearnedNormal:
    prior = LearnedNormal(len(loc)).double()
    with torch.no_grad():
        prior.loc.copy_(loc)
        prior.log_scale.copy_(10 * (scale.log() / 10).atanh())  # undoes the bend
    return prior


LOC, SCALE = torch.tensor([[0.5, -1.0, 2.0], [0.2, 1.0, 3.0]], dtype=torch.float64)


def test_the_relevance_for_a_linear_decoder_is_the_variance_that_a_dimension_explains() -> None:
    w = torch.tensor([[1.0, 2.0, 0.0], [0.5, -1.0, 0.0]], dtype=torch.float64)
    prior = learned_normal(LOC, SCALE)
    found = prior.relevance(lambda z: z @ w.T, draws=3)
    variance = SCALE.square() * w.square().sum(0)
    torch.testing.assert_close(found, variance / variance.sum())
    assert found[2] == 0  # the widest, and not in use
    nothing = prior.relevance(lambda z: torch.zeros_like(z))
    assert torch.equal(nothing, torch.zeros_like(nothing))


def test_the_relevance_is_the_mean_square_slope_where_the_decoder_bends() -> None:
    prior = learned_normal(LOC[:2], SCALE[:2])
    torch.manual_seed(0)
    found = prior.relevance(lambda z: z[:, :1].square() + 3 * z[:, 1:], draws=20_000)
    want = torch.stack([4 * SCALE[0] ** 2 * (LOC[0] ** 2 + SCALE[0] ** 2), 9 * SCALE[1] ** 2])
    torch.testing.assert_close(found, want / want.sum(), rtol=0.03, atol=0)


def test_the_relevance_is_the_same_wherever_a_scale_stands() -> None:
    torch.manual_seed(0)
    decoder, factor = CURVED((3,), (4,)).double(), torch.tensor([0.1, 1.0, 5.0]).double()
    found = []
    for prior, decode in (
        (learned_normal(LOC, SCALE), decoder),
        (learned_normal(LOC / factor, SCALE / factor), lambda z: decoder(factor * z)),
    ):
        torch.manual_seed(1)
        found.append(prior.relevance(decode))
    torch.testing.assert_close(*found)
    assert float(found[0].sum()) == pytest.approx(1.0)
    assert not found[0].requires_grad
    assert all(parameter.grad is None for parameter in decoder.parameters())


@pytest.mark.slow
def test_after_a_fit_the_relevance_is_what_each_principal_axis_explains_beyond_the_noise() -> None:
    known = pca(columns=6, latent=2, rows=400)
    torch.manual_seed(0)
    prior = LearnedNormal(4)
    model = VAE(prior, Gaussian((6,), variance=known.variance), AFFINE).double()
    guide = MeanField(4, (6,), AFFINE).double()
    optimizer = torch.optim.Adam([*model.parameters(), *guide.parameters()], lr=0.05)
    bound = TraceMeanField_ELBO()
    for _ in range(600):
        optimizer.zero_grad()
        (bound.differentiable_loss(model, guide, known.x) / len(known.x)).backward()
        optimizer.step()
    found = prior.relevance(lambda z: model.likelihood(model.decoder(z)).mean)
    # The best linear decoder (Tipping and Bishop, 1999): two dimensions too many find next to none.
    beyond = (torch.linalg.eigvalsh(known.x.T.cov(correction=0)) - known.variance).clamp(min=0)
    want = beyond.sort(descending=True).values[:4] / beyond.sum()
    assert float(want[2:].sum()) < 0.05
    torch.testing.assert_close(found.sort(descending=True).values, want, rtol=0, atol=0.02)


# A mixture of posteriors


@pytest.mark.parametrize("weights", ["equal", "learned"])
@pytest.mark.parametrize("family", [MeanField, FullRank, LowRank, partial(Mixture, components=2)])
def test_the_vamp_prior_is_the_mixture_of_the_posteriors_at_its_inputs(
    weights: str, family: Any
) -> None:
    own = {"components": 4, "guide": family, "weights": weights}
    case = made("VampPrior", own)
    guide: Any = case.guide
    inputs = case.prior.get_parameter("pseudo_inputs")
    shares = torch.full((4,), 0.25).double()
    if weights == "learned":
        shares = case.prior.get_parameter("logits").softmax(0)
        assert float(shares.detach().std()) > 1e-3
    z = torch.randn(7, 2, dtype=torch.float64)
    density = sum(
        share * guide.posterior(u[None]).log_prob(z).exp()
        for share, u in zip(shares, inputs, strict=True)
    )
    torch.testing.assert_close(case(z).exp(), density)
    # Whatever the guide becomes, the prior is of it.
    with torch.no_grad():
        next(iter(guide.parameters())).add_(1.0)
    assert not torch.isclose(case(z).exp(), density).any()


def test_the_guide_is_referred_to_and_not_owned() -> None:
    torch.manual_seed(0)
    guide = MeanField(2, (COLUMNS,), CURVED)
    prior = VampPrior(2, (COLUMNS,), guide, components=5, weights="learned")
    model = VAE(prior, Gaussian((COLUMNS,), variance=1.0), CURVED)
    assert set(prior.state_dict()) == {"pseudo_inputs", "logits"}
    assert {id(p) for p in model.parameters()}.isdisjoint(id(p) for p in guide.parameters())
    equal = VampPrior(2, (COLUMNS,), guide, components=5)
    assert set(equal.state_dict()) == {"pseudo_inputs"}
    # Its gradients reach the guide all the same.
    prior().log_prob(torch.randn(9, 2)).sum().backward()
    for parameter in (*prior.parameters(), *guide.parameters()):
        assert parameter.grad is not None
        assert bool((parameter.grad != 0).all())


def test_pseudo_inputs_start_as_data_each_once_and_then_again_with_noise() -> None:
    torch.manual_seed(0)
    guide, x = MeanField(2, (40,), AFFINE), 3 + 2 * torch.randn(10, 40)
    for components in (4, 10, 25):
        start = VampPrior(2, (40,), guide, components, examples=x).pseudo_inputs.detach()
        assert start.shape == (components, 40)
        nearest = torch.cdist(start, x).argmin(1)
        times = nearest.bincount(minlength=10)
        assert int(times.max()) == -(-components // 10)
        assert int(times.min()) == components // 10
        first, off = start[:10] - x[nearest[:10]], start[10:] - x[nearest[10:]]
        assert not first.any()
        assert len(nearest[:10].unique()) == min(components, 10)
        if components > 10:
            assert is_mean(off.flatten(), torch.zeros(()))
            assert is_mean(off.flatten().square(), 0.01 * x.var(correction=0))
    plain = VampPrior(2, (40,), guide, 400).pseudo_inputs.detach()
    assert bool(((plain > 0) & (plain < 1)).all())
    assert is_mean(plain.flatten(), torch.tensor(0.5))
    assert is_mean((plain.flatten() - 0.5).square(), torch.tensor(1 / 12))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float64])
def test_no_two_pseudo_inputs_start_alike_where_data_do(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.tensor([[0, 0, 1], [1, 0, 1], [0, 0, 1], [0, 0, 1]]).to(dtype)
    start = VampPrior(2, (COLUMNS,), MeanField(2, (COLUMNS,)), 6, examples=x).pseudo_inputs
    assert start.dtype == torch.float32
    assert len(start.unique(dim=0)) == 6
    kept = Counter(tuple(row.tolist()) for row in start if bool((row == row.round()).all()))
    assert kept == Counter([(0.0, 0.0, 1.0), (1.0, 0.0, 1.0)])
    # Data that are all the same say nothing of how large a little noise is.
    same = VampPrior(2, (COLUMNS,), MeanField(2, (COLUMNS,)), 6, examples=torch.zeros(3, 3))
    assert len(same.pseudo_inputs.unique(dim=0)) == 6


def test_making_it_moves_nothing_of_the_guide() -> None:
    encoder = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Unflatten(1, (2, 2))
    )
    guide = MeanField(2, (COLUMNS,), encoder)
    guide.train()
    encoder[2].eval()
    after = []
    for family in (guide, MeanField(2, (COLUMNS,), CURVED)):
        torch.manual_seed(0)
        VampPrior(2, (COLUMNS,), family, components=3)
        after.append(torch.rand(()))
    assert torch.equal(*after)
    assert int(encoder.get_buffer("1.num_batches_tracked")) == 0
    assert [part.training for part in encoder] == [True, True, False, True]
    assert all(p.grad is None and p.requires_grad for p in guide.parameters())
    # A guide in double precision is asked in double precision.
    VampPrior(2, (COLUMNS,), guide.double(), components=3)


def test_a_fit_saves_and_reloads_it_whole_and_the_guide_once(tmp_path: Path) -> None:
    own = {"components": 4, "weights": "learned"}
    run = small(tmp_path, prior={"class_path": "VampPrior", "init_args": own}, lr=0.05)
    saved = weights(run.path)
    inputs, logits = (saved[f"model.prior.{name}"] for name in ("pseudo_inputs", "logits"))
    assert sum("encoder" in name for name in saved) == 4  # weights and biases of its two layers
    assert {name for name in saved if "prior" in name} == {
        "model.prior.pseudo_inputs", "model.prior.logits",
    }  # fmt: skip
    loaded: Any = ppvae.load(run.path, checkpoint="last")
    assert torch.equal(loaded.model.prior.pseudo_inputs, inputs)
    assert float(logits.std()) > 0.01
    # By hand, from what is in the file.
    guide = MeanField(2, (3,), partial(MLP, hidden=(16,)))
    guide.load_state_dict({n.removeprefix("guide."): w for n, w in saved.items() if "guide" in n})
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=logits), guide.posterior(inputs)
    )
    z = torch.randn(6, 2)
    log_prob = loaded.model.prior().log_prob(z)
    torch.testing.assert_close(log_prob, mixture.log_prob(z))
    log_prob.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in loaded.guide.parameters())


def test_a_fit_starts_it_from_the_training_data(tmp_path: Path) -> None:
    own = {"components": 72}
    run = small(
        tmp_path, prior={"class_path": "VampPrior", "init_args": own}, lr=1e-30, epochs=1
    )  # fmt: skip
    train = run.data().train
    x = train.take(torch.arange(len(train)))["x"]
    assert len(x) == 72
    inputs = weights(run.path)["model.prior.pseudo_inputs"]
    torch.testing.assert_close(inputs.sort(0).values, x.sort(0).values)
    assert not torch.allclose(inputs, x)


# A batch of densities as one mixture


class Largest(TorchDispatchMode):
    """Watches for the largest tensor that is made."""

    def __init__(self) -> None:
        cast("Any", super()).__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **kwargs or {})
        self.numel = max(self.numel, out.numel() if isinstance(out, Tensor) else 0)
        return out


def test_normals_in_a_batch_are_weighed_by_matrix_products_that_lose_no_digits() -> None:
    torch.manual_seed(0)
    values, components, dims = 30, 20, 10
    loc, scale = 1000 + torch.randn(components, dims), 1e-2 + 1e-2 * torch.rand(components, dims)
    logits = torch.randn(components)
    fn = BatchMixture(dist.Normal(loc, scale).to_event(1), logits)
    z = fn.sample((values,))
    with Largest() as largest:
        log_prob = fn.log_prob(z)
    assert largest.numel == values * components
    exact = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=logits.double()),
        torch.distributions.Independent(
            torch.distributions.Normal(loc.double(), scale.double()), 1
        ),
    )
    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob.double(), exact.log_prob(z.double()), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("correlated", [False, True])
def test_each_component_is_drawn_as_often_as_it_weighs_and_as_it_is(correlated: bool) -> None:
    loc = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]])
    scale, logits = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.0, -math.inf, 1.0, 2.0])
    components: Any = dist.Normal(loc, scale[:, None]).to_event(1)
    if correlated:
        factor = torch.tensor([[1.0, 0.0], [0.8, 0.6]]) * scale[:, None, None]
        components = dist.MultivariateNormal(loc, scale_tril=factor)
    torch.manual_seed(0)
    draws = BatchMixture(components, logits).sample((200, 100))
    assert draws.shape == (200, 100, 2)
    nearest = torch.cdist(draws.reshape(-1, 2), loc).argmin(1)
    shares = torch.nn.functional.one_hot(nearest, 4).float()
    assert int(shares[:, 1].sum()) == 0
    assert is_mean(shares, logits.softmax(0))
    # One draw does not foretell the next.
    first, then = shares[:-1, 0], shares[1:, 0]
    assert is_mean(first * then, logits.softmax(0)[0] ** 2)
    for k in (0, 2, 3):
        off = (draws.reshape(-1, 2)[nearest == k] - loc[k]) / scale[k]
        assert len(off.unique(dim=0)) == len(off)
        assert is_mean(off, torch.zeros(2))
        assert is_mean(off.square(), torch.ones(2))
        assert is_mean(off.prod(-1), torch.tensor(0.8 if correlated else 0.0))


# What is refused


class Bare(nn.Module):
    """A guide without a posterior."""


class Joint(MeanField):
    """A guide whose posterior has no event."""

    def posterior(self, x: Tensor, y: Tensor | None = None) -> dist.TorchDistribution:
        fn: Any = super().posterior(x, y)
        base: dist.TorchDistribution = fn.base_dist
        return base


def vamp(guide: Any = None, **own: Any) -> Any:
    return VampPrior(2, (COLUMNS,), guide or MeanField(2, (COLUMNS,)), **own)


SENTENCES: dict[str, Callable[[], Any]] = {
    "`latent_dim` is 0; a latent needs at least 1 dimension": lambda: LearnedNormal(0),
    "`prior.scale` is 'wide'; give a number above 0, or 'learned'":
        lambda: priors.Laplace(2, scale="wide"),  # type: ignore[arg-type]  # to be refused
    "`prior.scale` is 0.0; give a number above 0": lambda: priors.Laplace(2, scale=0.0),
    "`prior.scale` is nan": lambda: priors.Laplace(2, scale=math.nan),
    "`prior.df` is 0.0; degrees of freedom are above 0": lambda: priors.StudentT(2, df=0.0),
    "`prior.df` is inf": lambda: priors.StudentT(2, df=math.inf),
    "`prior.scale` is inf": lambda: priors.Laplace(2, scale=math.inf),
    "`prior.df` is nan": lambda: priors.StudentT(2, df=math.nan),
    "`prior.components` is 0; a mixture needs at least 1":
        lambda: priors.MixtureOfNormals(2, components=0),
    "`prior.components` is -3; a mixture": lambda: vamp(components=-3),
    "`prior.weights` is 'equall'; give 'equal' or 'learned'": lambda: vamp(weights="equall"),
    "kind is 'cubic'; a flow is 'spline' or 'affine'":
        lambda: priors.FlowPrior(2, kind="cubic"),  # type: ignore[arg-type]  # to be refused
    "transforms 0": lambda: priors.FlowPrior(2, transforms=0),
    "hidden is [8, 0]; each layer needs": lambda: priors.FlowPrior(2, hidden=(8, 0)),
    "needs the guide's posterior, and Bare has none; take another guide, such as MeanField":
        lambda: vamp(Bare()),
    "needs q(z | u), and MeanField needs y as well; take another":
        lambda: vamp(MeanField(2, (COLUMNS,), classes=4)),
    "under every component, which for Flow takes 2 passes through its networks for each of them; "
    "take another guide, such as MeanField": lambda: vamp(Flow(2, (COLUMNS,), transforms=1)),
    "adds up densities, and Delta gives point masses; take another":
        lambda: vamp(Delta(2, (COLUMNS,))),
    "densities of batch shape (2,) and event shape (2,) from the guide for 2 data, and MeanField "
    "gives (2,) and (5,); take another guide, such as MeanField, or another prior, such as "
    "MixtureOfNormals":
        lambda: vamp(MeanField(5, (COLUMNS,))),
    "densities of batch shape (1,) and event shape (2,) from the guide for 1 data, and Joint gives "
    "(1, 2) and ()":
        lambda: vamp(Joint(2, (COLUMNS,)), components=1),
}  # fmt: skip


@pytest.mark.parametrize("sentence", SENTENCES)
def test_what_makes_no_prior_is_refused(sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)) as refusal:
        SENTENCES[sentence]()
    assert "\n" not in str(refusal.value)
