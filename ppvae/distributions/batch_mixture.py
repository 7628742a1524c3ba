"""Weighted mixtures of a batch of densities, as one density."""

import math
from collections.abc import Sequence
from typing import ClassVar, cast, override

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, constraints


class BatchMixture(dist.TorchDistribution):
    """p(z) = sum_k w_k p_k(z), with w = softmax(logits), and p_k the k-th of a batch of densities.

    It is one distribution over vectors, which plates expand. For independent normals, all densities
    at all values are matrix products, without a tensor of values times components times dimensions;
    as the products lose digits where z is many scales from 0, they are in double precision. Draws
    carry no gradient.

    Args:
        components: densities p_k of vectors: batch shape ``(components,)``.
        logits: unnormalized log-weights, ``(components,)``.
        batch_shape: shape of the plates that contain the mixture.

    Shapes: batch shape ``batch_shape``; event shape that of the components.
    """

    arg_constraints: ClassVar = {"logits": constraints.real_vector}

    def __init__(
        self,
        components: dist.TorchDistribution,
        logits: Tensor,
        batch_shape: Sequence[int] = (),
        validate_args: bool | None = None,
    ) -> None:
        self.components, self.logits = components, logits
        super().__init__(torch.Size(batch_shape), components.event_shape, validate_args)

    @property
    @override
    def support(self) -> constraints.Constraint:
        return cast("constraints.Constraint", self.components.support)

    @override
    def expand(
        self, batch_shape: Sequence[int], _instance: "BatchMixture | None" = None
    ) -> "BatchMixture":
        return BatchMixture(self.components, self.logits, batch_shape, self._validate_args)

    @property
    @override
    def mean(self) -> Tensor:
        return self._average(self.components.mean).expand(self._extended_shape())

    @property
    @override
    def variance(self) -> Tensor:
        mean = self._average(self.components.mean)
        around = self.components.variance + (self.components.mean - mean).square()
        return self._average(around).expand(self._extended_shape())

    def _average(self, values: Tensor) -> Tensor:
        average: Tensor = self.logits.softmax(-1) @ values
        return average

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        joint = self.logits.log_softmax(-1) + self._log_probs(value)
        dtype = torch.promote_types(value.dtype, self.logits.dtype)
        log_prob: Tensor = joint.logsumexp(-1).to(dtype)
        return log_prob.expand(torch.broadcast_shapes(log_prob.shape, self.batch_shape))

    def _log_probs(self, value: Tensor) -> Tensor:
        """The log-density of each component: ``(..., components)``."""
        normal = _normal(self.components)
        if normal is None or value.device.type == "mps":  # mps has no double precision
            each: Tensor = self.components.log_prob(value.unsqueeze(-2))
            return each
        z, loc, scale = value.double(), normal.loc.double(), normal.scale.double()
        precision = scale.square().reciprocal()
        square = z.square() @ precision.mT - 2 * z @ (loc * precision).mT
        constant = (0.5 * loc.square() * precision + scale.log()).sum(-1)
        return -0.5 * square - constant - 0.5 * z.shape[-1] * math.log(2 * math.pi)

    @override
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            k = dist.Categorical(logits=self.logits).sample(shape[:-1])
            normal = _normal(self.components)
            if normal is not None:
                return torch.normal(normal.loc[k], normal.scale[k])
            return self._of_components(k.reshape(-1)).reshape(shape)

    def _of_components(self, k: Tensor) -> Tensor:
        """A draw for each component in ``k``; all are drawn as often as the most frequent one."""
        counts = torch.bincount(k, minlength=len(self.logits))
        order = k.argsort()
        number = torch.empty_like(k)
        number[order] = torch.arange(len(k)).to(k) - (counts.cumsum(0) - counts)[k[order]]
        draws: Tensor = self.components.sample(torch.Size([int(counts.max())]))
        return draws[number, k]


def _normal(components: dist.TorchDistribution) -> Normal | None:
    """The normals of which the components are independent products, if they are."""
    if not isinstance(components, Independent) or components.reinterpreted_batch_ndims != 1:
        return None
    return components.base_dist if isinstance(components.base_dist, Normal) else None
