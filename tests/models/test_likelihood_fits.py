"""Likelihoods in fits: on real data a latent beats the marginal of the same family."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor, nn

from ppvae.guides import MeanField
from ppvae.models import (
    VAE,
    Likelihood,
    StandardNormal,
    likelihoods,
)
from ppvae.networks import MLP
from tests.support.likelihoods import digits
from tests.support.slow import few

NAMES = [name for name in likelihoods.__all__ if name not in ("Likelihood", "PerColumn")]


@cache
def patches() -> Tensor:
    """Patches of a photograph, as the package reads 8-bit images: ``(n, 64)`` in [0, 1]."""
    from sklearn.datasets import load_sample_image

    green = torch.from_numpy(np.ascontiguousarray(load_sample_image("china.jpg")[..., 1]))
    x = green.unfold(0, 8, 8).unfold(1, 8, 8).reshape(-1, 64).float() / 255
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]


SUITED: dict[str, tuple[Callable[[], Tensor], tuple[dict[str, Any], ...]]] = {
    "Bernoulli": (lambda: (digits() >= 8).float(), ({},)),
    "ContinuousBernoulli": (lambda: digits() / 16, ({},)),
    "DiscretizedLogistic": (patches, ({},)),
    "Gaussian": (
        lambda: digits() / 16,
        tuple({"variance": v} for v in (0.05, "learned", "per-element", "optimal", "per-pixel")),
    ),
    "Laplace": (lambda: digits() / 16, ({"scale": "learned"},)),
    "MixtureOfDiscretizedLogistics": (patches, ({"components": 3},)),
    "StudentT": (lambda: digits() / 16, ({"df": "learned", "scale": "learned"},)),
    "ZeroInflated": (digits, ({}, {"counts": "Poisson"})),
}
"""Suitable real data and arguments by likelihood; all others are of counts, like the digits."""

FITS = [(name, own) for name in NAMES for own in SUITED.get(name, (digits, ({},)))[1]]
TRAIN, TEST = slice(0, 600), slice(600, 900)


def marginal(likelihood: Likelihood, x: Tensor) -> tuple[float, Tensor]:
    """The family with one distribution for all data, by maximum likelihood.

    Its held-out log p(x), and what a decoder would have to say for it. Parameters of the likelihood
    are left there.
    """
    pyro.set_rng_seed(0)
    # Not zero, where components of a mixture would stay equal.
    h = (0.1 * torch.randn(1, *likelihood.decoder_shape)).requires_grad_()
    learned = [h, *likelihood.parameters()]
    optimizer = torch.optim.LBFGS(learned, max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value: Tensor = -likelihood(h).log_prob(x[TRAIN]).mean()
        value.backward()
        return value

    optimizer.step(loss)
    for _ in range(40):  # running means have then converged
        likelihood(h).log_prob(x[TRAIN])
    return scored(likelihood, lambda: float(likelihood(h).log_prob(x[TEST]).mean())), h.detach()


def scored(likelihood: Likelihood, score: Callable[[], float]) -> float:
    """The score in evaluation mode."""
    likelihood.eval()
    with torch.no_grad():
        value = score()
    likelihood.train()
    return value


class Log(MLP):
    """A network that reads large counts as small numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.log1p())


def bound(likelihood: Likelihood, x: Tensor, start: Tensor, steps: int = 60) -> float:
    """Held-out bound, in nats per datum, of a small autoencoder that starts from the marginal."""
    pyro.set_rng_seed(0)
    model = VAE(StandardNormal(8), likelihood, partial(MLP, hidden=(64,)))
    guide = MeanField(8, (64,), partial(Log, hidden=(64,)))
    last: Any = [m for m in model.decoder.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        last.weight *= 0.1
        last.bias.copy_(start.flatten())
    networks = [*model.decoder.parameters(), *guide.parameters()]
    optimizer = torch.optim.Adam(networks, lr=1e-2)
    optimizer.add_param_group({"params": list(likelihood.parameters()), "lr": 0.1})
    pace = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    elbo = TraceMeanField_ELBO()
    for _ in range(steps):
        optimizer.zero_grad()
        (elbo.differentiable_loss(model, guide, x[TRAIN]) / len(x[TRAIN])).backward()
        optimizer.step()
        pace.step()
    return scored(likelihood, lambda: -elbo.loss(model, guide, x[TEST]) / len(x[TEST]))


@pytest.mark.parametrize(("name", "own"), few(FITS, 14), ids=[f"{n} {a or ''}" for n, a in FITS])
def test_a_latent_explains_real_data_better_than_a_marginal_of_the_same_family(
    name: str, own: dict[str, Any]
) -> None:
    data = SUITED.get(name, (digits, ()))[0]()
    family: Callable[..., Likelihood] = getattr(likelihoods, name)
    likelihood = family((64,), **own)
    alone, h = marginal(likelihood, data)
    assert bound(likelihood, data, h) > alone + 1
