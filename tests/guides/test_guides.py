"""Laws of all guides with one latent; a new family needs one line of arguments."""

import math
from collections.abc import Sequence
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor
from torch.distributions import kl_divergence

from ppvae.bounds import StickingTheLandingELBO
from ppvae.bounds.audit import audit
from ppvae.compilation import capture
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.densities import Densities
from tests.support.guides import DENSITIES, GUIDES, ROWS, data, every_density, every_guide, programs
from tests.support.means import is_mean
from tests.support.pca import AFFINE
from tests.support.slow import few


def grid(fn: Any) -> tuple[Tensor, float]:
    """Points that cover the mass of ``fn``, ``(points, 1, dimensions)``, and the cell of each."""
    with torch.no_grad():
        draws = fn.sample((2000,)).reshape(2000, -1)
    low, high = draws.min(0).values, draws.max(0).values
    margin = 0.75 * (high - low)
    count = 4001 if draws.shape[1] == 1 else 201
    axes = [
        torch.linspace(float(a), float(b), count, dtype=torch.float64)
        for a, b in zip(low - margin, high + margin, strict=True)
    ]
    cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
    return torch.cartesian_prod(*axes).reshape(-1, 1, len(axes)), cell


def flat(gradients: Sequence[Tensor]) -> Tensor:
    return torch.cat([gradient.reshape(-1) for gradient in gradients])


@every_density
@pytest.mark.parametrize("latent_dim", [1, 2])
def test_the_density_integrates_to_one_and_is_that_of_the_draws(name: str, latent_dim: int) -> None:
    _, guide = programs(name, latent_dim)
    with torch.no_grad():
        fn = guide.posterior(data(1))
        z, cell = grid(fn)
        mass = fn.log_prob(z).exp() * cell
        assert float(mass.sum()) == pytest.approx(1.0, abs=1e-3)
        mean = (mass.unsqueeze(-1) * z).sum(0)
        square = (mass.unsqueeze(-1) * (z - mean).square()).sum(0)
        product = (mass * z.prod(-1)).sum(0)
        draws = fn.sample((20_000,))
        assert is_mean(draws, mean, 1e-3)
        assert is_mean((draws - mean).square(), square, 1e-3)
        assert is_mean(draws.prod(-1), product, 1e-3)
        if name != "Flow":
            torch.testing.assert_close(fn.mean, mean, rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(fn.stddev, square.sqrt(), rtol=1e-3, atol=1e-3)


@every_density
def test_gradients_by_way_of_draws_have_no_bias(name: str) -> None:
    def height(z: Tensor) -> Tensor:
        return z[..., 0].sin() + 0.5 * z[..., 1].square() + (z[..., 0] * z[..., 1]).cos()

    # A sum over a grid misses the kinks of a strongly bent spline.
    noise, slack = (0.1, 1e-2) if name == "Flow" else (0.3, 1e-3)
    _, guide = programs(name, noise=noise)
    weights, x = list(guide.parameters()), data(1)
    z, cell = grid(guide.posterior(x))
    exact = (guide.posterior(x).log_prob(z).exp() * height(z)).sum() * cell
    want = flat(torch.autograd.grad(exact, weights))
    assert bool((want != 0).any())
    found = []
    for _ in range(40):
        draws = guide.posterior(x).rsample((500,))
        found.append(flat(torch.autograd.grad(height(draws).mean(), weights)))
    assert is_mean(torch.stack(found), want, slack)


@every_density
def test_the_gradient_of_the_density_is_a_finite_difference(name: str) -> None:
    model, guide = programs(name)
    x, z = data(), torch.randn(3, ROWS, 2, dtype=torch.float64)
    moved = [*guide.parameters(), x.requires_grad_(), z.requires_grad_()]
    if name == "SemiAmortized":
        moved += list(model.parameters())
    slopes = torch.autograd.grad(guide.posterior(x).log_prob(z).sum(), moved)
    *_, last = guide.encoder.parameters()
    (said,) = (s for s, t in zip(slopes, moved, strict=True) if t is last)
    assert bool((said != 0).all())  # every output of the encoder has an effect
    directions = [torch.randn_like(t) for t in moved]
    slope = sum(float((s * d).sum()) for s, d in zip(slopes, directions, strict=True))

    def at(step: float) -> float:
        with torch.no_grad():
            for tensor, direction in zip(moved, directions, strict=True):
                tensor.add_(step * direction)
            value = float(guide.posterior(x).log_prob(z).sum())
            for tensor, direction in zip(moved, directions, strict=True):
                tensor.sub_(step * direction)
        return value

    assert slope == pytest.approx((at(1e-6) - at(-1e-6)) / 2e-6, rel=1e-5)


@every_density
def test_an_exact_kl_is_the_mean_of_the_log_ratio(name: str) -> None:
    model, guide = programs(name)
    q, p = guide.posterior(data()), model.prior()
    if name in ("Flow", "Mixture"):
        with pytest.raises(NotImplementedError):
            kl_divergence(q, p)
        return
    with torch.no_grad():
        kl = kl_divergence(q, p)
        z = q.sample((20_000,))
        assert kl.shape == (ROWS,)
        assert is_mean(q.log_prob(z) - p.log_prob(z), kl)


@every_guide
def test_it_has_a_draw_for_each_datum_and_each_particle(name: str) -> None:
    _, guide = programs(name, 3)
    x = data()
    fn = guide.posterior(x)
    assert (fn.batch_shape, fn.event_shape) == ((ROWS,), (3,))
    assert guide(x).shape == (ROWS, 3)
    with pyro.plate("particles", 4, dim=-2):
        trace: Any = poutine.trace(guide).get_trace(x)
    trace.compute_log_prob()
    assert [n for n in trace.nodes if trace.nodes[n]["type"] == "sample"] == ["data", "z"]
    node = trace.nodes["z"]
    assert node["value"].shape == (4, ROWS, 3)
    assert node["log_prob"].shape == (4, ROWS)
    torch.testing.assert_close(node["log_prob"], fn.log_prob(node["value"]))
    assert bool((node["value"][0] != node["value"][1]).all()) == (name != "Delta")


@every_density
def test_a_datum_has_its_own_answer_whatever_stands_beside_it(name: str) -> None:
    _, guide = programs(name)
    x, z = data(), torch.randn(ROWS, 2, dtype=torch.float64)
    together = guide.posterior(x).log_prob(z)
    for i in range(ROWS):
        alone = guide.posterior(x[i : i + 1]).log_prob(z[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)
    assert len(together.detach().round(decimals=6).unique()) == ROWS


@every_guide
def test_saved_and_loaded_it_says_the_same(name: str) -> None:
    model, guide = programs(name)
    own = {"model": model} if name == "SemiAmortized" else {}
    _, other = programs(name, **own)
    x, weights = data(), {name: value.clone() for name, value in guide.state_dict().items()}

    def drawn(program: Any) -> Tensor:
        torch.manual_seed(3)
        z: Tensor = program(x)
        return z

    with torch.no_grad():
        for value in other.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand_like(value))
    assert bool((drawn(other) != drawn(guide)).all())
    other.load_state_dict(weights)
    assert torch.equal(drawn(other), drawn(guide))


@pytest.mark.parametrize("name", few(GUIDES, 0))
def test_captured_it_is_what_pyro_computes(name: str) -> None:
    model, guide = programs(name, dtype=torch.float32)
    x = data().float()
    bound = TraceMeanField_ELBO(num_particles=2, vectorize_particles=True, max_plate_nesting=1)
    captured = capture(model, guide, bound, x, compile=False)
    weights = list(captured.parameters())
    torch.manual_seed(4)
    loss = captured(x)
    found = torch.autograd.grad(loss, weights)
    assert captured.reason == ""
    torch.manual_seed(4)
    want = bound.differentiable_loss(model, guide, x)
    torch.testing.assert_close(loss, want)
    torch.testing.assert_close(found, torch.autograd.grad(want, weights))


@every_guide
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_computes_in_the_type_of_its_weights(name: str, dtype: torch.dtype) -> None:
    _, guide = programs(name, dtype=dtype)
    fn = guide.posterior(data().to(dtype))
    z = fn.rsample()
    assert z.dtype == dtype
    assert fn.log_prob(z).dtype == dtype


@every_density
@pytest.mark.parametrize("latent_dim", [1, 3, 40])
@pytest.mark.parametrize("size", [0.0, 1e3, 1e6])
def test_nothing_is_infinite_whatever_the_encoder_says(
    name: str, latent_dim: int, size: float
) -> None:
    _, guide = programs(name, latent_dim, dtype=torch.float32, encoder=AFFINE)
    fn = guide.posterior(size * data(20).float())
    z = fn.rsample()
    log_prob = fn.log_prob(z)
    assert bool(log_prob.isfinite().all())
    slopes = torch.autograd.grad((log_prob + z.sin().sum(-1)).sum(), list(guide.parameters()))
    assert all(bool(slope.isfinite().all()) for slope in slopes)


@every_guide
@pytest.mark.parametrize("kind", ["labels", "covariates"])
def test_told_something_else_it_says_something_else(name: str, kind: str) -> None:
    _, guide = programs(name, classes=4)
    x = data()
    y = torch.arange(ROWS) % 4 if kind == "labels" else torch.randn(ROWS, 4).double()
    answers = []
    for told in (y, y, (y + 1) % 4):
        torch.manual_seed(0)
        answers.append(guide(x, told))
    torch.testing.assert_close(answers[0], answers[1])
    assert bool((answers[0] != answers[2]).any(-1).all())
    with pytest.raises(InputError, match="conditional on y, and the data have none"):
        guide(x)


@pytest.mark.parametrize("name", few(DENSITIES, 3))
def test_without_its_score_the_gradient_has_the_same_mean(name: str) -> None:
    model, guide = programs(name)
    x = data(1)
    weights = list(guide.parameters())
    differences = []
    bounds: tuple[Any, ...] = (StickingTheLandingELBO, Trace_ELBO)
    for i in range(20):
        pair = []
        for bound in bounds:
            elbo = bound(num_particles=200, vectorize_particles=True, max_plate_nesting=1)
            torch.manual_seed(i)
            loss = elbo.differentiable_loss(model, guide, x)
            pair.append(flat(torch.autograd.grad(loss, weights)))
        differences.append(pair[0] - pair[1])
    stacked = torch.stack(differences)
    assert bool((stacked != 0).any())
    assert is_mean(stacked, torch.zeros(()))


@every_density
def test_at_given_latents_the_densities_are_those_of_the_draws(name: str) -> None:
    model, guide = programs(name)
    batch = {"x": data()}
    pair = Pair(model, guide, batch)
    with evaluating(pair):
        densities = Densities(pair, audit(pair, Trace_ELBO, batch), batch)
        draws = densities.draw(3)
        again = densities.at({site: z.clone() for site, z in draws.latents.items()})
    assert draws.log_guide is not None
    torch.testing.assert_close(draws.log_weight, again.log_weight)


@pytest.mark.parametrize(
    ("name", "own", "sentence"),
    [
        ("LowRank", {"rank": 0}, "`guide.rank` is 0; give at least 1 factor"),
        ("Mixture", {"components": 0}, "`guide.components` is 0; give at least 1"),
        ("Flow", {"context": 0}, "`guide.context` is 0"),
        ("Flow", {"kind": "cubic"}, "kind is 'cubic'"),
        ("SemiAmortized", {"steps": 0}, "`guide.steps` is 0; give a number above 0"),
        ("SemiAmortized", {"lr": 0.0}, "`guide.lr` is 0.0; give a number above 0"),
        ("SemiAmortized", {"pairs": -1}, "`guide.pairs` is -1; give a number above 0"),
    ],
)
def test_numbers_that_make_no_family_are_refused(
    name: str, own: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        programs(name, **own)
