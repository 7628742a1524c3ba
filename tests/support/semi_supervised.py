"""Semi-supervised programs: with their exact posterior, or with small random networks."""

import math
from functools import partial
from typing import Any

import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor
from torch.distributions import MultivariateNormal

from ppvae.data import Data
from ppvae.guides import SemiSupervised
from ppvae.models import Gaussian, SemiSupervisedVAE, StandardNormal
from ppvae.networks import MLP
from tests.support.pca import AFFINE, affine

CLASSES, COLUMNS = 3, 4
LABELS = torch.tensor([0, -1, 2, -1, 1, -1])


def enumerated(particles: int = 1) -> TraceEnum_ELBO:
    return TraceEnum_ELBO(
        num_particles=particles, vectorize_particles=particles > 1, max_plate_nesting=1
    )


def data() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return 2 * torch.randn(len(LABELS), COLUMNS, generator=generator, dtype=torch.float64)


class Exact:
    """Programs in float64 whose guide is the exact posterior, and their closed forms.

    x given y is N(V y + b, w w' + I), so that p(y | x) is linear in x, and z given both is normal.
    """

    def __init__(self) -> None:
        torch.manual_seed(0)
        likelihood = Gaussian((COLUMNS,), variance=1.0)
        self.model = SemiSupervisedVAE(StandardNormal(1), likelihood, AFFINE, CLASSES).double()
        self.guide = SemiSupervised(1, (COLUMNS,), AFFINE, CLASSES).double().eval()
        layer = affine(self.model.decoder)
        w, v, b = layer.weight.detach()[:, 0], layer.weight.detach()[:, 1:], layer.bias.detach()
        covariance = torch.outer(w, w) + torch.eye(COLUMNS, dtype=torch.float64)
        self.given_y = MultivariateNormal((v.T + b)[:, None], covariance)
        variance = 1 / (1 + w @ w)
        code, head = affine(self.guide.latent.encoder), affine(self.guide.classifier)
        means = self.given_y.mean[:, 0]
        slopes = torch.linalg.solve(covariance, means.T).T
        with torch.no_grad():
            code.weight[0].copy_(variance * torch.cat([w, -w @ v]))
            code.weight[1].zero_()
            code.bias.copy_(torch.stack([-variance * w @ b, 10 * (variance.log() / 20).atanh()]))
            head.weight.copy_(slopes)
            head.bias.copy_(-(slopes * means).sum(1) / 2)

    def log_joint(self, x: Tensor) -> Tensor:
        """log p(x, y) of every class: (data, classes)."""
        log_p: Tensor = self.given_y.log_prob(x).T - math.log(CLASSES)
        return log_p

    def log_p(self, x: Tensor, y: Tensor) -> Tensor:
        """log p(x, y) where y is known, and log p(x) elsewhere."""
        joint = self.log_joint(x)
        known = joint.gather(1, y.clamp(min=0)[:, None])[:, 0]
        return torch.where(y < 0, joint.logsumexp(1), known)


def random_pair(alpha: float = 0.0, **kinds: Any) -> tuple[SemiSupervisedVAE, SemiSupervised]:
    """Small networks with initial weights."""
    torch.manual_seed(1)
    network = partial(MLP, hidden=(5,), **kinds)
    model = SemiSupervisedVAE(
        StandardNormal(2), Gaussian((COLUMNS,), variance=1.0), network, CLASSES
    )
    return model.double(), SemiSupervised(2, (COLUMNS,), network, CLASSES, alpha).double()


def labels_of(whole: Data, part: str) -> Tensor:
    split = whole.splits[part]
    return split.take(torch.arange(len(split)))["y"]
