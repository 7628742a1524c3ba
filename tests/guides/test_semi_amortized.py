"""The semi-amortized guide: gradient steps from the output of the encoder."""

from typing import Any, cast

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

from ppvae.errors import InputError
from ppvae.guides import MeanField, SemiAmortized
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.programs import evaluating
from tests.support.guides import COLUMNS, CURVED, ROWS, data, programs
from tests.support.pca import AFFINE, PCA, pca


def moments(fn: Any) -> tuple[Tensor, Tensor]:
    return fn.mean, fn.stddev


def refining(known: PCA, **own: Any) -> SemiAmortized:
    """The guide that starts from the results of the known pair's guide."""
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
    # The log joint is quadratic: its mean over signs has curvature M, correlated by the signs.
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
    guide.encode = lambda *_: encoded  # any encoding of missing entries
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
