"""Each row of the page "Which program is my loss?": equal losses and gradients, up to a factor."""

import math
import re
from functools import partial
from typing import Any

import pyro
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor, nn

from ppvae.bounds.kl_weight import Weighed
from ppvae.bounds.plain_loss import PlainLoss, Program, plain_loss
from ppvae.distributions.continuous_bernoulli import ContinuousBernoulli
from ppvae.errors import InputError
from ppvae.guides import Delta, MeanField
from ppvae.models import VAE, Bernoulli, Gaussian, StandardNormal
from ppvae.models.likelihoods import Likelihood
from ppvae.networks import MLP
from ppvae.programs import Pair
from tests.support.documentation import ROOT

PAGE = ROOT / "docs" / "which-program-is-my-loss.md"
SHAPE, LATENTS, BATCH, WEIGHT = (2, 3), 4, 5, 0.3
SIZES = {"D": 6, "d": LATENTS, "B": BATCH, "w": WEIGHT}
SMALL = partial(MLP, hidden=(8,))


def rows() -> list[tuple[str, str, str, str]]:
    """The loss, the likelihood, and c or beta and the factor as expressions, for each row."""
    found = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `PlainLoss("):
            loss, _, _, likelihood, factor = (cell.strip() for cell in line.strip("| ").split("|"))
            number = re.search(r"`(.*)`", likelihood)
            found.append((
                loss.strip("`"), likelihood.split(",")[0], number[1] if number else "1",
                factor.strip("`"),
            ))  # fmt: skip
    return found


def value(expression: str) -> float:
    return float(eval(expression, dict(SIZES)))


def programs(likelihood: Likelihood, decoder: Any = SMALL) -> tuple[VAE, MeanField]:
    torch.manual_seed(0)
    model = VAE(StandardNormal(LATENTS), likelihood, decoder)
    return model, MeanField(LATENTS, SHAPE, SMALL)


def batch(program: str) -> Tensor:
    drawn = torch.rand(BATCH, *SHAPE, generator=torch.Generator().manual_seed(1))
    return (drawn > 0.5).float() if program == "Bernoulli" else drawn


def in_pyro(model: VAE, guide: MeanField, x: Tensor, beta: float = 1.0) -> Tensor:
    """The negative bound, mean over the batch, by Pyro's estimator with a seed."""
    pyro.set_rng_seed(7)
    weighed = Weighed(model, beta), Weighed(guide, beta)
    loss: Tensor = TraceMeanField_ELBO().differentiable_loss(*weighed, x)
    return loss / len(x)


def in_torch(loss: Any, model: VAE, guide: MeanField, x: Tensor) -> Tensor:
    """The plain loss at the same draw."""
    pyro.set_rng_seed(7)
    site = pyro.poutine.trace(guide).get_trace(x).nodes["z"]
    normal: Any = site["fn"]
    normal = normal.base_dist
    x_hat = model.decoder(site["value"]).reshape(x.shape)
    plain: Tensor = loss(x_hat, x, normal.loc, 2 * normal.scale.log())
    return plain


def gradients(loss: Tensor, *modules: nn.Module) -> list[Tensor]:
    weights = [p for module in modules for p in module.parameters() if p.requires_grad]
    return list(torch.autograd.grad(loss, weights, allow_unused=True))


def check_equal(loss: Any, program: Program, model: VAE, guide: MeanField, x: Tensor) -> None:
    """Check that loss = factor * bound + constant, with gradients equal up to the factor."""
    bound, plain = in_pyro(model, guide, x, program.beta), in_torch(loss, model, guide, x)
    expected = program.factor * bound + program.constant
    torch.testing.assert_close(plain, expected, rtol=1e-5, atol=1e-5)
    pairs = zip(gradients(plain, model, guide), gradients(bound, model, guide), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, program.factor * theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("code", "likelihood", "number", "factor"), rows())
def test_a_row_names_the_program_of_its_loss(
    code: str, likelihood: str, number: str, factor: str
) -> None:
    loss = eval(code, {"PlainLoss": PlainLoss, "w": WEIGHT})
    x = batch(likelihood)
    program = loss.program(x, LATENTS)
    assert program.likelihood == likelihood
    assert program.factor == pytest.approx(value(factor))
    if likelihood == "Gaussian":
        assert program.variance == pytest.approx(value(number))
        assert program.beta == 1
        part: Likelihood = Gaussian(SHAPE, variance=program.variance)
    else:
        assert (program.variance, program.constant) == (None, 0)
        assert program.beta == pytest.approx(value(number))
        part = Bernoulli(SHAPE)
    model, guide = programs(part)
    check_equal(loss, program, model, guide, x)

    scope: dict[str, Any] = {}
    exec(loss.source, scope)
    torch.testing.assert_close(in_torch(scope["loss"], model, guide, x),
                               in_torch(loss, model, guide, x))  # fmt: skip


def test_the_page_has_rows_of_both_likelihoods() -> None:
    assert [row[1] for row in rows()].count("Gaussian") >= 7
    assert [row[1] for row in rows()].count("Bernoulli") >= 4


def test_a_sigmoid_belongs_to_the_decoder() -> None:
    def bounded(in_shape: Any, out_shape: Any) -> nn.Module:
        return nn.Sequential(SMALL(in_shape, out_shape), nn.Sigmoid())

    x, loss = batch("Gaussian"), PlainLoss(error_reduction="mean")
    program = loss.program(x, LATENTS)
    assert program.variance is not None
    model, guide = programs(Gaussian(SHAPE, variance=program.variance), bounded)
    assert bool((model.decoder(torch.randn(5, LATENTS)) > 0).all())
    check_equal(loss, program, model, guide, x)


def test_what_cross_entropy_of_grey_values_lacks_depends_on_the_network() -> None:
    x = batch("Gaussian")
    with pytest.raises(InputError, match=r"not a likelihood.*binarize='dynamic'.*Continuous"):
        PlainLoss("cross entropy").program(x, LATENTS)
    logits = torch.tensor([-3.0, 0.0, 2.0])
    grid = torch.linspace(0, 1, 2001)[:, None]
    entropy = nn.functional.binary_cross_entropy_with_logits(
        logits.expand(2001, 3), grid.expand(2001, 3), reduction="none"
    )
    mass = torch.trapezoid(torch.exp(-entropy), grid, dim=0)
    assert float(mass.max()) < 0.6  # far from 1, and not constant:
    assert float(mass.max() - mass.min()) > 0.15
    density = ContinuousBernoulli(logits).log_prob(grid.expand(2001, 3))
    torch.testing.assert_close(density, -entropy - mass.log(), rtol=1e-3, atol=1e-3)


def test_cross_entropy_of_grey_values_is_that_of_zeros_and_ones_in_expectation() -> None:
    p, logit = torch.tensor(0.3), torch.tensor(0.8)
    bce = nn.functional.binary_cross_entropy_with_logits
    drawn = p * bce(logit, torch.tensor(1.0)) + (1 - p) * bce(logit, torch.tensor(0.0))
    torch.testing.assert_close(drawn, bce(logit, p))


@pytest.mark.parametrize("likelihood", [Gaussian(SHAPE, variance=0.2), Bernoulli(SHAPE)])
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_a_program_gives_its_loss_back(likelihood: Likelihood, beta: float) -> None:
    model, guide = programs(likelihood)
    x = batch(type(likelihood).__name__)
    loss = plain_loss(Pair(model, guide, {"x": x}), beta)
    bound, plain = in_pyro(model, guide, x, beta), in_torch(loss, model, guide, x)
    constant = float((plain - bound).detach())
    known = -3 * math.log(2 * math.pi * 0.2) if isinstance(likelihood, Gaussian) else 0.0
    assert constant == pytest.approx(known, abs=1e-5)
    for ours, theirs in zip(
        gradients(plain, model, guide), gradients(bound, model, guide), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert (loss.program(x, LATENTS).variance is None) == isinstance(likelihood, Bernoulli)


def test_a_learned_variance_counts_as_it_is() -> None:
    likelihood = Gaussian(SHAPE)
    loss = PlainLoss.of(*programs(likelihood))
    assert loss.error_weight == pytest.approx(0.5 / float(likelihood.variance.detach()))
    assert 'F.mse_loss(x_hat, x, reduction="sum") / len(x)' in loss.source
    assert f"{loss.error_weight!r} * error + kl" in loss.source


def test_what_is_no_plain_loss_is_refused() -> None:
    model, guide = programs(Gaussian(SHAPE, variance="per-pixel"))
    with pytest.raises(InputError, match=r"`likelihood.variance` is not one number"):
        PlainLoss.of(model, guide)
    with pytest.raises(InputError, match="`guide` is Delta"):
        PlainLoss.of(model, Delta(LATENTS, SHAPE))  # type: ignore[arg-type]  # to be refused
    with pytest.raises(InputError, match="`error_reduction` is 'none'; it must be one of sum"):
        PlainLoss(error_reduction="none")  # type: ignore[arg-type]  # to be refused
    with pytest.raises(InputError, match="`kl_weight` is 0"):
        PlainLoss(kl_weight=0)
