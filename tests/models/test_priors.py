"""Laws of all priors; a new family needs one line of arguments."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from numpy.typing import NDArray
from pyro import poutine
from pyro.infer import TraceMeanField_ELBO
from scipy import special, stats
from torch import Tensor
from torch.distributions import kl_divergence
from torch.func import functional_call

from ppvae.compilation import capture
from ppvae.guides import FullRank, LowRank, MeanField
from ppvae.models import VAE, Gaussian, priors
from tests.support.means import is_mean
from tests.support.pca import AFFINE
from tests.support.priors import CASES, COLUMNS, CURVED, OWN, every, made, over
from tests.support.slow import few


def plane(latent_dim: int) -> tuple[Tensor, Tensor]:
    """Points that cover the line or the plane, and the length or area of each.

    With z = 2 t / (1 - t^2) for t in (-1, 1), a tail as heavy as 1 / z^2 has an end.
    """
    count = 2000 if latent_dim == 1 else 300
    t = (torch.arange(count, dtype=torch.float64) + 0.5) * 2 / count - 1
    z, length = 2 * t / (1 - t.square()), 4 / count * (1 + t.square()) / (1 - t.square()).square()
    points = torch.cartesian_prod(*[z] * latent_dim).reshape(-1, latent_dim)
    return points, torch.cartesian_prod(*[length] * latent_dim).reshape(-1, latent_dim).prod(-1)


def test_every_prior_that_can_be_chosen_is_tried() -> None:
    assert set(OWN) == set(priors.__all__) - {"Prior"}


@every
@pytest.mark.parametrize("latent_dim", few([1, 2], 3))
def test_it_integrates_to_one_and_is_the_density_of_its_draws(
    name: str, own: dict[str, Any], latent_dim: int
) -> None:
    case = made(name, own, latent_dim)

    def heights(z: Tensor, log_prob: Tensor) -> Tensor:
        bent = z.tanh()  # whose mean exists for any tails
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
    if "df" in own or own.get("scale") == 0.7:  # the given number
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


@pytest.mark.parametrize("name", few(OWN, 0))
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
