"""Programs with known codes, to test densities fitted to codes."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from ppvae.data import Split
from ppvae.diagnostics import subject
from ppvae.diagnostics.bound.aggregate_prior import AggregatePrior
from ppvae.programs import Pair
from ppvae.programs.facts import Audit

SIGMAS = 5.0

Programs = tuple[Pair, Audit, Split]


def wide(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def programs(
    scale: float, width: int = 2, prior: Callable[[], Any] | None = None
) -> tuple[Callable[[Tensor], None], Callable[[Tensor], None]]:
    """q(z | x) = N(x, scale^2 I) with p(z) = N(0, I): the code of a datum is the datum."""

    def standard() -> Any:
        return dist.Normal(torch.zeros(width, dtype=torch.float64), 1.0).to_event(1)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", (prior or standard)())
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        s = pyro.param("s", wide(scale))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.double(), s).to_event(1))

    return model, guide


def coded(codes: Tensor, scale: float = 0.6, **more: Any) -> Programs:
    return subject(*programs(scale, codes.shape[1], **more), codes, elbo=Trace_ELBO)


def mixture(codes: Tensor, scale: float = 0.6) -> dist.TorchDistribution:
    """The aggregate posterior of `coded` data."""
    equal = dist.Categorical(torch.ones(len(codes), dtype=torch.float64))
    fn: dist.TorchDistribution = dist.MixtureSameFamily(
        equal, dist.Normal(codes.double(), wide(scale)).to_event(1)
    )
    return fn


def autoencoder(codes: Tensor) -> Programs:
    """A point-mass guide at the code of each datum."""
    model, _ = programs(1.0, codes.shape[1])

    def guide(x: Tensor) -> None:
        shift = pyro.param("shift", wide(0.0))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(x.double() + shift, event_dim=1))

    return subject(model, guide, codes, elbo=Trace_ELBO)


def clusters(count: int, seed: int = 0) -> Tensor:
    """A third of the data at (3, -1), the rest at (-3, 1)."""
    is_right = torch.arange(count) % 3 == 0
    near = torch.where(is_right[:, None], torch.tensor([3.0, -1.0]), torch.tensor([-3.0, 1.0]))
    return near[torch.randperm(count, generator=torch.Generator().manual_seed(seed))].double()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every mixture that scikit-learn fits, with its training data as ``seen_``."""
    from sklearn.mixture import GaussianMixture

    made, fit = list[Any](), GaussianMixture.fit

    def spied(self: Any, z: Any, y: Any = None) -> Any:
        self.seen_ = z
        made.append(self)
        return fit(self, z, y)

    monkeypatch.setattr(GaussianMixture, "fit", spied)
    return made


def moments(prior: AggregatePrior) -> tuple[Tensor, Tensor]:
    """Mean and covariance of a mixture, from its parameters."""
    weights = prior.logits.softmax(0)
    mean = weights @ prior.loc
    off = prior.loc - mean
    inside = prior.scale_tril @ prior.scale_tril.mT
    return mean, torch.einsum("k,kij->ij", weights, inside + off[:, :, None] * off[:, None, :])
