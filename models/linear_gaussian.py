"""A linear map of the latent with isotropic noise, whose posterior and evidence are known."""

import math
from typing import Literal, Self

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.models.likelihoods.positive_number import PositiveNumber
from ppvae.models.observation import observe
from ppvae.models.priors import StandardNormal
from ppvae.networks import Shape


class LinearGaussian(PyroModule):
    """p(x, z) = N(z; 0, I) N(x; W z + mu, s^2 I): probabilistic PCA (Tipping and Bishop, 1999).

    The posterior and the evidence are known::

        p(z | x) = N(M^-1 W' (x - mu) / s^2, M^-1),    M = I + W' W / s^2,
        p(x) = N(mu, W W' + s^2 I),

    and where entries of x are missing they are those of the remaining rows of W and mu: see
    `posterior` and `evidence`. It serves as a test of estimators. The maximum likelihood W, mu and
    s are known as well: see `optimum`. W spans the leading principal components, and is determined
    up to a rotation of z.

    Args:
        latent_dim: k, the number of latent dimensions.
        data_shape: shape of one datum, of D elements.
        noise: s, the standard deviation of the noise: a number above zero, or "learned".
        floor: the smallest learned s, in units of x.

    Shapes: ``x`` is ``(batch, *data_shape)``, as is ``mask``; ``z`` is ``(batch, latent_dim)``;
    ``weight``, which is W, is ``(D, latent_dim)``; ``loc``, which is mu, is ``data_shape``.

    Raises:
        InputError: if the noise or the floor is not above zero.

    Example::

        model = LinearGaussian(2, (5,))
        guide = ExactPosterior(model)  # its bound is log p(x) at any draw
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        noise: float | Literal["learned"] = "learned",
        floor: float = 1e-2,
    ) -> None:
        super().__init__()
        self.data_shape = tuple(data_shape)
        self.prior = StandardNormal(latent_dim)
        # W z starts with about the variance of standardized data.
        start = torch.randn(math.prod(data_shape), latent_dim) / latent_dim**0.5
        self.weight = nn.Parameter(start)
        self.loc = nn.Parameter(torch.zeros(self.data_shape))
        self.noise = PositiveNumber("model.noise", noise, floor)

    @classmethod
    @torch.no_grad()
    def optimum(
        cls,
        x: Tensor,
        latent_dim: int,
        noise: float | Literal["learned"] = "learned",
        floor: float = 1e-2,
    ) -> Self:
        """The maximum likelihood model of complete data, by the eigenvalues of their covariance.

        With eigenvalues l_1 >= ... >= l_D and eigenvectors u_i: mu is the mean, s^2 the mean of the
        discarded l_{k+1}, ..., l_D (or the given value, or the floor), and column i of W is
        u_i sqrt(max(l_i - s^2, 0)).

        Args:
            x: the data, ``(n, *data_shape)``, without missing entries.
            latent_dim: k.
            noise: s, if it is given.
            floor: the smallest s.
        """
        model = cls(latent_dim, tuple(x.shape[1:]), noise, floor).to(x)
        wide = _wide(x.flatten(1))
        off = wide - wide.mean(0)
        values, vectors = torch.linalg.eigh(off.mT @ off / len(x))
        kept = min(latent_dim, len(values))
        rest, values, vectors = values[:-kept], values[-kept:], vectors[:, -kept:]
        if model.noise.raw is not None:
            above = rest.mean().sqrt() - floor if len(rest) else rest.new_zeros(())
            # The inverse of softplus needs a positive number.
            above = above.clamp(min=1e-9)
            model.noise.raw.copy_(above + (-torch.expm1(-above)).log())
        stretch = (values - _wide(model.noise()).square()).clamp(min=0).sqrt()
        model.weight.zero_()[:, :kept] = vectors * stretch
        model.loc.copy_(x.mean(0))
        return model

    def posterior(self, x: Tensor, mask: Tensor | None = None) -> dist.TorchDistribution:
        """p(z | x), or p(z | observed x): batch ``(batch,)``, event ``(latent_dim,)``."""
        root = self._root(mask)
        loc = self._posterior_loc(self._centred(x, mask), root)
        return dist.MultivariateNormal(loc.to(self.weight), scale_tril=root.to(self.weight))

    def evidence(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log p(x), or log p(observed x), exactly, in nats: ``(batch,)``.

        With m = E[z | x] it is log p(x, m) - log p(m | x), which has no cancellation.
        """
        root, off, scale = self._root(mask), self._centred(x, mask), _wide(self.noise())
        loc = self._posterior_loc(off, root)
        error = off - loc @ _wide(self.weight).mT
        count = off.new_tensor(off.shape[1])
        if mask is not None:
            seen = mask.flatten(1)
            error, count = error.where(seen, 0), seen.sum(1)
        square = error.square().sum(1) / scale.square() + loc.square().sum(1)
        log_volume = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # of p(z | x) over that of p(z)
        log_p = log_volume - 0.5 * square - count * (scale.log() + 0.5 * math.log(2 * math.pi))
        return log_p.to(self.weight)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            loc = (z @ self.weight.mT).unflatten(-1, self.data_shape) + self.loc
            fn = dist.Normal(loc, self.noise()).to_event(len(self.data_shape))
            return observe(x, fn, mask)

    def _root(self, mask: Tensor | None) -> Tensor:
        """The Cholesky factor of M^-1, ``(k, k)``, or ``(batch, k, k)`` where entries are missing.

        M may be nearly singular to single precision, and is positive definite in double.
        """
        weight = _wide(self.weight)
        if mask is None:
            square = weight.mT @ weight
        else:
            outer = (weight[:, :, None] * weight[:, None, :]).flatten(1)
            square = (mask.flatten(1).to(weight) @ outer).unflatten(1, weight.shape[1:] * 2)
        eye = torch.eye(weight.shape[1]).to(weight)
        precision = eye + square / _wide(self.noise()).square()
        # Through the precision matrix, which needs no factorization of its inverse.
        centred = torch.distributions.MultivariateNormal(
            torch.zeros_like(eye[0]), precision_matrix=precision
        )
        return centred.scale_tril

    def _centred(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The difference x - mu, 0 where x is missing: ``(batch, D)``."""
        off = _wide((x - self.loc).flatten(1))
        return off if mask is None else off.where(mask.flatten(1), 0)

    def _posterior_loc(self, off: Tensor, root: Tensor) -> Tensor:
        """E[z | x] = M^-1 W' (x - mu) / s^2: ``(batch, k)``."""
        pull = (off @ _wide(self.weight) / _wide(self.noise()).square()).unsqueeze(-1)
        return (root @ (root.mT @ pull)).squeeze(-1)


def _wide(tensor: Tensor) -> Tensor:
    """The tensor in double precision, except on Metal, which lacks it."""
    return tensor if tensor.device.type == "mps" else tensor.double()
