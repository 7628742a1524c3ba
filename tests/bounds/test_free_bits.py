"""Laws of the bound with free bits, on programs whose KL has a closed form by dimension."""

import math
from collections.abc import Callable
from typing import Any, cast

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoMultivariateNormal
from pyro.optim import PyroOptim
from torch import Tensor, nn
from torch.distributions import kl_divergence

import ppvae.distributions.divergences  # noqa: F401  # registers a KL that torch lacks
from ppvae.bounds import FreeBitsELBO
from ppvae.bounds.free_bits import _parts
from ppvae.compilation import capture
from ppvae.errors import InputError
from tests.support.bounds import both_ways
from tests.support.gaussian_chain import Latents, Part, Program, gradient, loss_of

ROWS, LATENTS = 6, 3


def ours(free_bits: float, k: int = 1, vectorize: bool = True, **options: Any) -> Any:
    return FreeBitsELBO(
        free_bits, num_particles=k, vectorize_particles=vectorize, max_plate_nesting=1, **options
    )


def pyros(k: int = 1, vectorize: bool = True) -> Any:
    elbo: Any = TraceMeanField_ELBO
    return elbo(num_particles=k, vectorize_particles=vectorize, max_plate_nesting=1)


def rows() -> Tensor:
    return torch.randn(ROWS, LATENTS, generator=torch.Generator().manual_seed(7)).double()


class Linear(nn.Module):
    """p(z) = N(m, I), p(x | z) = N(W z, I); q(z | x) = N(v x, diag s^2).

    The first dimension determines most of x, the second little, the third nothing: its KL is 0.
    """

    def __init__(self, size: int | None = None, taken: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.W = nn.Parameter(torch.randn(LATENTS, LATENTS).double())
        self.m = nn.Parameter(torch.zeros(LATENTS).double())
        self.v = nn.Parameter(torch.tensor([1.0, 0.1, 0.0]).double())
        self.log_s = nn.Parameter(torch.tensor([-1.0, -0.1, 0.0]).double())
        self.size, self.taken = size, taken
        self.family: Callable[[Tensor, Tensor], Any] = lambda loc, s: dist.Normal(loc, s).to_event(
            1
        )

    @property
    def of_guide(self) -> list[nn.Parameter]:
        return [self.v, self.log_s]

    def plate(self, x: Tensor) -> Any:
        return pyro.plate("data", self.size or len(x), self.taken, dim=-1)

    def model(self, x: Tensor) -> None:
        pyro.module("linear", self)
        with self.plate(x) as i:
            z = pyro.sample("z", dist.Normal(self.m, torch.ones_like(self.m)).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.W.T, 1.0).to_event(1), obs=x[i])

    def guide(self, x: Tensor) -> None:
        pyro.module("linear", self)
        with self.plate(x) as i:
            pyro.sample("z", self.family(self.v * x[i], self.log_s.exp().expand_as(x[i])))

    def kl(self, x: Tensor) -> Tensor:
        """The KL of each row and dimension."""
        variance = (2 * self.log_s).exp()
        return 0.5 * ((self.v * x - self.m).square() + variance - 1 - 2 * self.log_s)


def reconstruction(linear: Linear, x: Tensor, k: int) -> Tensor:
    torch.manual_seed(0)
    shape = (k, *x.shape) if k > 1 else x.shape
    eps = torch.randn(shape, dtype=torch.float64)
    z = linear.v * x + linear.log_s.exp() * eps
    log_prob: Tensor = dist.Normal(z @ linear.W.T, 1.0).log_prob(x)
    return log_prob.sum() / k


def correlated(loc: Tensor, scale: Tensor) -> Any:
    return dist.MultivariateNormal(loc, scale_tril=torch.diag_embed(scale))


def student(loc: Tensor, scale: Tensor) -> Any:
    """A family whose KL to a normal has no closed form."""
    return dist.StudentT(torch.tensor(5.0).double(), loc, scale).to_event(1)


@both_ways
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("taken", [None, 2])
@pytest.mark.parametrize("family", [None, correlated, student])
def test_without_free_bits_it_is_the_bound_with_the_kl_in_closed_form(
    vectorize: bool, k: int, taken: int | None, family: Any
) -> None:
    linear, x = Linear(taken and ROWS, taken), rows()
    linear.family = family or linear.family
    weights = list(linear.parameters())
    for per in ("dimension", "site"):
        one, other = (
            loss_of(elbo, linear.model, linear.guide, x, 0)
            for elbo in (ours(0.0, k, vectorize, per=per), pyros(k, vectorize))
        )
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradient(one, weights), gradient(other, weights))


@both_ways
@pytest.mark.parametrize("k", [1, 3])
def test_it_is_the_papers_formula(vectorize: bool, k: int) -> None:
    """The mean over the batch inside the maximum, the sum over dimensions outside."""
    linear, x, free = Linear(), rows(), 0.7
    means = linear.kl(x).mean(0)
    assert means[0] > free > means[1]
    assert linear.kl(x)[:, 0].min() < free  # the maximum is taken of the mean
    kl = ROWS * torch.maximum(means, torch.tensor(free).double()).sum()
    loss = loss_of(ours(free, k, vectorize), linear.model, linear.guide, x, 0)
    if vectorize or k == 1:
        torch.testing.assert_close(loss, kl - reconstruction(linear, x, k))
    whole = loss_of(pyros(k, vectorize), linear.model, linear.guide, x, 0)
    torch.testing.assert_close(loss - whole, kl - linear.kl(x).sum())


def test_below_its_free_bits_a_dimension_has_no_gradient_of_the_kl() -> None:
    linear, x = Linear(), rows()
    with torch.no_grad():
        linear.W.zero_()  # so that the likelihood has none either
    loss = loss_of(ours(0.1), linear.model, linear.guide, x, 0)
    slope = gradient(loss, linear.of_guide).view(2, LATENTS)
    want = gradient(linear.kl(x).sum(), linear.of_guide).view(2, LATENTS)
    assert slope[:, 1:].eq(0).all()
    assert want[:, 1].ne(0).all()
    torch.testing.assert_close(slope[:, 0], want[:, 0])
    # All of it is free.
    loss = loss_of(ours(100.0), linear.model, linear.guide, x, 0)
    assert gradient(loss, [*linear.of_guide, linear.m]).eq(0).all()


def test_without_free_bits_an_estimate_below_zero_stays_there() -> None:
    linear, x = silent(), rows()
    linear.family = student
    with torch.no_grad():
        linear.v.zero_()
        linear.log_s.zero_()
    found = []
    for seed in range(5):
        one, other = (
            loss_of(elbo, linear.model, linear.guide, x, seed) for elbo in (ours(0.0), pyros())
        )
        torch.testing.assert_close(one, other)
        found.append(free_kl(one, linear, x))
    assert min(found) < -0.1


def free_kl(loss: Tensor, linear: Linear, x: Tensor) -> float:
    """The KL term of a loss over all data, under a likelihood that is the same for all draws."""
    nothing = dist.Normal(torch.zeros_like(x), 1.0).log_prob(x).sum()
    return float((loss + nothing).detach())


def silent() -> Linear:
    linear = Linear()
    with torch.no_grad():
        linear.W.zero_()
    return linear


@pytest.mark.parametrize("family", [None, correlated])
def test_a_site_that_is_one_group_has_the_free_bits_of_all_its_dimensions(family: Any) -> None:
    linear, x = silent(), rows()
    linear.family = family or linear.family
    per = "dimension" if family else "site"
    kl = float(linear.kl(x).sum().detach())
    share = kl / ROWS / (LATENTS if family else 1)
    for free, want in [(0.9 * share, kl), (1.1 * share, 1.1 * kl)]:
        loss = loss_of(ours(free, per=per), linear.model, linear.guide, x, 0)
        assert free_kl(loss, linear, x) == pytest.approx(want, rel=1e-10)
        assert gradient(loss, linear.of_guide).ne(0).any() == (want == kl)


def test_which_sites_have_a_kl_by_dimension() -> None:
    loc, scale = torch.zeros(2, 3), torch.ones(2, 3)
    prior = dist.Normal(0.0, 1.0).expand([2, 3]).to_event(1)
    normals = dist.Normal(loc, scale)
    for q, p, shape in (
        (normals.to_event(1), prior, (3, 2)),
        (normals, normals, (1, 2, 3)),
        (correlated(loc, scale), prior, (1, 2)),
        (student(loc, scale), prior, (1, 2)),
    ):
        z = q.sample()
        nodes = ({"fn": fn, "unscaled_log_prob": fn.log_prob(z)} for fn in (q, p))
        assert _parts(*nodes).kl.shape == shape


@both_ways
def test_where_there_is_no_closed_form_the_estimate_is_that_of_all_particles(
    vectorize: bool,
) -> None:
    linear, x, k = silent(), rows(), 4
    linear.family = student
    kl = free_kl(loss_of(pyros(k, vectorize), linear.model, linear.guide, x, 0), linear, x)
    share = kl / ROWS / LATENTS
    for free, want in [(0.99 * share, kl), (1.01 * share, 1.01 * kl)]:
        loss = loss_of(ours(free, k, vectorize), linear.model, linear.guide, x, 0)
        assert free_kl(loss, linear, x) == pytest.approx(want, rel=1e-10)


@pytest.mark.parametrize("beta", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("family", [None, student])
def test_a_weight_of_the_latents_stands_outside_the_maximum(beta: float, family: Any) -> None:
    linear, x = silent(), rows()
    linear.family = family or linear.family
    for free in (0.01, 0.1, 1.0):
        elbo = ours(free)
        whole = free_kl(loss_of(elbo, linear.model, linear.guide, x, 0), linear, x)
        for weight in (beta, torch.tensor(beta, dtype=torch.float64)):
            model, guide = (Latents(weight)(program) for program in (linear.model, linear.guide))
            loss = loss_of(elbo, model, guide, x, 0)
            assert free_kl(loss, linear, x) == pytest.approx(beta * whole, abs=1e-9)


def test_a_subsample_is_scaled_outside_the_maximum() -> None:
    linear, x, free = Linear(ROWS, 2), rows(), 0.1
    with torch.no_grad():
        linear.W.zero_()
    for seed in range(3):
        torch.manual_seed(seed)
        some = x[torch.randperm(ROWS)[:2]]
        kl = linear.kl(some).mean(0).clamp(min=free).sum() * ROWS
        nothing = dist.Normal(torch.zeros_like(some), 1.0).log_prob(some).sum() * ROWS / 2
        loss = loss_of(ours(free), linear.model, linear.guide, x, seed)
        torch.testing.assert_close(loss, kl - nothing)


def masked(program: Program) -> Program:
    handler: Any = poutine.mask
    return cast("Program", handler(program, mask=torch.arange(ROWS) % 2 == 0))


@pytest.mark.parametrize("family", [None, student])
def test_masked_rows_are_no_data(family: Any) -> None:
    linear, x = silent(), rows()
    linear.family = family or linear.family
    for per in ("dimension", "site"):
        elbo = ours(0.1 if family is None else 10.0, per=per)
        loss = loss_of(elbo, masked(linear.model), masked(linear.guide), x, 0)
        want = loss_of(elbo, linear.model, linear.guide, x[::2], 0)
        if family is None or per == "site":
            torch.testing.assert_close(loss, want)
    nothing: Any = poutine.mask
    model, guide = (nothing(program, mask=False) for program in (linear.model, linear.guide))
    assert float(loss_of(ours(0.1), model, guide, x, 0).detach()) == 0


def test_a_mask_of_the_distributions_counts_element_by_element() -> None:
    kept = torch.tensor([[True, False], [True, True], [False, False]])
    loc = torch.tensor([[1.0, 2.0], [0.1, 0.2], [5.0, 6.0]], requires_grad=True)

    def program(loc: Tensor, x: Tensor | None = None) -> None:
        with pyro.plate("data", 3):
            pyro.sample("z", dist.Normal(loc, 1.0).mask(kept).to_event(1))
            if x is not None:
                pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    x = torch.zeros(3)

    def model(loc: Tensor) -> None:
        program(torch.zeros_like(loc), x)

    for free, kl in [(0.0, 0.5 + 0.005 + 0.02), (0.1, 0.505 + 0.1), (0.3, 0.6 + 0.3)]:
        loss = loss_of(ours(free), model, program, loc, 0)
        nothing = dist.Normal(0.0, 1.0).log_prob(x).sum()
        torch.testing.assert_close(loss + nothing, torch.tensor(kl))


def test_cells_of_an_inner_plate_are_dimensions_and_a_latent_of_all_data_is_one_datum() -> None:
    loc = nn.Parameter(torch.tensor([[0.2, 0.4, 0.6], [1.0, 2.0, 3.0]]))
    shared = nn.Parameter(torch.tensor(0.1))
    free, x = 0.2, torch.zeros(3)

    def model() -> None:
        pyro.sample("w", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 3, dim=-1):
            with pyro.plate("parts", 2, dim=-2):
                pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    def guide() -> None:
        pyro.sample("w", dist.Normal(shared, 1.0))
        with pyro.plate("data", 3, dim=-1), pyro.plate("parts", 2, dim=-2):
            pyro.sample("z", dist.Normal(loc, 1.0))

    def counted(per: Any) -> Tensor:
        elbo: Any = FreeBitsELBO
        loss = elbo(free, per, max_plate_nesting=2).differentiable_loss(model, guide)
        return cast("Tensor", loss + dist.Normal(0.0, 1.0).log_prob(x).sum())

    kl = kl_divergence(dist.Normal(loc, 1.0), dist.Normal(0.0, 1.0)).sum(1)
    assert kl[0] < 3 * free < kl[1]
    torch.testing.assert_close(counted("dimension"), free + 3 * free + kl[1])
    torch.testing.assert_close(counted("site"), free + kl.sum())


@both_ways
def test_it_is_used_as_pyros_bounds_are(vectorize: bool) -> None:
    linear, x = Linear(), rows()
    elbo, weights = ours(0.1, 3, vectorize), list(linear.parameters())
    loss = loss_of(elbo, linear.model, linear.guide, x, 0)
    want = gradient(loss, weights)
    module = elbo(Part(linear, "model"), Part(linear, "guide"))
    torch.manual_seed(0)
    torch.testing.assert_close(gradient(module(x), weights), want)
    torch.manual_seed(0)
    assert elbo.loss_and_grads(linear.model, linear.guide, x) == float(loss.detach())
    got = torch.cat([cast("Tensor", p.grad).flatten() for p in weights])
    torch.testing.assert_close(got, want)
    torch.manual_seed(0)
    assert elbo.loss(linear.model, linear.guide, x) == float(loss.detach())

    linear.zero_grad()
    svi = SVI(linear.model, linear.guide, PyroOptim(torch.optim.Adam, {"lr": 0.05}), elbo)
    before = svi.evaluate_loss(x)
    for _ in range(40):
        svi.step(x)
    assert svi.evaluate_loss(x) < before - 1


@pytest.mark.slow
@both_ways
def test_it_can_be_captured_as_a_graph(vectorize: bool) -> None:
    linear, x = Linear(), rows()
    model, guide = (
        Latents(torch.tensor(0.5).double())(program) for program in (linear.model, linear.guide)
    )
    elbo, weights = ours(0.1, 2, vectorize), list(linear.parameters())
    loss = capture(model, guide, elbo, x, compile=False)
    for seed in range(2):
        torch.manual_seed(seed)
        captured, eager = loss(x), loss_of(elbo, model, guide, x, seed)
        torch.testing.assert_close(captured, eager)
        torch.testing.assert_close(gradient(captured, weights), gradient(eager, weights))
    assert loss.reason == ""


@pytest.mark.slow
def test_dimensions_that_would_be_given_up_are_kept() -> None:
    """Its purpose: while the likelihood is weak at first, no dimension's KL goes to 0."""
    found = []
    for elbo in (pyros(), ours(0.2)):
        linear, x = silent(), rows()
        for seed in range(120):
            slope = gradient(loss_of(elbo, linear.model, linear.guide, x, seed), linear.of_guide)
            for parameter, part in zip(linear.of_guide, slope.view(2, LATENTS), strict=True):
                parameter.data -= 0.01 * part
        found.append(linear.kl(x).mean(0).detach())
    assert float(found[0].max()) < 0.01
    torch.testing.assert_close(found[1][0], torch.tensor(0.2).double(), rtol=0, atol=0.03)


def point(x: Tensor) -> None:
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Delta(x, event_dim=1))


def poisson(x: Tensor) -> None:
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Poisson(x.exp()).to_event(1))


def unplated(x: Tensor) -> None:
    z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0).to_event(2))
    pyro.sample("x", dist.Normal(z, 1.0).to_event(2), obs=x)


def plated(x: Tensor) -> None:
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros_like(x[0]), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


def unplated_guide(x: Tensor) -> None:
    pyro.sample("z", dist.Normal(x, 1.0).to_event(2))


def test_what_has_no_kl_to_put_a_floor_under_is_refused_in_a_sentence() -> None:
    linear, x = Linear(), rows()
    cases: list[tuple[Program, Program, list[str]]] = [
        (linear.model, point, ["'z'", "Delta", "infinite", "TraceMeanField_ELBO"]),
        (linear.model, poisson, ["'z'", "Poisson", "no reparameterized draw", "Trace_ELBO"]),
        (linear.model, lambda x: None, ["'z' of the model", "FreeBitsELBO", "in the guide"]),
        (unplated, unplated_guide, ["'x'", "no plate", 'pyro.plate("data"']),
    ]
    for model, guide, words in cases:
        for elbo in (ours(0.1), ours(0.1, 2, vectorize=False)):
            for call in (elbo.loss, elbo.loss_and_grads, elbo.differentiable_loss):
                with pytest.raises(InputError) as refusal:
                    call(model, guide, x)
                sentence = str(refusal.value)
                assert all(word in sentence for word in words), sentence
                assert "\n" not in sentence
    with pyro.settings.context(module_local_params=True):
        guide = AutoMultivariateNormal(unplated)
        with pytest.raises(InputError, match="no plate"):
            ours(0.1).loss(unplated, guide, x)
        joint = AutoMultivariateNormal(plated)
        with pytest.raises(InputError, match=r"auxiliary.*take TraceMeanField_ELBO"):
            ours(0.1).loss(plated, joint, x)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"free_bits": -0.1}, "free_bits is -0.1"),
        ({"free_bits": math.nan}, "free_bits is nan"),
        ({"per": "layer"}, "per is 'layer'; take one of dimension, site"),
    ],
)
def test_settings_that_are_none_are_refused(options: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        FreeBitsELBO(**options)
