"""Free bits: the first nats of KL of each latent dimension are free.

Early in training the KL of a dimension costs more than its use to the likelihood, so that
dimensions collapse and never come back. Free bits prevent that.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Literal, NamedTuple, cast, final, get_args, override

import pyro.distributions as dist
import torch
from pyro.distributions.util import scale_and_mask
from pyro.infer import TraceMeanField_ELBO
from pyro.infer.trace_mean_field_elbo import _check_mean_field_requirement
from pyro.infer.util import is_validation_enabled
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import Independent, kl_divergence

from ppvae.bounds.differentiable import DifferentiableELBO
from ppvae.bounds.traces import check_particles, importance_traces, shared_plates
from ppvae.bounds.traits import Traits
from ppvae.errors import InputError
from ppvae.networks import is_positive
from ppvae.programs.plates import Plates, describe, dims, vectorized
from ppvae.programs.sites import base, is_auxiliary, observed, sites

Group = Literal["dimension", "site"]
"""The groups of dimensions that have free bits each."""


@final
class FreeBitsELBO(DifferentiableELBO, TraceMeanField_ELBO):
    """The evidence lower bound, with a KL of less than ``free_bits`` nats counted as ``free_bits``.

    With KL_j(x) the part of latent dimension j in KL(q(z | x) || p(z)), and the mean over the batch
    and the particles::

        E_q log p(x | z) - sum_j max(free_bits, mean_x KL_j(x)),

    times the number of data. A dimension below its free bits gets no gradient of the KL, and only
    the likelihood decides how it grows. As max(free_bits, KL_j) >= KL_j this is no higher than the
    evidence lower bound; with ``free_bits`` 0 it is ``TraceMeanField_ELBO``. The mean is inside the
    maximum, as in the paper: a datum may use the free bits that another leaves over.

    Data are the cells of the vectorized plates that all observed sites share. A cell of any other
    plate of a latent counts as a separate dimension, and so does one of a latent outside the plate
    of the data. The KL of each dimension is in closed form where both sites have independent
    elements of families with a closed form. Elsewhere (full-rank, flows, mixtures) a site is one
    group, its KL in closed form or by Monte Carlo as under ``TraceMeanField_ELBO``, with free bits
    for all its dimensions. The scale of a latent site (a subsampled plate, beta) multiplies the
    maximum, and is taken from the guide; a masked cell is no datum and has no free bits.

    Usable as Pyro's bounds are, with their arguments: ``SVI(model, guide, optimizer, elbo)``, or
    the module ``elbo(model, guide)``::

        elbo = FreeBitsELBO(free_bits=0.1, num_particles=5, vectorize_particles=True)
        loss = elbo(model, guide)
        loss(x).backward()

    Args:
        free_bits: nats per group; a bit is 0.69 nats.
        per: the group: ``"dimension"``, or ``"site"``, all dimensions of one latent together.
        options: ``num_particles`` and the other arguments of ``pyro.infer.ELBO``.

    Raises:
        InputError: for free bits that are negative or not finite, and another ``per``; when called,
            for a pair with nothing observed, or observed sites that share no vectorized plate; a
            site marked for enumeration; a site of the guide that has no reparameterized draw, is a
            point mass, or is auxiliary, so that no single site has a KL; a latent that only the
            model has, or only the guide.

    Source: Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling, Improving Variational
    Inference with Inverse Autoregressive Flow, 2016.
    """

    traits = Traits(has_closed_form_kl=True, needs_rsample=True, needs_site_densities=True)

    def __init__(self, free_bits: float = 0.1, per: Group = "dimension", **options: Any) -> None:
        if not (free_bits == 0 or is_positive(free_bits)):
            raise InputError(f"free_bits is {free_bits}; it must be a number of nats, 0 or more")
        if per not in get_args(Group):
            raise InputError(f"per is '{per}'; take one of {', '.join(get_args(Group))}")
        cast("Any", super()).__init__(**options)
        self.free_bits, self.per = free_bits, per

    @override
    def differentiable_loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Minus the objective on all data, in nats: a scalar that autograd differentiates."""
        check_particles(self.num_particles)
        pairs = list(cast("Any", self)._get_traces(model, guide, args, kwargs))
        data = shared_plates(pairs[0][0])
        total = -sum(node["log_prob_sum"] for p, _ in pairs for node in observed(p).values())
        for name in sites(pairs[0][1]):
            total = total + self._kl([(q.nodes[name], p.nodes[name]) for p, q in pairs], data)
        loss: Tensor = total / self.num_particles
        return loss

    @override
    def _get_trace(
        self, model: Callable[..., Any], guide: Callable[..., Any], args: Any, kwargs: Any
    ) -> tuple[Trace, Trace]:
        p, q = importance_traces(self, model, guide, args, kwargs, _check)
        if is_validation_enabled():
            _check_mean_field_requirement(p, q)
        return p, q

    def _kl(self, particles: Sequence[tuple[Any, Any]], data: Plates) -> Tensor:
        """The KL of a site, at least its free bits, summed over data and particles."""
        terms = [self._terms(q, p, data) for q, p in particles]
        kl = torch.stack([term.kl for term in terms]).sum(0)
        if self.free_bits == 0:  # a Monte Carlo estimate may be negative; a maximum would bias it
            return kl.sum()
        # Sums replace means times their number, so that a scale multiplies both.
        weight = torch.stack([term.weight for term in terms]).sum(0)
        return torch.maximum(kl, self.free_bits * weight).sum()

    def _terms(self, q: Any, p: Any, data: Plates) -> "_Terms":
        """A site's KL by group, and the factor of the free bits of each."""
        kl, weight = (
            cast("Tensor", scale_and_mask(part, scale=q["scale"], mask=q["mask"]))
            for part in _parts(q, p)
        )
        batch = dims(q, data)
        if batch:
            kl, weight = kl.sum(batch), weight.sum(batch)
        if self.per == "dimension":
            return _Terms(kl, weight)
        # The parts of a site share its free bits: each contributes its share.
        dimensions = q["fn"].event_shape.numel() * prod(
            plate.size for plate in vectorized(q) if plate.dim not in batch
        )
        return _Terms(kl.sum(), weight.sum() / dimensions)


class _Terms(NamedTuple):
    """Sums over the cells of the data's plates, weighted by their scales and masks.

    Attributes:
        kl: in nats.
        weight: number of cells, times the dimensions of a group.
    """

    kl: Tensor
    weight: Tensor


def _parts(q: Any, p: Any) -> _Terms:
    """KL of each independent part of a site, unscaled, and its dimensions: ``(parts, *batch)``."""
    batch: tuple[int, ...] = q["fn"].batch_shape
    q_part, p_part, kept = _split(q["fn"], p["fn"])
    try:
        kl = kl_divergence(q_part, p_part)
    except NotImplementedError:
        kl, q_part, kept = q["unscaled_log_prob"] - p["unscaled_log_prob"], q["fn"], True
    dimensions = torch.full_like(kl, q_part.event_shape.numel()).expand(q_part.batch_shape)
    return _Terms(
        *(
            cast("Tensor", scale_and_mask(part, mask=kept)).reshape(*batch, -1).movedim(-1, 0)
            for part in (kl.expand(q_part.batch_shape), dimensions)
        )
    )


def _split(q: Any, p: Any) -> tuple[Any, Any, Tensor | bool]:
    """The independent parts of two events, as two distributions, and the mask of those kept."""
    kept: Tensor | bool = True
    while True:
        if isinstance(q, Independent) and isinstance(p, Independent):
            shared = min(q.reinterpreted_batch_ndims, p.reinterpreted_batch_ndims)
            q, p = _less(q, shared), _less(p, shared)
        elif isinstance(q, dist.MaskedDistribution) and isinstance(p, dist.MaskedDistribution):
            kept = kept & _mask(q) & _mask(p)
            q, p = q.base_dist, p.base_dist
        else:
            return q, p, kept


def _less(fn: Any, ndims: int) -> Any:
    left = fn.reinterpreted_batch_ndims - ndims
    return Independent(fn.base_dist, left) if left else fn.base_dist


def _mask(fn: Any) -> Tensor | bool:
    """The mask of a distribution, in the shape of its elements."""
    mask: Tensor | bool = fn._mask
    return mask.reshape(mask.shape + (1,) * fn.event_dim) if isinstance(mask, Tensor) else mask


def _check(model: Trace, guide: Trace) -> None:
    """Refuse a pair without data, and sites without a KL of their own."""
    shared_plates(model)
    for name, node in sites(guide).items():
        if isinstance(base(node["fn"]), dist.Delta):
            raise InputError(
                f"site '{name}' of the guide is Delta, a point mass, whose KL is infinite, so that "
                "free bits are not defined; take TraceMeanField_ELBO, or a guide with a density, "
                "such as MeanField"
            )
        if is_auxiliary(node):
            raise InputError(
                f"site '{name}' of the guide ({describe(node)}) is auxiliary, so that only the "
                "latents and it together have a KL, and FreeBitsELBO needs one per site; take "
                "TraceMeanField_ELBO"
            )
