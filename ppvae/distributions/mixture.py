"""A mixture of diagonal normals with differentiable draws."""

import math
from collections.abc import Sequence
from typing import ClassVar, override

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional as F


class NormalMixture(dist.TorchDistribution):
    """p(z) = sum_k w_k N(z; loc_k, diag scale_k^2), with w = softmax(logits).

    A draw picks its component, which has no derivative, but the distribution of draws changes
    smoothly with the parameters, and so can the draws. With F_d the distribution function of z_d
    given z_1, ..., z_{d-1}, a mixture as well, F(z) is uniform; if it is held fixed while the
    parameters theta change, a draw changes by ::

        dz / dtheta = -(dF / dz)^-1 dF / dtheta,

    where dF / dz is lower triangular (implicit reparameterization: Figurnov, Mohamed and Mnih,
    2018). Its gradients are unbiased; between modes that are far apart they are noisy. Only first
    derivatives exist. Unlike Pyro's `MixtureOfDiagNormals`, it computes in logarithms, where the
    density of 50 dimensions is 0 or infinite in single precision, and allows a single dimension.

    Args:
        logits: unnormalized log-weights, ``(*batch, components)``.
        loc: means, ``(*batch, components, dimensions)``.
        scale: standard deviations, like ``loc``.

    Shapes: batch shapes are broadcast; the event shape is ``(dimensions,)``.
    """

    arg_constraints: ClassVar = {
        "logits": constraints.real_vector,
        "loc": constraints.independent(constraints.real, 2),
        "scale": constraints.independent(constraints.positive, 2),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, logits: Tensor, loc: Tensor, scale: Tensor, validate_args: bool | None = None
    ) -> None:
        batch = torch.broadcast_shapes(logits.shape[:-1], loc.shape[:-2], scale.shape[:-2])
        self.logits = logits.expand(*batch, *logits.shape[-1:])
        self.loc = loc.expand(*batch, *loc.shape[-2:])
        self.scale = scale.expand(*batch, *scale.shape[-2:])
        super().__init__(batch, loc.shape[-1:], validate_args=validate_args)

    @override
    def expand(
        self, batch_shape: Sequence[int], _instance: "NormalMixture | None" = None
    ) -> "NormalMixture":
        logits = self.logits.expand(*batch_shape, *self.logits.shape[-1:])
        return NormalMixture(logits, self.loc, self.scale, validate_args=self._validate_args)

    @property
    @override
    def mean(self) -> Tensor:
        return self._average(self.loc)

    @property
    @override
    def variance(self) -> Tensor:
        off = self.loc - self.mean.unsqueeze(-2)
        return self._average(self.scale.square() + off.square())

    def _average(self, values: Tensor) -> Tensor:
        averaged: Tensor = (self.logits.softmax(-1).unsqueeze(-1) * values).sum(-2)
        return averaged

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        _, log_normal = self._by_component(value)
        joint = self.logits.log_softmax(-1) + log_normal.sum(-1)
        log_prob: Tensor = joint.logsumexp(-1)
        return log_prob

    @override
    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            k = dist.Categorical(logits=self.logits).sample(torch.Size(sample_shape))
            index = k[..., None, None].expand(*k.shape, 1, *self.event_shape)
            loc, scale = (
                t.expand(*k.shape, *t.shape[-2:]).gather(-2, index).squeeze(-2)
                for t in (self.loc, self.scale)
            )
            z = loc + scale * torch.randn_like(loc)
        moves = any(t.requires_grad for t in (self.logits, self.loc, self.scale))
        return z - self._held(z) if moves and torch.is_grad_enabled() else z

    def _by_component(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Standardized values, and their log-densities: ``(..., components, dimensions)``."""
        eps = (value.unsqueeze(-2) - self.loc) / self.scale
        return eps, -0.5 * eps.square() - self.scale.log() - 0.5 * math.log(2 * math.pi)

    def _held(self, z: Tensor) -> Tensor:
        """Zero, with (dF / dz)^-1 dF / dtheta at z as its derivative by the parameters."""
        eps, log_normal = self._by_component(z)
        # Weights of the components in z_d's mixture: their posterior given z_1, ..., z_{d-1}.
        before = F.pad(log_normal[..., :-1].cumsum(-1), (1, 0))
        weight = (self.logits.unsqueeze(-1) + before).softmax(-2)
        below = torch.special.ndtr(eps)
        cdf = (weight * below).sum(-2)
        with torch.no_grad():
            density = (weight * log_normal.exp()).sum(-2)
            # Row d of dF / dz, over the density of z_d: the effect of z_j, j < d, by the weights.
            pull = weight * (below - cdf.unsqueeze(-2)) / density.unsqueeze(-2)
            slope = -(pull.mT @ (eps / self.scale)).tril(-1)
        change = ((cdf - cdf.detach()) / density).unsqueeze(-1)
        # The diagonal of ones is implied.
        held: Tensor = torch.linalg.solve_triangular(
            slope, change, upper=False, unitriangular=True
        ).squeeze(-1)
        return held
