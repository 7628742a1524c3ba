"""Laws of every guide of one latent: one line of arguments, and a family inherits them all."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn
from torch.distributions import kl_divergence

import ppvae.guides
from ppvae.bounds import StickingTheLandingELBO
from ppvae.bounds.audit import audit
from ppvae.compilation import capture
from ppvae.distributions.mixture import NormalMixture
from ppvae.errors import InputError
from ppvae.guides import Amortized, Flow, FullRank, LowRank, MeanField, Mixture, SemiAmortized
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.models.conditional_vae import ConditionalVAE
from ppvae.networks import MLP
from ppvae.programs import Pair, evaluating
from ppvae.programs.densities import Densities
from tests.support.pca import AFFINE, PCA, pca
from tests.support.slow import few

ROWS, COLUMNS = 5, 3

OWN: dict[str, dict[str, Any]] = {
    "Flow": {"hidden": (8,), "context": 4},
    "LowRank": {"rank": 2},
}
"""Arguments of a family's own, where its defaults are larger than a test needs."""

GUIDES = sorted(
    name
    for name in ppvae.guides.__all__
    if issubclass(getattr(ppvae.guides, name), Amortized) and name != "Amortized"
)
DENSITIES = [name for name in GUIDES if name != "Delta"]
every_guide = pytest.mark.parametrize("name", GUIDES)
every_density = pytest.mark.parametrize("name", DENSITIES)
CURVED = partial(MLP, hidden=(6,), activation="tanh")


def programs(
    name: str,
    latent_dim: int = 2,
    classes: int = 0,
    dtype: torch.dtype = torch.float64,
    noise: float = 0.3,
    **own: Any,
) -> tuple[Any, Any]:
    """A model with a curved posterior, and the guide of this name; no weight of theirs is 0."""
    torch.manual_seed(0)
    parts = StandardNormal(latent_dim), Gaussian((COLUMNS,), variance=0.5), CURVED
    model = ConditionalVAE(*parts, classes) if classes else VAE(*parts)
    family = getattr(ppvae.guides, name)
    own = OWN.get(name, {}) | ({"model": model} if name == "SemiAmortized" else {}) | own
    guide = family(latent_dim, (COLUMNS,), classes=classes, **{"encoder": CURVED} | own)
    with torch.no_grad():
        for parameter in [*model.parameters(), *guide.parameters()]:
            parameter.add_(noise * torch.randn_like(parameter))
    return model.to(dtype), guide.to(dtype)


def data(rows: int = ROWS, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, COLUMNS, generator=generator, dtype=torch.float64)


def grid(fn: Any) -> tuple[Tensor, float]:
    """Points, ``(points, 1, dimensions)``, that hold the mass of ``fn``, and the cell of each."""
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


def is_mean(samples: Tensor, want: Tensor, slack: float = 1e-9) -> bool:
    """Whether means of independent samples, ``(samples, ...)``, are within 5 standard errors."""
    error = samples.std(0) / math.sqrt(len(samples))
    return bool(((samples.mean(0) - want).abs() <= 5 * error + slack).all())


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

    # A sum over a grid misses the kinks of a spline that is bent hard.
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
    assert bool((said != 0).all())  # all that the encoder says counts
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


@pytest.mark.parametrize("name", few(GUIDES, 6))
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


def fitted(guide: Any, known: PCA) -> Tensor:
    """KL(q || posterior) of each row, as small as the family lets it be."""
    posterior = dist.MultivariateNormal(known.posterior_loc, precision_matrix=known.precision)
    optimizer = torch.optim.LBFGS(
        guide.parameters(),
        max_iter=200,
        history_size=100,
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = kl_divergence(guide.posterior(known.x), posterior).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return kl_divergence(guide.posterior(known.x), posterior).detach()


def test_correlated_families_reach_log_p_where_mean_field_misses_it_by_the_known_gap() -> None:
    known = pca(rotated=True, rows=10)
    m = known.precision
    gap = 0.5 * float(m.diagonal().log().sum() - torch.logdet(m))
    assert gap > 0.1
    torch.manual_seed(0)
    for family, want, atol in (
        (MeanField, gap, 1e-6),
        (FullRank, 0.0, 1e-6),
        (partial(LowRank, rank=1), 0.0, 1e-3),  # its optima are a long valley
    ):
        guide = family(2, (4,), AFFINE).double()
        kl = fitted(guide, known)
        torch.testing.assert_close(kl, torch.full_like(kl, want), rtol=1e-5, atol=atol)
        pair = Pair(known.pair.model, guide, {"x": known.x})
        with evaluating(pair):
            facts = audit(pair, Trace_ELBO, {"x": known.x})
            weights = Densities(pair, facts, {"x": known.x}).draw(4).log_weight
        if family is not MeanField:  # draw by draw: a KL of 1e-3 is a deviation of 0.045
            torch.testing.assert_close(weights, known.log_p.expand_as(weights), rtol=0, atol=0.2)


def banana(x: Tensor) -> None:
    """A model whose posterior lies along a parabola."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", bent(z).to_event(1), obs=x)


def bent(z: Tensor) -> Any:
    return dist.Laplace((z[..., 1] - 0.7 * z[..., 0].square()).unsqueeze(-1), 0.2)


@pytest.mark.slow
def test_flows_and_mixtures_follow_a_posterior_that_is_bent() -> None:
    x = torch.full((1, 1), -1.0)
    axis = torch.linspace(-6, 6, 401)
    z = torch.cartesian_prod(axis, axis)
    log_joint = dist.Normal(0.0, 1.0).log_prob(z).sum(-1) + bent(z).log_prob(x).squeeze(-1)
    log_p = float((log_joint.exp().sum() * (axis[1] - axis[0]) ** 2).log())
    elbo, sure = (
        Trace_ELBO(num_particles=n, vectorize_particles=True, max_plate_nesting=1)
        for n in (64, 20_000)
    )
    gaps, steps = {}, 200
    for family in (MeanField, Mixture, partial(Flow, hidden=(16,), context=1)):
        torch.manual_seed(0)
        guide = family(2, (1,), AFFINE)
        optimizer = torch.optim.Adam(guide.parameters(), lr=0.03)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
        for _ in range(steps):
            optimizer.zero_grad()
            elbo.differentiable_loss(banana, guide, x).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            gaps[type(guide)] = log_p + float(sure.differentiable_loss(banana, guide, x))
    assert gaps[MeanField] > 0.6
    assert -0.02 < gaps[Flow] < 0.3 * gaps[MeanField]
    assert -0.02 < gaps[Mixture] < 0.9 * gaps[MeanField]


def moments(fn: Any) -> tuple[Tensor, Tensor]:
    return fn.mean, fn.stddev


def refining(known: PCA, **own: Any) -> SemiAmortized:
    """The guide that starts from the answers of the known pair's own."""
    encoder = cast("Any", known.pair.guide).encoder
    return SemiAmortized(2, (4,), known.pair.model, encoder, **own).double()


def first_guess(known: PCA) -> tuple[Tensor, Tensor]:
    return moments(cast("Any", known.pair.guide).posterior(known.x))


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_refined_answers_are_nearer_to_the_posterior_datum_by_datum(steps: int) -> None:
    known = pca(shift=0.3, widen=1.5)
    guide = refining(known, steps=steps)
    with torch.no_grad():
        before = known.kl(*first_guess(known))
        after = known.kl(*moments(guide.posterior(known.x)))
    assert bool((after < before).all())
    if steps == 10:
        assert float(after.mean()) < 0.05 * float(before.mean())


def test_a_step_is_the_gradient_of_the_bound_in_units_of_the_scale() -> None:
    known = pca(shift=0.3, widen=1.5, rotated=True)
    guide = refining(known, steps=1, lr=0.7, pairs=3)
    with torch.no_grad():
        loc, scale = first_guess(known)
        refined = moments(guide.posterior(known.x))
    # The log joint is a parabola: its mean over signs has the curvature M, correlated by the signs.
    m, signs = known.precision, guide.signs
    g = -scale * ((loc - known.posterior_loc) @ m)
    pull = ((scale.unsqueeze(1) * signs) @ m * scale.unsqueeze(1) * signs).mean(1)
    want = loc + 0.7 * scale * g.tanh(), scale * (0.7 * ((1 - pull) / 2).tanh()).exp()
    torch.testing.assert_close(refined, want)


@pytest.mark.parametrize("seed", range(3))
def test_the_refined_bound_is_above_that_of_the_guess(seed: int) -> None:
    torch.manual_seed(seed)
    model, guide = programs("SemiAmortized")
    x = data(40, seed)
    elbo = TraceMeanField_ELBO(num_particles=300, vectorize_particles=True, max_plate_nesting=1)
    losses = []
    for program in (guide, MeanField(2, (COLUMNS,), guide.encoder)):
        torch.manual_seed(seed)
        with torch.no_grad():
            losses.append(float(elbo.differentiable_loss(model, program, x)) / 40)
    assert losses[0] < losses[1] - 0.1


def test_the_refined_answer_is_the_same_with_and_without_gradients() -> None:
    model, guide = programs("SemiAmortized")
    free = guide.posterior(data())
    with evaluating(guide):
        held = guide.posterior(data())
    torch.testing.assert_close(moments(held), moments(free))
    assert free.mean.requires_grad
    assert not held.mean.requires_grad
    for weight in (*model.parameters(), *guide.parameters()):
        assert weight.grad is None


def test_the_model_is_referred_to_and_not_owned() -> None:
    model, guide = programs("SemiAmortized")
    assert not {id(p) for p in model.parameters()} & {id(p) for p in guide.parameters()}
    assert set(guide.state_dict()) == {f"encoder.{n}" for n in guide.encoder.state_dict()} | {
        "signs"
    }


def test_the_model_stands_as_in_evaluation_while_an_answer_is_refined() -> None:
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(2, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))
    model = VAE(StandardNormal(2), Gaussian((3,), variance="learned"), nn.Sequential(
        decoder, nn.Unflatten(-1, (1, 3))
    ))  # fmt: skip
    guide = SemiAmortized(2, (3,), model, CURVED)
    x = data(8).float()
    model.train()
    state = torch.get_rng_state()
    together = guide.posterior(x)
    assert torch.equal(state, torch.get_rng_state())
    torch.testing.assert_close(together.mean[:1], guide.posterior(x[:1]).mean)
    assert int(model.get_buffer("decoder.0.1.num_batches_tracked")) == 0
    assert all(part.training for part in model.modules())
    Trace_ELBO().differentiable_loss(model, guide, x).backward()


def test_what_is_missing_of_x_is_no_part_of_its_bound() -> None:
    _, guide = programs("SemiAmortized")
    x, mask = data(), torch.rand(ROWS, COLUMNS) < 0.5
    other = torch.where(mask, x, x + 5)
    encoded = guide.encode(x)
    guide.encode = lambda *_: encoded  # what the encoder makes of missing entries is its own affair
    with_mask = [moments(guide.posterior(t, mask=mask)) for t in (x, other)]
    torch.testing.assert_close(with_mask[0], with_mask[1])
    assert not torch.allclose(guide.posterior(x).mean, guide.posterior(other).mean)
    torch.manual_seed(0)
    z = guide(x, mask=mask)
    torch.manual_seed(0)
    torch.testing.assert_close(z, guide.posterior(x, mask=mask).rsample())


def test_a_guide_that_refines_takes_functions_with_arguments_of_their_own() -> None:
    seen = []

    def model(x: Tensor, y: Tensor) -> None:
        seen.append(y)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z + y.unsqueeze(-1), 1.0).to_event(1), obs=x)

    x, y = torch.randn(4, 2), torch.arange(4.0)
    guide = SemiAmortized(2, (2,), model, AFFINE, pairs=2, steps=30)
    mean = guide.posterior(x, y).mean
    torch.testing.assert_close(seen[0], y.repeat(4))
    torch.testing.assert_close(mean, (x - y.unsqueeze(-1)) / 2, atol=1e-3, rtol=1e-3)


def test_a_model_with_other_latents_is_refused() -> None:
    def two(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(w, 1.0).to_event(1), obs=x)

    def none(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1), obs=x)

    for model, sentence in ((two, "the model has w"), (none, "the model has no such site")):
        with pytest.raises(InputError, match=sentence):
            SemiAmortized(2, (2,), model, AFFINE)(torch.randn(4, 2))


def test_data_that_the_model_gives_no_probability_stay_where_the_encoder_puts_them() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Gamma(z.exp(), 1.0).to_event(1), obs=x)

    guide = SemiAmortized(2, (2,), model, AFFINE)
    x = torch.tensor([[-1.0, -1.0], [1.0, 2.0]])
    loc = guide.encode(x)[:, 0]
    mean = guide.posterior(x).mean
    torch.testing.assert_close(mean[0], loc[0])
    assert bool((mean[1] != loc[1]).all())


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


class Says(nn.Module):
    """An encoder that says the same of every datum."""

    def __init__(self, numbers: Tensor) -> None:
        super().__init__()
        self.numbers = nn.Parameter(numbers)

    def forward(self, x: Tensor) -> Tensor:
        return self.numbers.expand(len(x), *self.numbers.shape)


@pytest.mark.parametrize(
    ("family", "more"),
    [
        (FullRank, torch.zeros(3)),
        (LowRank, torch.zeros(4, 3)),
        (partial(Flow, kind="spline", context=5), torch.linspace(-1, 1, 5)),
        (partial(Flow, kind="affine", context=5), torch.linspace(-1, 1, 5)),
        (partial(Mixture, components=1), torch.ones(1, 1)),
    ],
)
def test_without_what_it_adds_a_family_is_the_mean_field_guide(family: Any, more: Tensor) -> None:
    loc, log_scale = torch.tensor([[0.5, -1.0, 2.0], [-1.0, 0.2, 3.0]])
    x, z = data().float(), torch.randn(ROWS, 3)
    if more.dim() == 1:
        numbers = torch.cat([loc, log_scale, more])
    elif len(more) == 4:
        numbers = torch.stack([loc, log_scale, *more])
    else:
        numbers = torch.cat([loc, log_scale, more[0]])[None]
    guide = family(3, (COLUMNS,), Says(numbers))
    plain = MeanField(3, (COLUMNS,), Says(torch.stack([loc, log_scale])))
    torch.testing.assert_close(guide.posterior(x).log_prob(z), plain.posterior(x).log_prob(z))


def test_a_mixture_of_one_moves_its_draws_as_a_normal_does() -> None:
    torch.manual_seed(0)
    loc, log_scale = (torch.randn(ROWS, 1, 3, dtype=torch.float64) for _ in range(2))
    scale = log_scale.exp().requires_grad_()
    z = NormalMixture(torch.zeros(1).double(), loc.requires_grad_(), scale).rsample((7,))
    slopes = torch.autograd.grad(z.sin().sum(), [loc, scale])
    pull = z.cos().unsqueeze(-2)
    eps = (z.unsqueeze(-2) - loc) / scale
    torch.testing.assert_close(slopes[0], pull.sum(0))
    torch.testing.assert_close(slopes[1], (pull * eps).sum(0))


def test_the_density_of_a_mixture_is_torchs_in_any_batch() -> None:
    torch.manual_seed(0)
    logits, loc, scale = torch.randn(4), torch.randn(ROWS, 4, 3), torch.rand(4, 3) + 0.1
    normals = torch.distributions.Independent(torch.distributions.Normal(loc, scale), 1)
    weights = torch.distributions.Categorical(logits=logits.expand(ROWS, 4))
    want = torch.distributions.MixtureSameFamily(weights, normals)
    ours = NormalMixture(logits, loc, scale)
    z = 3 * torch.randn(2, ROWS, 3)
    for fn in (ours, ours.expand((2, ROWS))):
        torch.testing.assert_close(fn.log_prob(z), want.log_prob(z))
    torch.testing.assert_close(ours.mean, want.mean)
    torch.testing.assert_close(ours.variance, want.variance)
