"""Probabilistic PCA, with exact results: x = W z + b + sqrt(c) noise, z ~ N(0, I).

The posterior is N(S W' (x - b) / c, S) with S^-1 = M = I + W' W / c, and x ~ N(b, W W' + c I). If
the columns of W are orthogonal, M is diagonal and a mean-field guide can be exact. If not, the best
diagonal guide has variances 1 / M_jj, and KL(q || posterior) = (sum_j ln M_jj - ln |M|) / 2.
"""

from dataclasses import dataclass
from functools import partial

import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor, nn

from ppvae.bounds.audit import audit
from ppvae.data import Split, as_split
from ppvae.guides import MeanField
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.networks import MLP
from ppvae.programs import Pair
from ppvae.programs.facts import Audit

AFFINE = partial(MLP, hidden=())


def affine(network: nn.Module) -> nn.Linear:
    """The only layer of a network without hidden layers."""
    (layer,) = [m for m in network.modules() if isinstance(m, nn.Linear)]
    return layer


@dataclass(frozen=True)
class PCA:
    """A pair in float64, data drawn from its model, and exact results.

    Attributes:
        pair: the model, and a mean-field guide made of the posterior.
        facts: its audit under ``TraceMeanField_ELBO``.
        rows: all data.
        x: all data as a tensor, ``(rows, columns)``, float64.
        w: W, ``(columns, latent)``.
        b: b, ``(columns,)``.
        variance: c.
    """

    pair: Pair
    facts: Audit
    rows: Split
    x: Tensor
    w: Tensor
    b: Tensor
    variance: float

    @property
    def precision(self) -> Tensor:
        """M, the posterior's precision: ``(latent, latent)``."""
        eye = torch.eye(self.w.shape[1], dtype=torch.float64)
        return eye + self.w.T @ self.w / self.variance

    @property
    def log_p(self) -> Tensor:
        """log p(x) of each row, exactly."""
        eye = torch.eye(len(self.b), dtype=torch.float64)
        covariance = self.w @ self.w.T + self.variance * eye
        exact: Tensor = torch.distributions.MultivariateNormal(self.b, covariance).log_prob(self.x)
        return exact

    @property
    def posterior_loc(self) -> Tensor:
        """E[z | x] of each row: ``(rows, latent)``."""
        centred = self.x - self.b
        loc: Tensor = torch.linalg.solve(self.precision, self.w.T @ centred.T / self.variance).T
        return loc

    def kl(self, loc: Tensor, scale: Tensor) -> Tensor:
        """KL(N(loc, diag scale^2) || p(z | x)) of each row, in nats."""
        m = self.precision
        off = loc - self.posterior_loc
        quadratic = (scale.square() * m.diagonal()).sum(-1) + ((off @ m) * off).sum(-1)
        log_det = torch.logdet(m) + 2 * scale.log().sum(-1)
        return 0.5 * (quadratic - loc.shape[-1] - log_det)


def pca(
    *,
    rows: int = 40,
    columns: int = 4,
    latent: int = 2,
    variance: float = 0.5,
    rotated: bool = False,
    shift: float = 0.0,
    widen: float = 1.0,
    seed: int = 1,
) -> PCA:
    """Make the model, its best mean-field guide, and data drawn from the model.

    Args:
        rows: number of data.
        columns: length of a datum.
        latent: number of latent dimensions, at most ``columns``.
        variance: c.
        rotated: whether the columns of W are oblique; if not, the guide is the exact posterior.
        shift: added to each posterior mean in the guide.
        widen: factor of each scale in the guide.
        seed: of W, b and the data.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    w, _ = torch.linalg.qr(normal(columns, latent))
    w = w * torch.linspace(2.0, 1.0, latent, dtype=torch.float64)
    if rotated:  # an oblique basis of the same plane
        mixing = torch.eye(latent, dtype=torch.float64)
        mixing = mixing + 0.6 * torch.ones_like(mixing).triu(1)
        w = w @ mixing
    b = normal(columns)
    x = normal(rows, latent) @ w.T + b + variance**0.5 * normal(rows, columns)
    model = VAE(StandardNormal(latent), Gaussian((columns,), variance=variance), AFFINE)
    guide = MeanField(latent, (columns,), AFFINE)
    m = torch.eye(latent, dtype=torch.float64) + w.T @ w / variance
    gain = torch.linalg.solve(m, w.T) / variance
    log_scale = -0.5 * m.diagonal().log() + torch.tensor(widen, dtype=torch.float64).log()
    decoder, encoder = affine(model.decoder), affine(guide.encoder)
    model.double(), guide.double()
    with torch.no_grad():
        decoder.weight.copy_(w), decoder.bias.copy_(b)
        encoder.weight.zero_()
        encoder.weight[:latent] = gain
        encoder.bias[:latent] = shift - gain @ b
        encoder.bias[latent:] = 10 * (log_scale / 10).atanh()  # inverts the guide's tanh
    x = x.float().double()  # as a split holds it
    batch = {"x": x}
    pair = Pair(model, guide, batch)
    return PCA(pair, audit(pair, TraceMeanField_ELBO, batch), as_split(x), x, w, b, variance)
